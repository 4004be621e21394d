"""What a group has kept of its positions, over a real broker: found again, outlived by its topic, or ahead of it."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from faust.types import TP

from deploy.local.broker import Broker
from operations.topic_admin import TopicAdmin, ensure_topics
from processors.runtime.errors import OffsetGone, StartRefused
from processors.runtime.fetcher import Fetcher
from processors.runtime.outbox import Outbox
from processors.runtime.positions import Positions
from processors.runtime.starting_points import StartCause, StartingPoint
from schemas.topics import TopicSpec
from tests.support.kafka_topics import ensure_base_topics, produce
from tests.support.until import until

PARTITION = 2
MakePositions = Callable[..., Positions]


@pytest.fixture
async def outbox(kafka: str) -> AsyncIterator[Outbox]:
    outbox = Outbox(kafka)
    yield outbox
    await outbox.stop()


@pytest.fixture
def group() -> str:
    return f"group-{secrets.token_hex(4)}"


@pytest.fixture
def positions_of(kafka: str, outbox: Outbox) -> MakePositions:
    """Each as a process that starts."""
    ensure_base_topics(kafka)

    def make(group: str, **options: bool) -> Positions:
        return Positions(kafka, group, outbox, lambda _topic: options.get("is_unimportant", False))

    return make


def a_topic(bootstrap: str, records: int) -> TP:
    topic = f"source-{secrets.token_hex(4)}"
    make(bootstrap, topic, records)
    return TP(topic, PARTITION)


def make(bootstrap: str, topic: str, records: int) -> None:
    ensure_topics(bootstrap, [TopicSpec(topic, PARTITION + 1, {})])
    for _ in range(records):
        produce(bootstrap, topic, b"v", partition=PARTITION)


async def keep(positions: Positions, tp: TP, offset: int) -> None:
    """As a process does that has read up to there."""
    await positions.starts({tp: None})
    positions.note(tp, offset)
    await positions.keep()


def delete_before(bootstrap: str, tp: TP, offset: int) -> None:
    """As retention does."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for deleted in admin.delete_records([TopicPartition(*tp, offset)]).values():
        deleted.result(20)


def cut_the_end_off(data: Path, tp: TP) -> None:
    """As a disk that had not written it yet when the power went."""
    [segment] = data.rglob(f"{tp.topic}-{tp.partition}/*.log")
    with segment.open("r+b") as file:
        file.truncate(segment.stat().st_size - 100)


@pytest.mark.requirement("F11")
async def test_the_newest_position_is_found_by_whoever_starts_next(
    kafka: str, group: str, positions_of: MakePositions
) -> None:
    tp, other = a_topic(kafka, records=9), a_topic(kafka, records=3)
    first = positions_of(group)
    for offset in (4, 6):
        await keep(first, tp, offset)
    await keep(positions_of("another-" + group), tp, 8)
    second = positions_of(group)
    known_before = await second.starts({tp: None, other: None})
    assert known_before == {tp: StartingPoint(6, StartCause.KEPT), other: StartingPoint(0, StartCause.NOTHING_KNOWN)}
    await keep(first, tp, 7)  # a partition that comes back from another worker: read on, not from memory
    assert await second.starts({tp: None, other: 2}) == {
        tp: StartingPoint(7, StartCause.KEPT),
        other: StartingPoint(2, StartCause.COMMITTED),
    }
    assert await asyncio.to_thread(second.known, [tp.topic, other.topic], PARTITION) == {tp.topic: 7}


@pytest.mark.requirement("F11")
async def test_what_was_committed_before_positions_were_kept_is_kept_from_the_first_start(
    kafka: str, group: str, positions_of: MakePositions
) -> None:
    """An older version's group, or a partition that gets no record for longer than offsets are kept."""
    tp = a_topic(kafka, records=5)
    first = positions_of(group)
    starts = await first.starts({tp: 3})
    assert starts == {tp: StartingPoint(3, StartCause.COMMITTED)}
    first.note_starts(starts)
    await first.keep()
    assert await positions_of(group).starts({tp: None}) == {tp: StartingPoint(3, StartCause.KEPT)}


@pytest.mark.requirement("F10")
async def test_a_topic_made_again_is_read_from_its_first_record_whatever_is_known_of_the_old_one(
    kafka: str, group: str, positions_of: MakePositions, caplog: pytest.LogCaptureFixture
) -> None:
    tp = a_topic(kafka, records=4)
    await keep(positions_of(group), tp, 4)
    admin = TopicAdmin(kafka)
    topic_id = await admin.topic_id(tp.topic)
    assert topic_id is not None
    await admin.delete_topic(tp.topic, topic_id)
    await asyncio.to_thread(make, kafka, tp.topic, 5)
    with caplog.at_level(logging.WARNING):
        assert await positions_of(group).starts({tp: 4}) == {tp: StartingPoint(0, StartCause.RECREATED)}
    assert "start.recreated" in [line.message for line in caplog.records]
    assert await asyncio.to_thread(positions_of(group).known, [tp.topic], PARTITION) == {}


@pytest.mark.requirement("F11")
@pytest.mark.parametrize("is_unimportant", [False, True])
async def test_what_retention_took_before_it_was_read_is_told(
    kafka: str, group: str, positions_of: MakePositions, caplog: pytest.LogCaptureFixture, is_unimportant: bool
) -> None:
    tp = a_topic(kafka, records=9)
    await keep(positions_of(group), tp, 2)
    delete_before(kafka, tp, 7)
    with caplog.at_level(logging.ERROR):
        starting = positions_of(group, is_unimportant=is_unimportant)
        assert await starting.starts({tp: None}) == {tp: StartingPoint(7, StartCause.KEPT, missed=5)}
    told = [line.facts for line in caplog.records if line.message == "records.missed"]  # type: ignore[attr-defined]
    assert [(fact["partition"], fact["offsets"], fact["behind"]) for fact in told] == [(PARTITION, 5, 7)] * (
        not is_unimportant
    )


@pytest.mark.requirement("F11")
async def test_a_topic_that_is_not_there_is_no_reason_not_to_start_with_the_others(
    kafka: str, group: str, positions_of: MakePositions
) -> None:
    tp = a_topic(kafka, records=1)
    assert await positions_of(group).starts({tp: None, TP("never-made", 0): None}) == {
        tp: StartingPoint(0, StartCause.NOTHING_KNOWN)
    }


@pytest.mark.requirement("F11")
async def test_retention_that_overtakes_a_running_reader_ends_it_and_skips_nothing_unsaid(kafka: str) -> None:
    """librdkafka would go on at the first record there is, or at the last, and say nothing."""
    tp = a_topic(kafka, records=9)
    delete_before(kafka, tp, 7)
    fetcher = Fetcher(kafka, "overtaken")
    fetcher.assign({tp: 3})
    await until(lambda: fetcher.failure is not None)
    await fetcher.stop()
    assert isinstance(fetcher.failure, OffsetGone)
    assert f"{tp.topic}[{PARTITION}] has nothing at offset 3" in str(fetcher.failure)


@pytest.mark.requirement("F9")
async def test_who_is_ahead_of_a_log_that_lost_its_end_in_a_power_cut_says_so_and_stops(
    own_broker: Broker, tmp_path: Path, group: str
) -> None:
    bootstrap = own_broker.bootstrap
    ensure_base_topics(bootstrap)
    tp = a_topic(bootstrap, records=9)
    outbox = Outbox(bootstrap)
    await keep(Positions(bootstrap, group, outbox, lambda _topic: False), tp, 9)
    own_broker.kill()
    cut_the_end_off(tmp_path, tp)
    own_broker.launch()
    own_broker.wait_until_serving()
    for committed in (None, 9):
        with pytest.raises(StartRefused, match=rf"up to offset 9, but the log ends at [78]: .* --group {group}"):
            await Positions(bootstrap, group, outbox, lambda _topic: False).starts({tp: committed})
    await outbox.stop()


@pytest.mark.slow
@pytest.mark.requirement("F1", "F11")
async def test_who_has_asked_before_an_election_is_answered_after_it(own_broker: Broker) -> None:
    """The same process: it gave its assignment up when the broker went, and asks again when it is back."""
    ensure_base_topics(own_broker.bootstrap)
    tp, outbox = a_topic(own_broker.bootstrap, 3), Outbox(own_broker.bootstrap)
    try:
        positions = Positions(own_broker.bootstrap, "group", outbox, lambda _topic: False)
        await keep(positions, tp, 2)
        own_broker.kill()
        asked = asyncio.create_task(positions.starts({tp: None}))
        await asyncio.sleep(12)  # longer than one question is given: it is asked again
        assert not asked.done()
        own_broker.start()
        assert await asyncio.wait_for(asked, 60) == {tp: StartingPoint(2, StartCause.KEPT)}
    finally:
        await outbox.stop()
