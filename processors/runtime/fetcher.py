"""Fetches assigned partitions with librdkafka, in a thread, and hands whole batches to the event loop.

Why not Faust's own consumer: aiokafka keeps one fetch in flight a broker and leaves out partitions with undelivered
records, then backs the whole broker off (`prefetch_backoff`, 100 ms) or waits for the long poll of the others (1.5
s): a step in latency that no setting of Faust's removes. librdkafka keeps every partition in the long poll and
decodes in C without the GIL. Which partitions, and from which offset, is Faust's word (transport.py); this class
never joins a group and commits nothing.

A partition has at most one batch handed out (`release` gives the next). What piles up meanwhile is bounded, in records
and in bytes (waiting.py): past `AHEAD_WEIGHT_MAX` nothing more is taken from librdkafka, whose own queue is bounded
too. Only when that lasts are the partitions that hold the others up paused: pausing makes librdkafka drop and fetch
again.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP

from operations.kafka_clients import reader_config
from operations.logs import event
from processors.runtime.batches import Batch, to_record
from processors.runtime.held_back import HeldBack, held_back
from processors.runtime.waiting import Waiting, weight_of_all
from schemas.log_records import LogRecord

log = logging.getLogger(__name__)
CONSUMED_RECORDS_MAX = 4_000
AHEAD_WEIGHT_MAX = 24_000  # 24,000 small records, or 96 MiB
UNHURRIED_WEIGHT_MAX = AHEAD_WEIGHT_MAX // 4
HELD_UP_SECONDS = 0.5
FULL_WAIT_SECONDS = 0.002
POLL_SECONDS = 0.05
LAG_EVERY_SECONDS = 1.0
LAG_EVERY_SECONDS_AT_FIRST = 0.1  # until all partitions were read to their ends
FETCH_WAIT_MS = 100  # new partitions wait for the fetch under way, then for one that has few of them yet
FETCH_BYTES = "fetch.message.max.bytes"
ASKED_FOR_MAX = 8
ASK_SECONDS = 1.0
ASKED_ENDS_MAX = 100  # a look, each a millisecond
ENDS_KNOWN_SECONDS = 0.6  # after an assignment: by then every partition has answered a fetch and told its end anew


class OffsetGone(Exception):
    """The log has not what should come next; the next start finds out why, and tells it."""


PASSING = frozenset({KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT})
UNREADABLE = frozenset(
    {KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED, KafkaError.INVALID_MSG}
)
"""A checksum that is wrong, a compression that fails or that this librdkafka has not."""

NEXT_BATCH = -1
NOT_FETCHED = 2**63


class Fetcher:
    """All methods but `_run` and what it calls are for the event loop's thread."""

    def __init__(self, bootstrap: str, group: str, at_once_bytes: int | None = None) -> None:
        """`at_once_bytes`: about how much of one partition is fetched before the others have their turn."""
        config = reader_config(bootstrap, f"{group}-fetch")
        config |= {"auto.offset.reset": "error"}  # where reading begins is decided when it is known what is lost
        config |= {"queued.max.messages.kbytes": 32_768, "fetch.wait.max.ms": FETCH_WAIT_MS}
        self._consumer = Consumer(config | ({} if at_once_bytes is None else {FETCH_BYTES: at_once_bytes}))
        self._loop = asyncio.get_running_loop()
        self._epoch = 0
        self._offered = 0  # weight; written by the fetcher's thread only
        self._taken = 0  # weight; written by the event loop only
        self._pausing: asyncio.TimerHandle | None = None
        self._waiting: dict[TP, Waiting] = {}
        self._handed_out: set[TP] = set()
        self._paused: set[TP] = set()
        self._orders: deque[tuple[str, list[TopicPartition]]] = deque()
        self._behind: dict[TP, int] = {}
        self._held: dict[TP, HeldBack] = {}
        self._stands: dict[TP, int] = {}
        self._unreadable: dict[TP, str] = {}
        self._reached: set[TP] = set()
        self._begun: set[TP] = set()
        self._ends: dict[TP, int] = {}
        """Of partitions fetched but not handled to their ends: the last offset to be handled."""
        self._next_offsets: dict[TP, int] = {}  # the fetcher's thread's, as is the next
        self._assigned_at = 0.0
        self._topics_met: set[str] = set()
        self._arrived = asyncio.Event()
        self._stopping = threading.Event()
        self.failure: Exception | None = None
        self.unanswered_at = float("-inf")
        """When a broker was last asked for a partition's end in vain (monotonic)."""
        self._thread = threading.Thread(target=self._run, name="fetcher", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        return self._epoch

    def assigned(self) -> set[TP]:
        return set(self._waiting)

    def assign(self, offsets: Mapping[TP, int | None]) -> None:
        """Fetch exactly these partitions, each from its offset (None: from the start). What was fetched before is
        dropped.
        """
        self._epoch += 1
        self._taken += sum(waiting.weight for tp, waiting in self._waiting.items() if tp not in self._paused)
        self._handed_out.clear()
        self._paused.clear()
        self._waiting = {tp: Waiting(self._epoch) for tp in offsets}
        self._reached &= offsets.keys()
        self._begun &= offsets.keys()
        self._ends.clear()
        self._orders.append(("assign", _starting_at(offsets)))

    def add(self, offsets: Mapping[TP, int | None]) -> None:
        """Fetch these partitions as well, and go on with all others as if nothing had happened. They are new on the
        log, so that this worker is no less ready for them.
        """
        new = {tp: offset for tp, offset in offsets.items() if tp not in self._waiting}
        self._epoch += 1
        self._waiting |= {tp: Waiting(self._epoch) for tp in new}
        self._reached |= new.keys()
        self._orders.append(("add", _starting_at(new)))

    def remove(self, tps: set[TP]) -> None:
        """Fetch these no more, and go on with all others. What was fetched of them is dropped."""
        gone = tps & self._waiting.keys()
        for tp in gone:
            waiting = self._waiting.pop(tp)
            self._taken += 0 if tp in self._paused else waiting.weight
            self._ends.pop(tp, None)
        for marked in (self._handed_out, self._paused, self._reached, self._begun):
            marked -= gone
        if gone:
            self._orders.append(("remove", [TopicPartition(*tp) for tp in gone]))

    def unassign(self) -> None:
        self.assign({})

    def owns(self, batch: Batch) -> bool:
        waiting = self._waiting.get(batch.tp)
        return waiting is not None and waiting.epoch == batch.epoch

    def in_flight(self) -> int:
        return len(self._handed_out)

    def release(self, batch: Batch) -> None:
        """The batch was handled (not necessarily confirmed): its partition may be handed out again."""
        if self.owns(batch):
            self._handed_out.discard(batch.tp)
            if batch.next_offset > self._ends.get(batch.tp, NOT_FETCHED):
                self._reached.add(batch.tp)
            self._resume_if_short(batch.tp)
            self._arrived.set()

    async def batches(self, wanted: Iterable[TP] | None, timeout_seconds: float) -> dict[TP, Batch]:
        """Batches of partitions that have none handed out; waits up to the time-out for the first."""
        found = self._take(wanted)
        if not found:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return {}
            found = self._take(wanted)
        return found

    def lag(self) -> dict[TP, int]:
        """Records between what was fetched and the end that the broker last told, plus what waits here. What is held
        back (`held_back`) counts as well, though nobody can handle it now.
        """
        behind, held = self._behind, self._held
        return {
            tp: behind.get(tp, 0) + (held[tp].records if tp in held else 0) + len(waiting)
            for tp, waiting in self._waiting.items()
        }

    def held_back(self) -> dict[TP, HeldBack]:
        """What waits on each partition for a transaction that is still open, whoever began it."""
        held = self._held
        return {tp: held[tp] for tp in self._waiting if tp in held}

    def due_and_idle(self) -> dict[TP, int]:
        """Where partitions stand whose records wait at the broker while none of theirs are here: the next should come
        at once. None of them while much of others waits here, whose records then come first.
        """
        if self._offered - self._taken > UNHURRIED_WEIGHT_MAX:
            return {}
        idle = self._waiting.keys() - self._handed_out
        return {tp: self._stands.get(tp, 0) for tp in idle if self._behind.get(tp) and not self._waiting[tp]}

    def unreadable(self, tp: TP) -> str | None:
        """Why nothing more comes from this partition, where its records are damaged."""
        return self._unreadable.get(tp)

    def unread(self) -> set[TP]:
        """Assigned partitions that were not handled to their end yet since they came to this worker."""
        return self._waiting.keys() - self._reached

    def unbegun(self) -> set[TP]:
        """Assigned partitions that may hold records, of which none was handed out yet."""
        return self.unread() - self._begun

    async def stop(self) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 5)

    def _is_full(self) -> bool:
        """Of records handed to the loop and not yet taken as batches; those of paused partitions don't count."""
        return self._offered - self._taken > AHEAD_WEIGHT_MAX

    def _take(self, wanted: Iterable[TP] | None) -> dict[TP, Batch]:
        allowed = self._waiting.keys() if wanted is None else self._waiting.keys() & set(wanted)
        found = {}
        for tp in allowed:
            waiting = self._waiting[tp]
            if waiting and tp not in self._handed_out:
                records, weight = waiting.take()
                found[tp] = Batch(tp, records, waiting.epoch)
                self._handed_out.add(tp)
                self._begun.add(tp)
                self._taken += 0 if tp in self._paused else weight
        return found

    def _resume_if_short(self, tp: TP) -> None:
        if tp in self._paused and not self._waiting[tp].is_long:
            self._paused.discard(tp)
            self._taken -= self._waiting[tp].weight
            self._orders.append(("resume", [TopicPartition(tp.topic, tp.partition)]))

    def _accept(self, epoch: int, fetched: dict[TP, list[LogRecord]], weights: dict[TP, int]) -> None:
        for tp, records in fetched.items():
            waiting = self._waiting.get(tp)
            if waiting is None or waiting.epoch > epoch:  # fetched before the partition was given, the last time
                self._taken += weights[tp]
                continue
            waiting.extend(records, weights[tp])
            self._taken += weights[tp] if tp in self._paused else 0
        self._arrived.set()
        if self._is_full() and self._pausing is None:
            self._pausing = self._loop.call_later(HELD_UP_SECONDS, self._pause_the_stuck)

    def _pause_the_stuck(self) -> None:
        """Still full: partitions whose batch takes long and that have another one waiting make room for the others."""
        self._pausing = None
        if not self._is_full():
            return
        for tp in self._handed_out - self._paused:
            waiting = self._waiting.get(tp)
            if waiting is not None and waiting.is_long:
                self._paused.add(tp)
                self._taken += waiting.weight
                self._orders.append(("pause", [TopicPartition(tp.topic, tp.partition)]))

    def _run(self) -> None:
        """The fetcher's thread: the only one that touches the consumer (concurrent calls on one can block each
        other).
        """
        epoch = 0
        looked_at = time.monotonic()
        try:
            while not self._stopping.is_set():
                epoch = self._obey(epoch)
                if self._is_full():
                    self._stopping.wait(FULL_WAIT_SECONDS)
                elif (first := self._consumer.poll(POLL_SECONDS)) is not None:
                    # poll waits for one record; consume(n, 0) then takes what is there without waiting for n.
                    self._offer(epoch, [first, *self._consumer.consume(CONSUMED_RECORDS_MAX, 0)])
                looked_at = self._look(epoch, looked_at)
        except Exception as error:
            self.failure = error  # the watchdog ends the process with it; a closed loop has no watchdog any more
        finally:
            self._consumer.close()

    def _offer(self, epoch: int, messages: list[Message]) -> None:
        fetched: dict[TP, list[LogRecord]] = {}
        stopped: set[TP] = set()
        topic, partition, records = "", -1, []  # records of a partition mostly come in a row
        for message in messages:
            if (error := message.error()) is not None:
                self._note_error(error, message, stopped)
                topic = ""
                continue
            record = to_record(message)
            if record.partition != partition or record.topic != topic:
                topic, partition = record.topic, record.partition
                tp = TP(topic, partition)
                # librdkafka begins anew before what it can't read: that goes nowhere
                records = [] if tp in stopped else fetched.setdefault(tp, [])
            records.append(record)
        weights = {tp: weight_of_all(records) for tp, records in fetched.items()}
        for tp, records in fetched.items():
            self._next_offsets[tp] = records[-1].offset + 1
        if fetched:
            self._offered += sum(weights.values())
            self._loop.call_soon_threadsafe(self._accept, epoch, fetched, weights)

    def _look(self, epoch: int, looked_at: float) -> float:
        """Measures the lag when it is time; returns when that was done last."""
        now = time.monotonic()
        since_seconds = now - looked_at
        if since_seconds < LAG_EVERY_SECONDS_AT_FIRST or (since_seconds < LAG_EVERY_SECONDS and not self.unread()):
            return looked_at
        self._behind = behind = self._measure_lag()
        if now - self._assigned_at > ENDS_KNOWN_SECONDS:
            at_end = [tp for tp, records in behind.items() if records == 0]
            self._loop.call_soon_threadsafe(self._note_ends, epoch, at_end)
        return now

    def _measure_lag(self) -> dict[TP, int]:
        """Of each partition whose end the broker has told. By the consumer's position, which passes what is never
        handed out as well: markers and records of aborted transactions.
        """
        tps = list(self._next_offsets)
        behind, stands = {}, {}
        for tp, position in zip(tps, self._consumer.position([TopicPartition(*tp) for tp in tps]), strict=True):
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
            if high >= 0:
                stands[tp] = max(low, position.offset, self._next_offsets[tp])
                behind[tp] = max(0, high - stands[tp])
        held_up = [tp for tp, records in behind.items() if records and self._stands.get(tp) == stands[tp]]
        self._stands = stands
        readable = self._readable(held_up[:ASKED_ENDS_MAX])
        ends = {tp: (stands[tp] + records, stands[tp] + behind[tp]) for tp, records in readable.items()}
        self._held = held_back(ends, self._held, time.monotonic())
        return behind | readable

    def _readable(self, tps: list[TP]) -> dict[TP, int]:
        """Of partitions that did not move since the last look: how much the broker would give. Behind the first record
        of a transaction that is still open nothing is given, however long that lasts, and so nothing is due (K12).
        """
        readable = {}
        for tp in tps:
            try:
                _low, end = self._consumer.get_watermark_offsets(TopicPartition(*tp), timeout=ASK_SECONDS)
            except KafkaException as error:
                log.debug("the end of %s can't be asked for: %s", tp, error)
                self.unanswered_at = time.monotonic()
                break
            readable[tp] = max(0, end - self._stands[tp])
        return readable

    def _note_ends(self, epoch: int, at_end: list[TP]) -> None:
        """These partitions were fetched to their ends a moment ago; they are read once that much is handled."""
        for tp in self.unread().intersection(at_end):
            waiting = self._waiting[tp]
            if waiting.epoch > epoch:
                continue
            if waiting:
                self._ends.setdefault(tp, waiting.last_offset)
            elif tp in self._handed_out:
                self._ends.setdefault(tp, NEXT_BATCH)
            else:
                self._reached.add(tp)

    def _learn(self, topics: set[str]) -> None:
        """Asks for topics not met yet: librdkafka looks around once a second, and a new stream's first event would
        wait for that. One by one, so only where they are few; at the start that second finds them all.
        """
        new = topics - self._topics_met
        self._topics_met |= topics
        if len(new) > ASKED_FOR_MAX:
            return
        for topic in new:
            try:
                self._consumer.list_topics(topic, timeout=ASK_SECONDS)
            except KafkaException as error:
                log.debug("%s can't be asked for: %s", topic, error)

    def _obey(self, epoch: int) -> int:
        while self._orders:
            order, partitions = self._orders.popleft()
            if order == "assign":
                self._learn({partition.topic for partition in partitions})
                self._consumer.assign(partitions)
                self._unreadable.clear()
                self._next_offsets = _first_offsets(partitions)
                self._assigned_at = time.monotonic()
                epoch += 1
            elif order == "add":
                self._learn({partition.topic for partition in partitions})
                self._consumer.incremental_assign(partitions)
                self._next_offsets |= _first_offsets(partitions)
                epoch += 1
            elif order == "remove":
                self._forget(partitions)
            elif order == "pause":
                self._consumer.pause(partitions)
            else:
                self._consumer.resume(partitions)
        return epoch

    def _forget(self, partitions: list[TopicPartition]) -> None:
        """A topic of the same name may come back as another one."""
        self._consumer.incremental_unassign(partitions)
        for partition in partitions:
            tp = TP(partition.topic, partition.partition)
            self._next_offsets.pop(tp, None)
            self._unreadable.pop(tp, None)
            self._topics_met.discard(tp.topic)

    def _note_error(self, error: KafkaError, message: Message, stopped: set[TP]) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise OffsetGone(f"{topic}[{partition}] has nothing at offset {offset}: {error.str()}")
        if error.code() in UNREADABLE and topic is not None and partition is not None:
            tp = TP(topic, partition)
            if tp not in stopped:
                stopped.add(tp)
                self._stop_at(tp, offset, error)
        elif error.code() not in PASSING:
            event(log, "fetch.failed", logging.WARNING, topic=topic, error=str(error))

    def _stop_at(self, tp: TP, offset: int | None, error: KafkaError) -> None:
        """This partition alone: what stands before the damage is handled, and what comes after it is not read, since a
        gap must not be taken for nothing. The watchdog ends the process in the end, with this reason (F31); librdkafka
        2.16 itself aborts it where it meets two damaged partitions at once.
        """
        self._consumer.pause([TopicPartition(*tp)])
        why = f"the batch at offset {offset} can't be read: {error.str()}"
        self._unreadable[tp] = f"{why}. Restore it, or move the group's offset behind it"
        event(log, "partition.unreadable", logging.ERROR, topic=tp.topic, partition=tp.partition, offset=offset)


def _starting_at(offsets: Mapping[TP, int | None]) -> list[TopicPartition]:
    return [
        TopicPartition(tp.topic, tp.partition, OFFSET_BEGINNING if offset is None else offset)
        for tp, offset in offsets.items()
    ]


def _first_offsets(partitions: list[TopicPartition]) -> dict[TP, int]:
    return {TP(p.topic, p.partition): max(0, p.offset) for p in partitions}
