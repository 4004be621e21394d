"""Tables opened over a real changelog: recovered, found lost, found foreign, or too old to be gone on with."""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.local.spawn import wait_until
from operations import clock
from operations.cluster_admin import ClusterAdmin
from operations.kafka_clients import error_of
from operations.topic_admin import TopicAdmin, ensure_topics
from processors.runtime.changelog import LOSS_ACCEPTED, STALE_MS, Changelog, open_partition, topic_id_of
from processors.runtime.errors import TableRefused
from processors.runtime.newest_decided import newest_decided_ms
from processors.runtime.table import PACKED_KEY, STAMP_KEY, STAMP_VALUE, TablePartition, TableSpec, packed, shared_cache
from schemas.topics import TopicSpec
from tests.support.kafka_topics import TIMEOUT_SECONDS, a_stream_topic, produce

HOUR_MS = 3_600_000


class Place(NamedTuple):
    """A table of one partition, its changelog topic and its directory."""

    kafka: str
    spec: TableSpec
    directory: Path

    def append(self, *records: tuple[bytes, bytes | None]) -> None:
        producer = Producer({"bootstrap.servers": self.kafka, "enable.idempotence": True})
        for key, value in records:
            producer.produce(self.spec.changelog, value, key, partition=0)
        assert producer.flush(TIMEOUT_SECONDS) == 0

    def open(self, decided_ms: int | None = None, note: Callable[[int], None] = lambda entries: None) -> TablePartition:
        changelog = Changelog(
            self.kafka, topic_id_of(ClusterAdmin(self.kafka), self.spec.changelog), lambda: decided_ms, note
        )
        return open_partition(changelog, self.spec, self.directory, shared_cache(), 0)

    def entries(self, decided_ms: int | None = None) -> dict[bytes, bytes]:
        """Opens, reads all and closes."""
        table = self.open(decided_ms)
        found = dict(table.scan(b""))
        table.close()
        return found

    def age(self, hours: float) -> None:
        """As if its database had last been written so long ago."""
        table = TablePartition(self.spec, self.directory / self.spec.name / "0", shared_cache())
        position = table.position()
        assert position is not None
        table.write({}, position.next_offset, position.topic_id, clock.now_ms() - round(hours * HOUR_MS))
        table.close()

    def delete_before(self, offset: int) -> None:
        """What a topic that is only compacted does not allow, so its policy is changed first. The broker has the new
        one a moment after its controller has said so.
        """
        asyncio.run(TopicAdmin(self.kafka).configure(self.spec.changelog, {"cleanup.policy": "delete"}))
        admin = AdminClient({"bootstrap.servers": self.kafka})

        def deleted() -> bool:
            (result,) = admin.delete_records([TopicPartition(self.spec.changelog, 0, offset)]).values()
            try:
                result.result(TIMEOUT_SECONDS)
            except KafkaException as error:
                if error_of(error).code() != KafkaError.POLICY_VIOLATION:
                    raise
                return False
            return True

        assert wait_until(deleted, TIMEOUT_SECONDS)

    async def make_again(self) -> None:
        admin = TopicAdmin(self.kafka)
        topic_id = await admin.topic_id(self.spec.changelog)
        assert topic_id is not None
        await admin.delete_topic(self.spec.changelog, topic_id)
        self.make()

    def make(self) -> None:
        ensure_topics(self.kafka, [TopicSpec(self.spec.changelog, 1, self.spec.topic_config())])


@pytest.fixture(params=[26 * 3_600, None], ids=["aging", "lasting"])
def place(request: pytest.FixtureRequest, kafka: str, tmp_path: Path) -> Iterator[Place]:
    name = f"t{secrets.token_hex(4)}"
    place = Place(kafka, TableSpec(name, f"test-{name}-changelog", request.param), tmp_path / "tables" / "test")
    place.make()
    yield place


def records(place: Place, first: int, count: int) -> list[tuple[bytes, bytes | None]]:
    """One changelog record an entry, in the table's own form."""
    changes = [(b"k%d" % number, b"v%d" % number) for number in range(first, first + count)]
    if not place.spec.is_packed:
        return list(changes)
    return [record for key, value in changes for record in packed({key: value})]


def expected(count: int, first: int = 0) -> dict[bytes, bytes]:
    return {b"k%d" % number: b"v%d" % number for number in range(first, first + count)}


@pytest.mark.requirement("F21")
def test_the_changelog_alone_gives_the_table_back_and_a_stamp_is_no_entry(place: Place) -> None:
    place.append(*records(place, 0, 3), (STAMP_KEY, STAMP_VALUE), *records(place, 3, 2))
    assert place.entries() == expected(5)
    place.append(*records(place, 5, 1))
    assert place.entries() == expected(6)


@pytest.mark.requirement("F22")
def test_nothing_here_and_nothing_there_is_a_new_table_or_a_lost_one_as_the_group_did_nothing_or_decided(
    place: Place,
) -> None:
    with pytest.raises(TableRefused, match=r"are empty, but records up to .* --accept-loss"):
        place.open(decided_ms=clock.now_ms() - HOUR_MS)
    (place.directory / place.spec.name / LOSS_ACCEPTED).touch()
    assert place.entries(decided_ms=clock.now_ms() - HOUR_MS) == {}


@pytest.mark.requirement("F22")
def test_a_new_installation_starts_empty(place: Place) -> None:
    assert place.entries(decided_ms=None) == {}


@pytest.mark.requirement("F22")
def test_a_stamp_says_that_nothing_was_lost(place: Place) -> None:
    place.append((STAMP_KEY, STAMP_VALUE))
    assert place.entries(decided_ms=clock.now_ms()) == {}


@pytest.mark.requirement("F22", "F24")
def test_records_deleted_before_the_database_had_them_are_missed(place: Place) -> None:
    place.append(*records(place, 0, 3))
    assert place.entries() == expected(3)
    place.append(*records(place, 3, 5))
    place.delete_before(6)
    with pytest.raises(TableRefused, match="offsets 3 to 5 of the changelog"):
        place.open()


@pytest.mark.requirement("F24")
def test_records_deleted_while_they_are_read_are_told_or_refused_again_and_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two records a step; after the first step the next two are gone. Whoever starts again does not find it well."""
    monkeypatch.setattr("processors.runtime.changelog.READ_RECORDS_MAX", 2)
    place.append(*records(place, 0, 8))
    cut: list[int] = []

    def delete_the_next(entries: int) -> None:
        if not cut:
            cut.append(entries)
            place.delete_before(4)

    if place.spec.retention_seconds is None:
        with pytest.raises(TableRefused, match=r"offsets 2 to 3 of the changelog .* were deleted"):
            place.open(note=delete_the_next)
        with pytest.raises(TableRefused, match="offsets 2 to 3 of the changelog"):
            place.open()
    else:
        place.open(note=delete_the_next).close()
        [told] = [line.facts for line in caplog.records if line.message == "table.changelog_cut"]  # type: ignore[attr-defined]
        assert (told["first"], told["behind"]) == (2, 4)
        assert expected(4, first=4).items() <= place.entries().items()
    assert cut == [2]


@pytest.mark.requirement("F22", "F24")
def test_where_nothing_ages_out_a_changelog_without_its_first_records_makes_no_table(place: Place) -> None:
    place.append(*records(place, 0, 5))
    place.delete_before(3)
    if place.spec.retention_seconds is not None:
        assert place.entries() == expected(2, first=3)
        return
    with pytest.raises(TableRefused, match=r"offsets 0 to 2 of the changelog .* --accept-loss"):
        place.open()
    (place.directory / place.spec.name / LOSS_ACCEPTED).touch()
    assert place.entries() == expected(2, first=3)


@pytest.mark.requirement("F22")
def test_a_changelog_emptied_behind_a_whole_database_takes_nothing_away(place: Place) -> None:
    place.append(*records(place, 0, 3))
    assert place.entries() == expected(3)
    place.delete_before(3)
    place.age(hours=40)
    assert place.entries(decided_ms=clock.now_ms()) == expected(3), "the database is the only copy, and is kept"


@pytest.mark.requirement("F23")
@pytest.mark.parametrize("grown_to", [0, 1, 9], ids=["empty", "shorter", "past the old offset"])
async def test_a_changelog_made_again_is_refused_however_long_it_is(place: Place, grown_to: int) -> None:
    place.append(*records(place, 0, 3))
    assert place.entries() == expected(3)
    await place.make_again()
    place.append(*records(place, 100, grown_to))
    place.age(hours=40)
    with pytest.raises(TableRefused, match="created again"):
        place.open()
    table = TablePartition(place.spec, place.directory / place.spec.name / "0", shared_cache())
    assert dict(table.scan(b"")) == expected(3), "an old database that does not fit may be the only copy"
    table.close()


@pytest.mark.requirement("F25")
def test_what_was_deleted_while_a_database_slept_does_not_come_back(place: Place) -> None:
    """Its tombstones are gone: what the changelog still has is all there is."""
    place.append(*records(place, 0, 3))
    assert place.entries() == expected(3)
    table = TablePartition(place.spec, place.directory / place.spec.name / "0", shared_cache())
    position = table.position()
    assert position is not None
    long_ago_ms = clock.now_ms() - STALE_MS - 60_000
    table.write({b"deleted": b"long since"}, position.next_offset, position.topic_id, long_ago_ms)
    table.close()
    place.append(*records(place, 3, 1))
    assert place.entries() == expected(4)


@pytest.mark.requirement("F25")
def test_a_database_that_has_all_there_is_is_never_too_old(place: Place) -> None:
    """However long nothing was written: nothing was deleted either, and nothing is read again."""
    place.append(*records(place, 0, 3))
    assert place.entries() == expected(3)
    place.age(hours=500)
    place.open().close()
    table = TablePartition(place.spec, place.directory / place.spec.name / "0", shared_cache())
    position = table.position()
    table.close()
    assert position is not None
    assert clock.now_ms() - position.written_ms > 499 * HOUR_MS


@pytest.mark.requirement("F22")
def test_what_a_group_decided_is_told_by_its_committed_offsets(kafka: str) -> None:
    topic, group = a_stream_topic(kafka), f"group-{secrets.token_hex(4)}"
    assert newest_decided_ms(kafka, group, [topic], 2, {}) is None
    before_ms = clock.now_ms()
    for _ in range(3):
        produce(kafka, topic, b"v", key=PACKED_KEY, partition=2)
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 2, 2)], asynchronous=False)
    consumer.close()
    found = newest_decided_ms(kafka, group, [topic], 2, {})
    assert found is not None
    assert before_ms <= found <= clock.now_ms()
    assert newest_decided_ms(kafka, group, [topic], 3, {}) is None


@pytest.mark.requirement("F22", "F11")
def test_what_a_group_decided_is_told_by_what_it_kept_where_its_offsets_are_forgotten(kafka: str) -> None:
    """Else a table that was lost while the group slept would count as new."""
    topic, group = a_stream_topic(kafka), f"group-{secrets.token_hex(4)}"
    before_ms = clock.now_ms()
    for _ in range(3):
        produce(kafka, topic, b"v", key=PACKED_KEY, partition=2)
    found = newest_decided_ms(kafka, group, [topic], 2, {topic: 2})
    assert found is not None
    assert before_ms <= found <= clock.now_ms()
