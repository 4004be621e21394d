"""Two admission processes of one group: one freezes, joins, leaves; and clocks, codecs and tables that go wrong."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from cli.main import main
from deploy.local.broker import Broker
from deploy.local.spawn import last_lines, wait_until
from operations.topic_admin import TopicAdmin, ensure_topics
from processors.runtime.table import STAMP_KEY, STAMP_VALUE, TableSpec, unpacked
from schemas.topics import Topic, TopicSpec
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.pipeline.admission.test_restarts import all_decided, by_place
from tests.support.kafka_topics import PARTITIONS, TIMEOUT_SECONDS, ensure_base_topics, read_all
from tests.support.streams import LiveStream, Writer
from tests.support.worker import Worker

pytestmark = pytest.mark.slow  # minutes: `make test-slow`

CHANGELOG = "admission-seen-changelog"
SHIFTED_CLOCK = Path(__file__).parents[2] / "support" / "shifted_clock"


@pytest.fixture
def second(admission: Worker, broker: str, home: Path, tmp_path: Path) -> Iterator[Worker]:
    """Another process of the group beside `admission`, not started yet, with a home of its own and the same key."""
    key = (home / "master.key").read_text().strip()
    worker = Worker("admission", broker, tmp_path / "second", ATLAS_MASTER_KEY=key)
    yield worker
    if worker.runs:
        worker.kill()


class Load:
    """Events with a key each, sent in a thread until told to end."""

    def __init__(self, stream: LiveStream) -> None:
        self.sent = 0
        self._writer = stream.writer()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._writer.send_as_gateway(idempotency_key=f"key-{self.sent}", data={"n": self.sent})
            self.sent += 1
            if self.sent % 10 == 0:
                time.sleep(0.02)
        self._writer.flush()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def end(self) -> int:
        """How many were stored."""
        self.stop()
        assert self._writer.errors == []
        return self.sent


def send_again(writer: Writer, keys: int) -> None:
    for number in range(keys):
        writer.send_as_gateway(idempotency_key=f"key-{number}", data={"n": number})
    writer.flush()


def entries(broker: str) -> list[tuple[bytes, bytes | None]]:
    """All that the changelog says, partition after partition, in order."""
    records = sorted(read_all(broker, CHANGELOG), key=lambda record: (record.partition, record.offset))
    return [entry for record in records for entry in unpacked(record.value or b"\x90")]


def said(worker: Worker) -> str:
    return "\n".join(last_lines(worker.log, 60))


@pytest.mark.requirement("F16", "F28", "F20")
@pytest.mark.timeout(300)
def test_one_that_was_frozen_past_its_session_ends_and_changes_nothing(
    admission: Worker, second: Worker, a_stream: MakeStream, written: Written, broker: str
) -> None:
    """It is stopped in the middle of its work; the other one takes over and decides on."""
    second.start_until_ready()
    stream = a_stream(routes=["wf_one"])
    load = Load(stream)
    written.decisions(stream, 300)
    second.pause()
    keys = load.end()
    before = by_place(all_decided(written, stream, keys))
    deliveries = written.distinct_deliveries(stream, keys)
    state = dict(entries(broker))
    count = len(entries(broker))

    second.resume()
    assert second.ended() == 1
    assert "lease_lost" in said(second)
    while written.read_on():
        pass
    assert by_place(written.decisions(stream, keys)) == before, "late or not, one decision a record"
    assert all(len(versions) == 1 for versions in before.values())
    assert written.distinct_deliveries(stream, keys) == deliveries
    after = entries(broker)
    assert len(after) >= count
    assert dict(after) == state, "what it left late says what was there already"

    send_again(stream.writer(), keys)
    decisions = all_decided(written, stream, 2 * keys)
    once = {next(iter(versions)) for versions in by_place(decisions).values()}
    assert len(once) == 2 * keys
    assert len(written.distinct_deliveries(stream, keys)) == keys, "all of the second round are replays"


@pytest.mark.requirement("F16", "F2")
@pytest.mark.timeout(300)
def test_one_that_its_coordinator_does_not_hear_writes_nothing_more_and_joins_again(
    admission: Worker, broker: str, home: Path, tmp_path: Path, a_stream: MakeStream, written: Written
) -> None:
    """It runs all the while, and could write: others have its partitions, and it gets some back without an end."""
    key, silence = (home / "master.key").read_text().strip(), tmp_path / "silence"
    unheard = Worker(
        "admission",
        broker,
        tmp_path / "unheard",
        module="tests.support.unheard_worker",
        ATLAS_MASTER_KEY=key,
        UNHEARD_WHILE=str(silence),
    )
    unheard.start_until_ready()
    stream = a_stream(routes=["wf_one"])
    load = Load(stream)
    try:
        written.decisions(stream, 300)
        assert wait_until(lambda: unheard.metric("atlas_records_total") > 0, 30), "it has a share of the partitions"
        silence.touch()
        assert wait_until(lambda: unheard.metric("atlas_assignments_given_up_total") == 1, 30)
        assert "given up" in unheard.missing()["membership"]
        silent, others = (one.metric("atlas_records_total") for one in (unheard, admission))
        assert wait_until(lambda: admission.metric("atlas_records_total") >= others + 300, 30), "who is heard goes on"
        assert unheard.metric("atlas_records_total") == silent, "it has handled nothing since"
        silence.unlink()
        unheard.wait_until_ready()
        assert wait_until(lambda: unheard.metric("atlas_records_total") > silent, 30), "it has a share again"
        keys = load.end()
        places = by_place(all_decided(written, stream, keys))
        assert (len(places), {len(versions) for versions in places.values()}) == (keys, {1})
        assert len(written.distinct_deliveries(stream, keys)) == keys
        send_again(stream.writer(), keys)
        all_decided(written, stream, 2 * keys)
        assert len(written.distinct_deliveries(stream, keys)) == keys, "all of the second round are replays"
        assert unheard.runs and unheard.metric("atlas_assignments_given_up_total") == 1
    finally:
        load.stop()
        unheard.kill()


@pytest.mark.requirement("F17", "F32")
@pytest.mark.timeout(300)
def test_one_joins_and_leaves_under_load_while_streams_are_made(
    admission: Worker, second: Worker, a_stream: MakeStream, written: Written
) -> None:
    busy = a_stream(routes=["wf_one"])
    load = Load(busy)
    written.decisions(busy, 100)
    second.start()
    fresh = [a_stream(f"fresh-{number}") for number in range(5)]
    for stream in fresh:
        writer = stream.writer()
        writer.send_as_gateway()
        writer.flush()
    for stream in fresh:
        assert {decision.outcome for decision in written.decisions(stream, 1)} == {"admitted"}
    second.wait_until_ready()
    assert second.stop() == 0
    keys = load.end()
    decisions = all_decided(written, busy, keys)
    places = by_place(decisions)
    assert len(places) == keys
    assert all(len(versions) == 1 for versions in places.values())
    assert {decision.outcome for decision in decisions} == {"admitted"}
    doubles = len(decisions) - keys
    assert doubles <= keys // 10, f"{doubles} of {keys} records were decided twice"
    assert len(written.distinct_deliveries(busy, keys)) == keys


@pytest.mark.requirement("F31")
def test_what_any_codec_compressed_is_admitted(admission: Worker, a_stream: MakeStream, written: Written) -> None:
    stream, codecs, each = a_stream(), ("gzip", "snappy", "lz4", "zstd"), 50
    for codec in codecs:
        writer = stream.writer(**{"compression.type": codec, "linger.ms": 50})
        for number in range(each):
            writer.send_as_gateway(data={"codec": codec, "n": number})
        writer.flush()
        assert writer.errors == []
    decisions = written.decisions(stream, each * len(codecs))
    assert [decision.outcome for decision in decisions] == ["admitted"] * each * len(codecs)


@pytest.mark.requirement("F33", "A-029")
@pytest.mark.parametrize("shift_hours", [25, -25])
def test_a_key_lives_by_the_logs_time_whatever_the_workers_clock_says(
    shift_hours: int, admission: Worker, second: Worker, a_stream: MakeStream, written: Written
) -> None:
    """The clock is more than a key's life away: by it the key would be over, or not begun."""
    stream = a_stream()
    writer = stream.writer()
    send_again(writer, 20)
    first = written.decisions(stream, 20)
    assert admission.stop() == 0
    second.set(PYTHONPATH=str(SHIFTED_CLOCK), CLOCK_SHIFT_SECONDS=str(shift_hours * 3_600))
    second.start_until_ready()
    send_again(writer, 20)
    again = [d for d in all_decided(written, stream, 40) if d.outcome != "admitted"]
    assert {decision.outcome for decision in again} == {"replay"}
    assert {decision.original_id for decision in again} == {decision.event_id for decision in first}
    assert second.stop() == 0


@pytest.mark.requirement("F33")
@pytest.mark.timeout(240)
def test_clocks_that_step_an_hour_and_stand_ten_minutes_apart_change_no_decision(
    admission: Worker, second: Worker, a_stream: MakeStream, written: Written, tmp_path: Path
) -> None:
    stream, step = a_stream(), tmp_path / "clock step"
    writer, sent = stream.writer(), 20
    send_again(writer, 20)
    first = written.decisions(stream, sent)
    assert admission.stop() == 0
    step.write_text("0")
    second.set(PYTHONPATH=str(SHIFTED_CLOCK), CLOCK_SHIFT_FILE=str(step))
    second.start_until_ready()
    for shift_seconds in (3_600, -3_600, 600):
        step.write_text(str(shift_seconds))
        send_again(writer, 20)
        sent += 20
        all_decided(written, stream, sent)
    admission.start_until_ready()
    send_again(writer, 20)  # some of them are now the one's, some the other's
    again = [d for d in all_decided(written, stream, sent + 20) if d.outcome != "admitted"]
    assert {decision.outcome for decision in again} == {"replay"}
    assert {decision.original_id for decision in again} == {decision.event_id for decision in first}
    assert second.stop() == 0


def without_a_table(admission: Worker, stream: LiveStream, written: Written) -> Writer:
    """Each partition has decided something; the process is away."""
    writer = stream.writer()
    send_again(writer, 100)
    assert {decision.partition for decision in written.decisions(stream, 100)} == set(range(PARTITIONS))
    assert admission.stop() == 0
    return writer


def clear(home: Path, *options: str) -> None:
    result = CliRunner().invoke(main, ["tables", "clear", "admission", *options], env={"ATLAS_HOME": str(home)})
    assert result.exit_code == 0, result.output


def ends(broker: str) -> dict[int, int]:
    ends = dict.fromkeys(range(PARTITIONS), 0)
    for record in read_all(broker, CHANGELOG):
        ends[record.partition] = max(ends[record.partition], record.offset + 1)
    return ends


@pytest.mark.requirement("F22")
@pytest.mark.timeout(300)
def test_database_and_changelog_lost_is_refused_until_the_loss_is_accepted(
    admission: Worker, a_stream: MakeStream, written: Written, broker: str, home: Path
) -> None:
    stream = a_stream()
    writer = without_a_table(admission, stream, written)
    shutil.rmtree(home / "tables")
    client = AdminClient({"bootstrap.servers": broker})
    emptied = client.delete_records([TopicPartition(CHANGELOG, p, end) for p, end in ends(broker).items()])
    for deleted in emptied.values():
        deleted.result(TIMEOUT_SECONDS)
    send_again(writer, 100)
    admission.start()
    assert admission.ended() == 1
    assert f"its database and its changelog {CHANGELOG} are empty" in said(admission)
    assert "atlas tables clear admission --accept-loss" in said(admission)
    assert len(written.decisions(stream, 100)) == 100, "not one was decided without a table"

    clear(home, "--accept-loss")
    admission.start_until_ready()
    assert len(all_decided(written, stream, 200)) == 200


@pytest.mark.requirement("F23")
@pytest.mark.timeout(300)
async def test_a_changelog_made_again_is_refused_though_it_grew_past_the_old_one(
    admission: Worker, a_stream: MakeStream, written: Written, broker: str, home: Path
) -> None:
    stream = a_stream()
    writer = without_a_table(admission, stream, written)
    before = ends(broker)
    topics = TopicAdmin(broker)
    topic_id = await topics.topic_id(CHANGELOG)
    assert topic_id is not None
    await topics.delete_topic(CHANGELOG, topic_id)
    config = TableSpec("seen", CHANGELOG, 26 * 3_600).topic_config()
    ensure_topics(broker, [TopicSpec(CHANGELOG, PARTITIONS, config)])
    producer = Producer({"bootstrap.servers": broker})
    for partition, end in before.items():
        for _ in range(end + 10):
            producer.produce(CHANGELOG, STAMP_VALUE, STAMP_KEY, partition=partition)
    assert producer.flush(TIMEOUT_SECONDS) == 0
    send_again(writer, 100)
    admission.start()
    assert admission.ended() == 1
    assert "it was deleted and created again" in said(admission)
    assert len(written.decisions(stream, 100)) == 100

    clear(home)
    admission.start_until_ready()
    assert len(all_decided(written, stream, 200)) == 200


def raise_partitions(bootstrap: str, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap})
    client.create_partitions([NewPartitions(topic, PARTITIONS + 1)])[topic].result(TIMEOUT_SECONDS)


@pytest.mark.requirement("F12")
@pytest.mark.parametrize("which", ["one of Atlas's own", "a stream's"])
@pytest.mark.timeout(300)
def test_a_topic_with_more_partitions_than_before_is_refused(own_broker: Broker, tmp_path: Path, which: str) -> None:
    ensure_base_topics(own_broker.bootstrap)
    worker = Worker("admission", own_broker.bootstrap, tmp_path / "home")
    stream = LiveStream(own_broker.bootstrap, bytes.fromhex((tmp_path / "home" / "master.key").read_text().strip()))
    topic = stream.name if which == "a stream's" else Topic.DECISIONS
    raise_partitions(own_broker.bootstrap, topic)
    worker.start()
    assert worker.ended() == 1
    assert topic in said(worker)
    assert "partitions" in said(worker)
