"""From a record to an event: signed or anybody's, Avro or JSON, moved or not; and what a stranger's bytes can do."""

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.admission.reading import DIRECT_BYTES_MAX, NotAnEvent, ReadEvent, read
from domain.admission.rerouting import (
    ORIGIN_HEADER,
    as_first_written,
    origin_header,
    placement_key,
    right_partition,
)
from domain.events.rules import SURFACE, event_id, payload_hash, read_event, to_record
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from schemas.codec import EVENT, SINGLE_OBJECT_MARK
from schemas.log_records import LogRecord
from schemas.partitioner import partition_for
from schemas.topics import StreamTopic, Topic
from tests.support.events import ABSENT, NOW_MS, an_event

SIGNER = GatewaySigner(b"k" * 32)
TOPIC = StreamTopic("ws_4F9KQ2C7Z1", "live", "orders-prod")


def a_record(value: bytes | None, headers: Any = (), **changes: Any) -> LogRecord:
    place = {"topic": TOPIC.name, "partition": 3, "offset": 7, "timestamp": NOW_MS, "key": None, **changes}
    return LogRecord(value=value, headers=tuple(headers), **place)


def as_json(**changes: Any) -> bytes:
    return msgspec.json.encode(an_event(**changes))


def as_avro(**changes: Any) -> bytes:
    fields = read_event(as_json(**changes), now_ms=NOW_MS, allow_key_field=True)
    return EVENT.encode(to_record(fields, "evt_whatever"))


def signed(value: bytes, *, topic: str = TOPIC.name, signer: GatewaySigner = SIGNER) -> bytes:
    return signer.sign(topic, b"hash of 16 bytes", value)


def right_id(**changes: Any) -> str:
    fields = read_event(as_json(**changes), now_ms=NOW_MS, allow_key_field=True)
    return event_id(TOPIC.workspace, TOPIC.environment, SURFACE, fields, payload_hash(fields))


def test_what_a_gateway_signed_is_taken_as_it_is() -> None:
    value = as_avro()
    found = read(a_record(value, [(GATEWAY_SIGNATURE, signed(value))]), TOPIC, SIGNER)
    assert (found.direct, found.payload_hash, found.pieces.event_id) == (False, b"hash of 16 bytes", "evt_whatever")
    assert EVENT.decode_body(found.pieces.body) == EVENT.decode(value)


@pytest.mark.requirement("K8", "K10")
@pytest.mark.parametrize(
    "sign",
    [
        pytest.param(lambda value: None, id="no value in the header"),
        pytest.param(lambda value: b"", id="empty"),
        pytest.param(lambda value: signed(value)[:-1], id="cut short"),
        pytest.param(lambda value: signed(value) + b"x", id="too long"),
        pytest.param(lambda value: b"another 16 bytes" + signed(value)[16:], id="another hash"),
        pytest.param(lambda value: signed(value + b"x"), id="another value's"),
        pytest.param(lambda value: signed(value, topic="events.ws_1.live.orders-prod"), id="another topic's"),
        pytest.param(lambda value: signed(value, signer=GatewaySigner(b"x" * 32)), id="another installation's"),
    ],
)
def test_a_record_whose_signature_is_not_ours_is_anybodys(sign: Any) -> None:
    value = as_avro()
    found = read(a_record(value, [(GATEWAY_SIGNATURE, sign(value))]), TOPIC, SIGNER)
    assert (found.direct, found.pieces.event_id) == (True, right_id())


@pytest.mark.parametrize("written", [as_json, as_avro], ids=["JSON", "Avro"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"stream": ABSENT}, {"actor": None, "metadata": ABSENT}, {"idempotency_key": "k"}, {"data": {}}],
    ids=["whole", "no stream", "little", "a key", "no data"],
)
def test_a_strangers_event_is_what_it_would_be_over_http(written: Any, changes: dict[str, Any]) -> None:
    if written is as_avro and changes.get("stream") is ABSENT:
        value = EVENT.encode(EVENT.decode(as_avro()) | {"stream": ""})
    else:
        value = written(**changes)
    found = read(a_record(value), TOPIC, SIGNER)
    over_http = {name: value for name, value in changes.items() if name != "stream"}
    assert found.direct
    assert found.pieces.event_id == right_id(**over_http)
    assert found.pieces.idempotency_key == changes.get("idempotency_key")
    assert EVENT.decode_body(found.pieces.body)["stream"] == TOPIC.stream


@pytest.mark.requirement("K10")
def test_id_and_time_of_receipt_of_a_stranger_are_ignored() -> None:
    claimed = {"id": "evt_00000000000000000000000000", "received_at": "1999-01-01T00:00:00Z"}
    found = read(a_record(msgspec.json.encode(an_event() | claimed)), TOPIC, SIGNER)
    assert found.pieces.event_id == right_id()


@pytest.mark.requirement("K1", "K2", "K3", "K9", "K13")
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty_value"),
        (b"", "empty_value"),
        (b"\xef\xbb\xbf" + as_json(), "invalid"),
        (as_json() + b"x", "invalid"),
        (as_json(type="Nonsense"), "invalid"),
        (as_json(unknown=1), "invalid"),
        (b"[]", "invalid"),
        (b"\xff", "invalid"),
        (as_avro()[:-1], "unreadable"),
        (as_avro() + b"x", "unreadable"),
        (SINGLE_OBJECT_MARK, "unreadable"),
        (SINGLE_OBJECT_MARK + bytes(8) + as_avro()[10:], "unreadable"),
        (struct.pack(">BI", 0, 1) + as_avro()[10:], "unreadable"),
        (b"\x00", "unreadable"),
        (EVENT.encode(EVENT.decode(as_avro()) | {"data": b"[]"}), "invalid"),
        (EVENT.encode(EVENT.decode(as_avro()) | {"actor": b"{"}), "invalid"),
        (EVENT.encode(EVENT.decode(as_avro()) | {"idempotency_key": ""}), "invalid"),
        (as_json(stream="returns"), "wrong_stream"),
        (as_avro(stream="returns"), "wrong_stream"),
        (as_json() + b" " * DIRECT_BYTES_MAX, "too_large"),
    ],
)
def test_what_is_no_event_says_why(value: bytes | None, reason: str) -> None:
    with pytest.raises(NotAnEvent) as unreadable:
        read(a_record(value), TOPIC, SIGNER)
    assert unreadable.value.reason == reason
    assert str(unreadable.value)


@pytest.mark.requirement("K3", "K5")
@given(st.binary(max_size=300), st.sampled_from([b"", EVENT.schema.mark, SINGLE_OBJECT_MARK, b"\x00", b"{"]))
def test_whatever_the_bytes_they_are_an_event_or_have_a_reason(tail: bytes, head: bytes) -> None:
    event_or_reason(head + tail)


@pytest.mark.requirement("K2", "K3")
@given(st.data())
def test_damaged_avro_is_an_event_or_has_a_reason(data: st.DataObject) -> None:
    value = bytearray(as_avro())
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    event_or_reason(bytes(value[: data.draw(st.integers(0, len(value)))]))


def event_or_reason(value: bytes) -> None:
    try:
        found = read(a_record(value), TOPIC, SIGNER)
    except NotAnEvent:
        return
    assert isinstance(found, ReadEvent)


@pytest.mark.requirement("K11")
def test_a_moved_record_comes_back_as_it_first_stood() -> None:
    first = a_record(as_json(), [("any", b"header")], key=b"any key", partition=5, offset=2**40, timestamp=NOW_MS)
    moved = a_record(
        first.value,
        [(ORIGIN_HEADER, origin_header(first, SIGNER))],
        topic=Topic.ADMISSION,
        partition=1,
        offset=9,
        timestamp=NOW_MS + 50,
        key=b"k",
    )
    found = as_first_written(moved, SIGNER)
    assert found is not None
    assert (found.topic, found.partition, found.offset, found.timestamp) == (TOPIC.name, 5, 2**40, NOW_MS)
    assert (found.value, list(found.headers)) == (first.value, []), "its own headers were a stranger's"


@pytest.mark.requirement("K15")
@given(st.binary(max_size=120))
def test_an_origin_that_admission_did_not_write_is_none(header: bytes) -> None:
    assert as_first_written(a_record(as_json(), [(ORIGIN_HEADER, header)], topic=Topic.ADMISSION), SIGNER) is None


@pytest.mark.requirement("K15")
def test_an_origin_belongs_to_its_value_and_can_not_be_changed() -> None:
    first = a_record(as_json(), partition=5)
    header = origin_header(first, SIGNER)
    other_place = header[:32] + struct.pack(">iqq", 6, first.offset, first.timestamp) + TOPIC.name.encode()
    other_topic = header[:-1] + b"x"
    for value, forged in [
        (as_json(data={"other": 1}), header),
        (first.value, other_place),
        (first.value, other_topic),
        (first.value, header + b"x"),
        (first.value, header[:32]),
        (first.value, signed(as_json()) + header[32:]),
    ]:
        assert as_first_written(a_record(value, [(ORIGIN_HEADER, forged)], topic=Topic.ADMISSION), SIGNER) is None
    assert as_first_written(a_record(first.value, topic=Topic.ADMISSION), SIGNER) is None


def test_an_event_belongs_where_its_key_says_and_without_one_its_id() -> None:
    assert placement_key("k", "evt_1") == b"k"
    assert placement_key(None, "evt_1") == b"evt_1"
    for partitions in (1, 8, 12):
        assert right_partition("k", "evt_1", partitions) == partition_for(b"k", partitions)
        assert right_partition(None, "evt_1", partitions) == partition_for(b"evt_1", partitions)
