"""A group's positions on the topic `positions`, for when Kafka has forgotten the group's offsets.

They are kept apart from the tables: the changelog of an aging table goes back a day, offsets a week, and a group may be
stopped for a month. Positions are written after they were committed, about a second later and before a partition is
given up, so a position never passes what its group has handled. They are read, with the topics' ids and ranges,
whenever partitions are assigned; starting_points.py decides.

Blocking clients run in threads of their own, since the recovery of tables may use all others for long. A broker that
does not answer is asked again, and the watchdog ends a worker whose assignment takes too long.
"""

import asyncio
import logging
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP

from operations.cluster_admin import ClusterAdmin
from operations.kafka_clients import reader_config
from operations.logs import event
from operations.outages import Outage
from operations.topic_ends import TopicEnds
from processors.runtime import metrics
from processors.runtime.errors import Abandoned, OutboxFailed
from processors.runtime.outbox import Outbox
from processors.runtime.starting_points import KeptOffset, LogRange, StartCause, StartingPoint, starting_point
from schemas.codec import Undecodable
from schemas.records import KeptPosition
from schemas.topics import Topic

log = logging.getLogger(__name__)
KEEP_EVERY_SECONDS = 1.0
LAST_SECONDS_MAX = 2.0
ANSWER_SECONDS = 10.0
DESCRIBED_SECONDS = 4.0
ASK_AGAIN_SECONDS, ASK_AGAIN_SECONDS_MAX = 0.02, 0.5
READ_AT_ONCE = 2_000
SHORT_WAIT_MS = 10  # the broker's, before it says that there is no more
_Answer = TypeVar("_Answer")


class Positions:
    """Of one group. `starts` and `known` ask the broker; `note` and `keep` write."""

    unanswered_at = float("-inf")
    """When a question to the brokers last failed (monotonic)."""

    def __init__(self, bootstrap: str, group: str, outbox: Outbox, is_unimportant: Callable[[str], bool]) -> None:
        """`is_unimportant`: whether a topic's old records count for nothing; missed ones are not reported."""
        self._group = group
        self._outbox = outbox
        self._is_unimportant = is_unimportant
        self._admin = ClusterAdmin(bootstrap, DESCRIBED_SECONDS)
        self._ends = TopicEnds(bootstrap, ANSWER_SECONDS)
        self._reader = _Reader(bootstrap, group)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="positions")
        self._topic_ids: dict[str, str] = {}
        self._noted: dict[TP, int] = {}
        self._writing = asyncio.Lock()

    # Where reading begins

    def doubt_leaders(self) -> None:
        """The next requests first ask which brokers are controller and leaders. Rebalances come with elections, and a
        request to a broker that is gone takes seconds to fail.
        """
        self._admin.doubt_controller()
        self._ends.doubt_leaders()

    async def starts(self, committed: Mapping[TP, int | None]) -> dict[TP, StartingPoint]:
        """For each partition, from what the group has committed and kept. Raises StartRefused."""
        kept, ranges = await asyncio.gather(self._asked(self._kept, committed), self._asked(self._ranges, committed))
        self._topic_ids |= {tp.topic: found.topic_id for tp, found in ranges.items()}
        return self._decided(committed, kept, ranges)

    async def starts_at(self, positions: Mapping[TP, int | None]) -> dict[TP, StartingPoint]:
        """The same for a group that keeps its positions elsewhere. Raises StartRefused."""
        return self._decided(positions, {}, await self._asked(self._ranges, positions))

    def known(self, topics: Iterable[str], partition: int) -> dict[str, int]:
        """Kept positions of these topics as they are now. Blocking. Raises KafkaException when no broker answers."""
        tps, deadline = [TP(topic, partition) for topic in topics], time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                kept = self._kept(tps)
                ids = self._ids({tp.topic for tp in kept})
                return {tp.topic: one.next_offset for tp, one in kept.items() if one.topic_id == ids.get(tp.topic)}
            except KafkaException:  # a topic created a moment ago has no leader yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(ASK_AGAIN_SECONDS)

    def _decided(
        self, committed: Mapping[TP, int | None], kept: Mapping[TP, KeptOffset], ranges: Mapping[TP, LogRange]
    ) -> dict[TP, StartingPoint]:
        starts = {
            tp: starting_point(self._group, tp, offset, kept.get(tp), ranges[tp])
            for tp, offset in committed.items()
            if tp in ranges
        }
        self._report(starts)
        return starts

    def _report(self, starts: Mapping[TP, StartingPoint]) -> None:
        """Logs unusual starts: one line for each cause, and one for each partition with missed records."""
        causes = Counter((start.cause, tp.topic) for tp, start in starts.items())
        for (cause, topic), partitions in causes.items():
            if cause not in (StartCause.COMMITTED, StartCause.NOTHING_KNOWN):
                event(log, f"start.{cause}", logging.WARNING, group=self._group, topic=topic, partitions=partitions)
        for tp, start in starts.items():
            if start.missed and not self._is_unimportant(tp.topic):
                metrics.MISSED.labels(self._group).inc(start.missed)
                facts = {"topic": tp.topic, "partition": tp.partition, "offsets": start.missed, "behind": start.offset}
                event(log, "records.missed", logging.ERROR, why="retention took them before they were read", **facts)

    async def _asked(self, ask: Callable[[list[TP]], _Answer], tps: Iterable[TP]) -> _Answer:
        """Asks until there is an answer; again soon at first, as a topic created a moment ago has no leader yet."""
        pause_seconds, outage = ASK_AGAIN_SECONDS, Outage(log, "positions")
        while True:
            asked_at = time.monotonic()
            try:
                answer = await asyncio.get_running_loop().run_in_executor(self._threads, ask, list(tps))
            except KafkaException as error:
                self.unanswered_at = time.monotonic()
                if pause_seconds >= ASK_AGAIN_SECONDS_MAX or self.unanswered_at - asked_at > ASK_AGAIN_SECONDS_MAX:
                    outage.failed(error)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, ASK_AGAIN_SECONDS_MAX)
            else:
                outage.answered()
                return answer

    def _kept(self, tps: list[TP]) -> dict[TP, KeptOffset]:
        kept = self._reader.read({tp.partition for tp in tps})
        return {tp: kept[tp] for tp in tps if tp in kept}

    def _ranges(self, tps: list[TP]) -> dict[TP, LogRange]:
        """Without topics that do not exist: deleted a moment ago, or not created yet. Raises KafkaException, also where
        only one of two brokers knows a topic.
        """
        ids = self._ids({tp.topic for tp in tps})
        wanted = [tp for tp in tps if tp.topic in ids]
        spans = self._ends.ranges(wanted)
        if unknown := set(wanted) - spans.keys():
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, f"{min(unknown).topic} is not known yet"))
        return {TP(topic, one): LogRange(ids[topic], *span) for (topic, one), span in spans.items()}

    def _ids(self, topics: set[str]) -> dict[str, str]:
        return {topic: str(found.topic_id) for topic, found in self._admin.present(topics).items()}

    # What is kept

    def note(self, tp: TP, next_offset: int) -> None:
        """Everything below this offset is handled, and committed."""
        self._noted[tp] = next_offset

    def note_starts(self, starts: Mapping[TP, StartingPoint]) -> None:
        """Reading begins there, and no other member owns these partitions now. So positions are kept also where they
        were committed before positions were kept, or are not committed any more.
        """
        for tp, start in starts.items():
            if start.cause is not StartCause.NOTHING_KNOWN:
                self.note(tp, start.offset)

    def forget(self, tps: Iterable[TP] | None = None) -> None:
        """The noted positions (None: all) belong to an assignment that is over, or to topics that are gone."""
        for tp in list(self._noted if tps is None else tps):
            self._noted.pop(tp, None)

    async def run(self) -> None:
        """Writes what was noted, for as long as the process runs. Raises OutboxFailed."""
        while True:
            await asyncio.sleep(KEEP_EVERY_SECONDS)
            await self.keep()

    async def keep(self) -> None:
        """When it returns, everything that was noted is written, also by a call that began earlier. Raises
        OutboxFailed.
        """
        async with self._writing:
            noted, self._noted = self._noted, {}
            if noted:
                await self._write(noted)

    async def _write(self, noted: Mapping[TP, int]) -> None:
        out = self._outbox.batch()
        for tp, next_offset in noted.items():
            topic_id = self._topic_ids.get(tp.topic)
            if topic_id is not None:
                kept = KeptPosition(group=self._group, topic=tp.topic, topic_id=topic_id, next_offset=next_offset)
                out.produce(Topic.POSITIONS, kept.encode(), key=kept.key, partition=tp.partition)
        await out.confirmed()

    async def keep_last(self) -> None:
        """Before partitions are given up; nothing that was noted of them is written later. It does not wait for a
        broker that is away: the group's offsets, committed just before, are kept for days.
        """
        try:
            async with asyncio.timeout(LAST_SECONDS_MAX):
                await self.keep()
        except (TimeoutError, OutboxFailed, Abandoned) as error:
            event(log, "positions.not_kept", logging.WARNING, group=self._group, error=repr(error))


class _Reader:
    """Everything on `positions` about one group; each read continues where the last one ended."""

    def __init__(self, bootstrap: str, group: str) -> None:
        config = reader_config(bootstrap, f"positions-{uuid.uuid4().hex}")
        self._config = config | {"enable.partition.eof": True, "fetch.wait.max.ms": SHORT_WAIT_MS}
        self._consumer: Consumer | None = None
        self._group = group
        self._next: dict[int, int] = {}
        self._kept: dict[TP, KeptOffset] = {}
        self._one_at_a_time = threading.Lock()

    def read(self, partitions: set[int]) -> dict[TP, KeptOffset]:
        """The positions kept in these partitions up to now. Raises KafkaException."""
        with self._one_at_a_time:
            if self._consumer is None:
                self._consumer = Consumer(self._config)
            self._consumer.assign([TopicPartition(Topic.POSITIONS, one, self._next.get(one, 0)) for one in partitions])
            try:
                self._read_to_ends(self._consumer, set(partitions))
            except KafkaException:
                # A consumer waits a minute for a leader that hangs, whoever leads by now: a new one asks who does.
                self._consumer.close()
                self._consumer = None
                raise
            self._consumer.unassign()
            return dict(self._kept)

    def _read_to_ends(self, consumer: Consumer, open_partitions: set[int]) -> None:
        heard_at = time.monotonic()
        while open_partitions:
            first = consumer.poll(0.1)
            if first is None:
                if time.monotonic() - heard_at > ANSWER_SECONDS:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{Topic.POSITIONS} gave no answer"))
                continue
            for message in (first, *consumer.consume(READ_AT_ONCE, 0)):
                heard_at = time.monotonic()
                error = message.error()
                if error is None:
                    self._take(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition() or 0)
                elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                    raise KafkaException(error)

    def _take(self, message: Message) -> None:
        partition, offset = message.partition() or 0, message.offset() or 0
        self._next[partition] = offset + 1
        if not (message.key() or b"").startswith(f"{self._group}/".encode()):
            return
        try:
            kept = KeptPosition.decode(message.value())
        except Undecodable as error:
            event(log, "position.unreadable", logging.ERROR, partition=partition, offset=offset, reason=str(error))
            return
        self._kept[TP(kept.topic, partition)] = KeptOffset(kept.topic_id, kept.next_offset)
