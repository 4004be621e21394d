"""What a worker says of partitions that are taken away while it asks or writes: nothing, once they are another's."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from faust.types import TP

from processors.runtime.confirmed_offsets import ConfirmedOffsets
from processors.runtime.positions import Positions
from processors.runtime.starting_points import KeptOffset, LogRange
from processors.runtime.transport import Consumer
from schemas.topics import Topic

TP_0, BESIDE = TP(Topic.DELIVERIES, 0), TP("events.ws.live.orders", 0)
RANGE = LogRange("topic-id", 0, 1_000)


class Written:
    """An outbox whose records are confirmed when `confirmed` is set; `kept`: their values."""

    def __init__(self) -> None:
        self.kept: list[bytes | None] = []
        self.confirmed = asyncio.Event()

    def batch(self) -> Any:
        return SimpleNamespace(produce=self._produce, confirmed=self.confirmed.wait)

    def _produce(self, _topic: str, value: bytes | None, **_options: Any) -> None:
        self.kept.append(value)


class Member:
    """One that owns `tps`, of which the group has committed what `committed` says; over a broker that answers at once,
    or, for what is known of partitions, when `answered` is set.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *tps: TP, **committed: int) -> None:
        self.outbox, self.answered, self.asked = Written(), asyncio.Event(), asyncio.Event()
        self.commits: list[Mapping[TP, int]] = []
        self.commit_answered = asyncio.Event()
        self.commit_answered.set()
        self.positions = Positions("127.0.0.1:1", "group", self.outbox, lambda _topic: False)  # type: ignore[arg-type]

        async def ask(_question: object, asked: Any) -> Any:
            self.asked.set()
            await self.answered.wait()
            return dict.fromkeys(asked, RANGE) if _question == self.positions._ranges else dict[TP, KeptOffset]()

        monkeypatch.setattr(self.positions, "_asked", ask)
        self.fetched: set[TP] = set()
        fetcher = SimpleNamespace(
            assigned=lambda: self.fetched,
            assign=lambda offsets: self.fetched.update(offsets),
            add=lambda offsets: self.fetched.update(offsets),
            remove=lambda gone: self.fetched.difference_update(gone),
            unassign=lambda: self.fetched.clear(),
            in_flight=lambda: 0,
            epoch=0,
        )
        consumer: Any = Consumer.__new__(Consumer)
        consumer.positions, consumer.fetcher, consumer._beside = self.positions, fetcher, set()
        consumer._offsets, consumer._read_offset = ConfirmedOffsets(), {}
        consumer._seek_due, consumer._drained, consumer._draining, consumer._kept_at = True, 0, False, float("inf")
        consumer.resume_partitions = lambda tps: None

        async def commit_offsets(due: Mapping[TP, int]) -> set[TP]:
            self.commits.append(due)
            await self.commit_answered.wait()
            return set(due)

        async def committed_offsets(asked: set[TP]) -> dict[TP, int | None]:
            return {tp: committed.get(tp.topic) for tp in asked}

        consumer._thread = SimpleNamespace(
            assignment=lambda: set(tps), commit_offsets=commit_offsets, committed_offsets=committed_offsets
        )
        self.consumer: Consumer = consumer


@pytest.mark.requirement("F19")
async def test_what_faust_acks_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust 0.15.3 can name an offset behind one that is still in flight."""
    member = Member(monkeypatch, TP_0)
    member.consumer._unacked_messages = set()
    for offset in (2_586, 2_587):
        member.consumer.ack(Mock(tp=TP_0, offset=offset, acked=False))
    await member.consumer.force_commit()
    assert member.commits == [], "2,585 is in flight, and nothing was confirmed"
    member.consumer.confirm(TP_0, 2_585)
    await member.consumer.force_commit()
    assert member.commits == [{TP_0: 2_585}]


@pytest.mark.requirement("F11")
async def test_of_partitions_that_went_while_it_asked_where_to_read_from_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their new owner has gone on meanwhile: an old position written now would stand above its own."""
    member = Member(monkeypatch, TP_0, deliveries=500)
    seeking = asyncio.create_task(member.consumer.perform_seek())
    await member.asked.wait()
    member.consumer._seek_due = False  # as when they are revoked
    member.consumer._drained += 1
    member.answered.set()
    await seeking
    member.outbox.confirmed.set()
    await member.positions.keep()
    assert (member.outbox.kept, member.fetched) == ([], set())


async def test_where_reading_begins_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    member = Member(monkeypatch, TP_0, deliveries=500)
    member.answered.set()
    member.outbox.confirmed.set()
    await member.consumer.perform_seek()
    await member.positions.keep()
    assert len(member.outbox.kept) == 1 and member.fetched == {TP_0}


@pytest.mark.requirement("F11")
async def test_the_last_positions_wait_for_those_on_their_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they could reach the log after those of the next owner."""
    member = Member(monkeypatch, TP_0, deliveries=500)
    member.answered.set()
    await member.consumer.perform_seek()
    keeping = asyncio.create_task(member.positions.keep())
    await asyncio.sleep(0)
    last = asyncio.create_task(member.positions.keep_last())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not last.done(), "what is under way is not on the log yet"
    member.outbox.confirmed.set()
    await asyncio.gather(keeping, last)
    assert len(member.outbox.kept) == 1


async def test_a_commit_of_a_topic_that_goes_meanwhile_says_nothing_of_the_next_one_of_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its first records would not be committed before there are as many as there were of the old one."""
    member = Member(monkeypatch, TP_0)
    consumer = member.consumer
    member.answered.set()
    await consumer.perform_seek()
    await consumer.force_commit()
    await consumer.read_beside({BESIDE})
    consumer.confirm(BESIDE, 100)
    member.commit_answered.clear()
    committing = asyncio.create_task(consumer.force_commit())
    await asyncio.sleep(0)
    assert member.commits[-1] == {BESIDE: 100}, "it is under way"
    consumer.stop_reading([BESIDE.topic])
    await consumer.read_beside({BESIDE})
    member.commit_answered.set()
    await committing
    consumer.confirm(BESIDE, 3)
    await consumer.force_commit()
    assert member.commits[-1] == {BESIDE: 3}
