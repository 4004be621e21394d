"""Records that anybody may write to a stream's topic: what is no event is set aside alone, and good ones go on.

Each test writes a good record behind the bad ones, on the same partition: that it is admitted shows that nothing stuck.
"""

import os
import secrets
import shutil
import struct
import subprocess
import time
from collections.abc import Callable

import msgspec
import pytest
from confluent_kafka import KafkaError, Producer

from domain.admission.reading import DIRECT_BYTES_MAX
from domain.security.gateway_signatures import GATEWAY_SIGNATURE
from operations import clock
from processors.runtime.work import DEAD_VALUE_BYTES_MAX
from schemas.codec import DECISION, EVENT, SINGLE_OBJECT_MARK
from schemas.partitioner import partition_for
from schemas.records import DeadLetter, Decision
from schemas.replies import REPLY_HEADER, ReplyTo
from schemas.topics import Topic
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.support.kafka_topics import PARTITIONS, produce, read_all
from tests.support.streams import LiveStream
from tests.support.worker import Worker

BOM = b"\xef\xbb\xbf"
AVRO_HEADER_BYTES = 10


def long(number: int) -> bytes:
    """Avro's zigzag number."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def text(content: bytes) -> bytes:
    return long(len(content)) + content


def bad_values(stream: LiveStream) -> dict[str, tuple[bytes | None, str]]:
    """What is wrong with it: value and reason."""
    good = stream.avro()
    head, body = good[:AVRO_HEADER_BYTES], good[AVRO_HEADER_BYTES:]
    before_data = text(b"") + text(b"orders") + text(b"order.fulfilled") + text(b"2026-05-18T14:22:11Z")
    return {
        "K1 null": (None, "empty_value"),
        "K1 empty": (b"", "empty_value"),
        "K2 a byte order mark": (BOM + stream.json(), "invalid"),
        "K2 truncated": (good[:-5], "unreadable"),
        "K2 only the header": (head, "unreadable"),
        "K2 trailing bytes": (good + b"\x00", "unreadable"),
        "K2 unknown fingerprint": (SINGLE_OBJECT_MARK + bytes(8) + body, "unreadable"),
        "K2 another schema of ours": (DECISION.encode({"outcome": "x", "topic": "t"} | _PLACE), "unreadable"),
        "K2 unknown registry id": (struct.pack(">BI", 0, 4_000_000) + body, "unreadable"),
        "K2 magic byte alone": (b"\x00", "unreadable"),
        "K2 garbage": (secrets.token_bytes(200), "invalid"),
        "K3 bad union index": (head + before_data + text(b"{}") + long(7), "unreadable"),
        "K3 negative union index": (head + before_data + text(b"{}") + long(-1), "unreadable"),
        "K3 text is not UTF-8": (head + text(b"\xff\xfe") + body[1:], "unreadable"),
        "K3 a length of 2^40": (head + before_data + long(2**40) + b"{}", "unreadable"),
        "K3 a length of 2^62": (head + long(2**62), "unreadable"),
        "K3 a negative length": (head + before_data + long(-9) + b"{}" * 9, "unreadable"),
        "K3 a number without end": (head + b"\xff" * 100, "unreadable"),
        "K9 another stream": (stream.json(stream="returns"), "wrong_stream"),
        "K9 another stream, Avro": (stream.avro(stream="returns"), "wrong_stream"),
        "K9 another workspace": (stream.json(workspace="ws_4F9KQ2C7Z1"), "invalid"),
        "K13 the greatest size": (stream.json(pad=secrets.token_hex(524_000)), "invalid"),
        "K13 more than an event may have": (b" " * DIRECT_BYTES_MAX + stream.json(), "too_large"),
        "a rule broken": (stream.json(type="Nonsense"), "invalid"),
        "JSON, but no object": (b"[]", "invalid"),
        "deeply nested": (b'{"data":' + b"[" * 100_000, "invalid"),
    }


_PLACE = {"partition": 0, "offset": 0, "received_ms": 0}


@pytest.mark.requirement("K1", "K2", "K3", "K4", "K5", "K9", "K13", "F18")
def test_what_is_no_event_is_set_aside_alone_with_its_reason(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    """Bad and good records in turns, all on one partition, by one producer."""
    stream = a_stream(routes=["wf_one"])
    bad = bad_values(stream)
    partition = 3
    writer = stream.writer()
    for number, (value, _reason) in enumerate(bad.values()):
        writer.send(value, key=None if number % 2 else b"any", partition=partition)
        writer.send_as_gateway(idempotency_key=key_on(partition, number))
    writer.flush()
    assert not writer.errors

    decisions = {decision.offset: decision for decision in written.decisions(stream, 2 * len(bad))}
    letters = {letter.offset: letter for letter in written.dead_letters(stream, len(bad))}
    assert len(letters) == len(bad)
    for number, (what, (value, reason)) in enumerate(bad.items()):
        letter, refusal, good = letters[2 * number], decisions[2 * number], decisions[2 * number + 1]
        assert (letter.reason, refusal.outcome, refusal.reason) == (reason, "refused", reason), what
        assert (letter.partition, refusal.partition) == (partition, partition), what
        assert letter.value == (None if value is None else value[:DEAD_VALUE_BYTES_MAX]), what
        assert letter.value_bytes == len(value or b""), what
        assert len(letter.message) < 4_000, what
        assert good.outcome == "admitted", what
    assert len(written.deliveries(stream, len(bad))) == len(bad)


def key_on(partition: int, number: int) -> str:
    """The `number`th key that belongs on this partition."""
    candidate = -1
    for _ in range(number + 1):
        candidate += 1
        while partition_for(f"key-{candidate}".encode(), PARTITIONS) != partition:
            candidate += 1
    return f"key-{candidate}"


@pytest.mark.requirement("K7", "F13")
@pytest.mark.parametrize("offset_ms", [-(10**12), -1], ids=["1970s", "just before"])
def test_the_logs_time_counts_whatever_time_a_producer_writes(
    admission: Worker, a_stream: MakeStream, written: Written, offset_ms: int
) -> None:
    """So a duplicate can't be made new by an old time, nor deleted by retention."""
    stream = a_stream()
    now_ms = clock.now_ms()
    writer = stream.writer()
    writer.send(stream.json(), timestamp=now_ms)
    writer.send(stream.json(), timestamp=now_ms + offset_ms)
    writer.flush()
    decisions = written.decisions(stream, 2)
    assert sorted(decision.outcome for decision in decisions) == ["admitted", "replay"]
    assert all(now_ms - 60_000 < decision.received_ms < now_ms + 60_000 for decision in decisions)


@pytest.mark.requirement("K7")
def test_a_time_of_ten_years_ahead_is_the_brokers_to_refuse_or_replaced(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream()
    now_ms = clock.now_ms()
    writer = stream.writer()
    writer.send(stream.json(), timestamp=now_ms + 10 * 365 * 86_400_000)
    writer.flush()
    if writer.errors:
        assert writer.errors[0].code() == KafkaError.INVALID_TIMESTAMP
    else:
        [decision] = written.decisions(stream, 1)
        assert decision.received_ms < now_ms + 60_000


@pytest.mark.requirement("K6")
def test_a_compression_bomb_is_refused_by_the_broker_and_others_go_on(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    """9 MB of zeros in a few hundred bytes: the topic is stored uncompressed, so the broker sees its real size."""
    stream = a_stream()
    bomber = stream.writer(**{"compression.type": "zstd", "message.max.bytes": 20_000_000})
    bomber.send(bytes(9_000_000))
    bomber.flush()
    assert [error.code() for error in bomber.errors] == [KafkaError.MSG_SIZE_TOO_LARGE]
    for codec in ("zstd", "gzip", "lz4", "snappy"):
        writer = stream.writer(**{"compression.type": codec})
        writer.send(stream.json(data={"codec": codec}))
        writer.flush()
        assert not writer.errors
    assert {decision.outcome for decision in written.decisions(stream, 4)} == {"admitted"}


@pytest.mark.requirement("K8")
def test_headers_of_strangers_are_ignored(admission: Worker, a_stream: MakeStream, written: Written) -> None:
    stream = a_stream()
    forged, free = secrets.token_bytes(16), secrets.token_bytes(16)
    many: list[tuple[str, bytes | None]] = [(f"h{number}", b"x") for number in range(10_000)]
    odd: list[tuple[str, bytes | None]] = [("a\0b", b"1"), ("", b""), ("none", None), (REPLY_HEADER, None)]
    reply = ReplyTo(3, forged).encode()
    forms: list[list[tuple[str, bytes | None]]] = [
        many,
        odd,
        [(REPLY_HEADER, reply)],
        [(REPLY_HEADER, reply), (GATEWAY_SIGNATURE, secrets.token_bytes(32))],
        [(REPLY_HEADER, reply), (GATEWAY_SIGNATURE, None)],
        [(GATEWAY_SIGNATURE, b"short")],
    ]
    writer = stream.writer()
    for number, headers in enumerate(forms):
        writer.send(stream.avro(data={"n": number}), headers=headers)
    writer.send_as_gateway(data={"n": "waits"}, reply=ReplyTo(3, free))
    writer.flush()
    decisions = written.decisions(stream, 7)
    assert {decision.outcome for decision in decisions} == {"admitted"}
    assert sum(decision.direct for decision in decisions) == 6
    assert len(written.verdicts({forged, free}, 1)) == 1, "only the gateway's own request is told"


@pytest.mark.requirement("K8")
@pytest.mark.skipif(
    shutil.which("kcat") is None, reason="kcat is not installed; librdkafka's Python writes no such name"
)
def test_a_header_name_that_is_not_utf8_ends_nothing(
    broker: str, admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream()
    before = 200
    writer = stream.writer()
    for number in range(before):  # Python reads headers in another way once it has done so often
        writer.send_as_gateway(data={"n": number})
    writer.flush()
    value = stream.json()
    subprocess.run(
        [b"kcat", b"-P", b"-b", broker.encode(), b"-t", stream.name.encode(), b"-H", b"\xff\xfe=1", b"-H", b"\xc3=2"],
        input=value,
        check=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    writer.send_as_gateway(data={"n": before})
    writer.flush()
    decisions = written.decisions(stream, before + 2)
    assert {decision.outcome for decision in decisions} == {"admitted"}
    assert [decision.event_id for decision in decisions if decision.direct] == [stream.id_of()]


@pytest.mark.requirement("K10")
def test_an_id_and_a_time_of_receipt_from_the_producer_count_for_nothing(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream()
    own = {"id": "evt_00000000000000000000000000", "received_at": "1999-01-01T00:00:00Z"}
    writer = stream.writer()
    writer.send(msgspec.json.encode({**stream.event(), **own}))
    writer.send(EVENT.encode(EVENT.decode(stream.avro()) | {"id": own["id"]}))
    writer.flush()
    decisions = written.decisions(stream, 2)
    assert sorted(decision.outcome for decision in decisions) == ["admitted", "replay"]
    assert {decision.event_id for decision in decisions} == {stream.id_of()}


@pytest.mark.requirement("K11")
def test_one_key_on_every_partition_is_admitted_once(admission: Worker, a_stream: MakeStream, written: Written) -> None:
    """Each key stands on all partitions, written at once: seven are moved to the eighth, and decided there."""
    stream = a_stream(routes=["wf_one"])
    keys = 100
    writer = stream.writer()
    for number in range(keys):
        for partition in range(PARTITIONS):
            writer.send(stream.json(idempotency_key=f"key-{number}"), partition=(partition + number) % PARTITIONS)
    writer.flush()
    decisions = written.decisions(stream, keys * PARTITIONS)
    outcomes: dict[str | None, list[str]] = {}
    for decision in decisions:
        outcomes.setdefault(decision.idempotency_key, []).append(decision.outcome)
    assert len(outcomes) == keys
    assert all(sorted(outcome) == ["admitted"] + 7 * ["replay"] for outcome in outcomes.values())
    assert len({(decision.partition, decision.offset) for decision in decisions}) == keys * PARTITIONS
    assert len(written.deliveries(stream, keys)) == keys


@pytest.mark.requirement("A-030")
def test_a_known_key_with_other_content_leaves_a_dead_letter_that_names_the_original(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    """As an outbox does whose key is the aggregate's id: on the key's own partition, on another, and in Avro."""
    stream = a_stream(routes=["wf_one"])
    right = partition_for(b"ord_1", PARTITIONS)
    writer = stream.writer()
    values = [stream.json(data={"n": number}, idempotency_key="ord_1") for number in range(3)]
    values.append(stream.avro(data={"n": 3}, idempotency_key="ord_1"))
    writer.send(values[0], partition=right)
    writer.flush()
    written.decisions(stream, 1)
    for value, partition in zip(values[1:], (right, right + 1, right), strict=True):
        writer.send(value, partition=partition % PARTITIONS)
    writer.flush()

    decisions = written.decisions(stream, 4)
    assert [decision.outcome for decision in decisions] == ["admitted", "conflict", "conflict", "conflict"]
    original = decisions[0]
    letters = {(letter.partition, letter.offset): letter for letter in written.dead_letters(stream, 3)}
    assert sorted(letter.value or b"" for letter in letters.values()) == sorted(values[1:])
    for decision in decisions[1:]:
        letter = letters[decision.partition, decision.offset]
        assert letter.reason == "conflict" and decision.original_id == original.event_id
        assert original.event_id in letter.message and f"{stream.name}, partition {right}, " in letter.message
    assert len(written.deliveries(stream, 1)) == 1


@pytest.mark.requirement("K11")
def test_a_moved_record_keeps_its_bytes_and_its_place(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream()
    value = stream.json(data={"unique": secrets.token_hex(8)}, idempotency_key="k")
    right = partition_for(b"k", PARTITIONS)
    wrong = (right + 1) % PARTITIONS
    writer = stream.writer()
    writer.send(value, key=b"another key" * 1_000, partition=wrong)
    writer.flush()
    [decision] = written.decisions(stream, 1)
    assert (decision.topic, decision.partition, decision.offset) == (stream.name, wrong, writer.stored[0][1])
    [moved] = written.rerouted(value, 1)
    assert (moved.partition, moved.key, moved.value) == (right, b"k", value)


@pytest.mark.requirement("K15")
def test_a_forged_origin_is_set_aside(broker: str, admission: Worker, a_stream: MakeStream, written: Written) -> None:
    """Written to `admission` by an outsider: no header, garbage, and a true one beside another value."""
    stream = a_stream()
    writer = stream.writer()
    value = stream.json(data={"unique": secrets.token_hex(8)}, idempotency_key="k")
    writer.send(value, partition=(partition_for(b"k", PARTITIONS) + 1) % PARTITIONS)
    writer.flush()
    [moved] = written.rerouted(value, 1)
    true_header = dict(moved.headers)["atlas-origin"]
    forged = [
        (stream.json(data={"n": 1}), []),
        (stream.json(data={"n": 2}), [("atlas-origin", secrets.token_bytes(70))]),
        (stream.json(data={"n": 3}), [("atlas-origin", b"")]),
        (stream.json(data={"n": 4}), [("atlas-origin", true_header)]),
    ]
    for forged_value, headers in forged:
        produce(broker, Topic.ADMISSION, forged_value, partition=0, headers=headers)
    written.decisions(stream, 1)
    values = {forged_value for forged_value, _ in forged}

    def letters() -> list[DeadLetter]:
        read = [DeadLetter.decode(record.value) for record in read_all(broker, Topic.DEAD_LETTERS)]
        return [letter for letter in read if letter.topic == Topic.ADMISSION and letter.value in values]

    until(lambda: len(letters()) == len(forged))
    assert {letter.reason for letter in letters()} == {"unreadable"}
    assert len(written.decisions(stream, 1)) == 1


def until(fulfilled: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not fulfilled():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.requirement("K12")
def test_records_of_an_aborted_transaction_are_no_events(
    broker: str, admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream(routes=["wf_one"])
    producer = Producer({"bootstrap.servers": broker, "transactional.id": secrets.token_hex(8)})
    producer.init_transactions(30)
    for number, ends in enumerate(
        (producer.abort_transaction, producer.commit_transaction, producer.abort_transaction)
    ):
        producer.begin_transaction()
        for copy in range(20):
            producer.produce(stream.name, stream.json(data={"n": number, "copy": copy}), partition=copy % PARTITIONS)
        producer.flush(30)
        ends(30)
    writer = stream.writer()
    for partition in range(PARTITIONS):  # behind the last marker of each partition
        writer.send_as_gateway(idempotency_key=key_on(partition, 0))
    writer.flush()
    decisions = written.decisions(stream, 20 + PARTITIONS)
    assert {decision.outcome for decision in decisions} == {"admitted"}
    committed = {stream.id_of(data={"n": 1, "copy": copy}) for copy in range(20)}
    assert {decision.event_id for decision in decisions if decision.direct} == committed


@pytest.mark.requirement("K14")
@pytest.mark.timeout(240)
def test_a_flood_of_bad_records_is_counted_and_logged_sparsely_and_good_ones_pass(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream()
    bad, good = 20_000, 200
    refused_before, letters_before = (
        admission.metric("atlas_decisions_total"),
        admission.metric("atlas_dead_letters_total"),
    )
    lines_before = len(admission.log.read_bytes().splitlines())
    started = time.monotonic()
    writer = stream.writer(**{"queue.buffering.max.messages": 200_000})
    for number in range(bad):
        writer.send(b"nonsense %d" % number, partition=number % PARTITIONS)
        if number % (bad // good) == 0:
            writer.send_as_gateway(data={"n": number})
    writer.flush()

    def is_good(decision: Decision) -> bool:
        return decision.outcome == "admitted"

    decisions = written.decisions(stream, bad + good)
    assert sum(map(is_good, decisions)) == good
    assert len(written.dead_letters(stream, bad)) == bad
    until(lambda: admission.metric("atlas_decisions_total") - refused_before >= bad + good)
    assert admission.metric("atlas_dead_letters_total") - letters_before == bad
    seconds = time.monotonic() - started
    lines = len(admission.log.read_bytes().splitlines()) - lines_before
    assert lines < 50 + 5 * seconds, "one line a second a reason, and what a process says anyway"
