"""Fetches assigned partitions with librdkafka, in a thread, and hands whole batches to the event loop.

Why not Faust's own consumer: aiokafka keeps one fetch in flight for each broker and leaves out partitions with
undelivered records, then backs the whole broker off (`prefetch_backoff`, 100 ms) or waits for the long poll of the
others (1.5 s): a step in latency that no setting of Faust removes. librdkafka keeps every partition in the long poll
and decodes in C without the GIL. transport.py decides which partitions are fetched, and from which offsets; this class
never joins a group and commits nothing.

Records wait in bounded queues (fetch_queues.py). While those are full nothing more is taken from librdkafka, whose own
queue is bounded too. Only when that lasts are the partitions paused that hold up the others: pausing makes librdkafka
drop what it has and fetch it again.
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
from processors.runtime.errors import OffsetGone
from processors.runtime.fetch_queues import FetchQueues
from processors.runtime.fetched_records import weight_of_all
from processors.runtime.open_transactions import OpenTransaction, open_transactions
from schemas.log_records import LogRecord

log = logging.getLogger(__name__)
CONSUMED_RECORDS_MAX = 4_000
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
ENDS_KNOWN_SECONDS = 0.6  # after an assignment: by then each partition's answer to a fetch has brought its end


PASSING = frozenset({KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT})
UNREADABLE = frozenset(
    {KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED, KafkaError.INVALID_MSG}
)
"""A wrong checksum, data that can't be decompressed, or a compression that this librdkafka does not have."""


class Fetcher:
    """All methods but `_run` and what it calls are for the event loop's thread."""

    def __init__(self, bootstrap: str, group: str, at_once_bytes: int | None = None) -> None:
        """`at_once_bytes`: about how much of one partition is fetched before others are."""
        config = reader_config(bootstrap, f"{group}-fetch")
        config |= {"auto.offset.reset": "error"}  # where reading begins is decided when it is known what is lost
        config |= {"queued.max.messages.kbytes": 32_768, "fetch.wait.max.ms": FETCH_WAIT_MS}
        self._consumer = Consumer(config | ({} if at_once_bytes is None else {FETCH_BYTES: at_once_bytes}))
        self._loop = asyncio.get_running_loop()
        self._queues = FetchQueues()
        self._pausing: asyncio.TimerHandle | None = None
        self._orders: deque[tuple[str, list[TopicPartition]]] = deque()
        self._behind: dict[TP, int] = {}
        self._transactions: dict[TP, OpenTransaction] = {}
        self._read_to: dict[TP, int] = {}
        self._unreadable: dict[TP, str] = {}
        self._next_offsets: dict[TP, int] = {}  # the fetcher's thread's, as is the next
        self._assigned_at = 0.0
        self._topics_met: set[str] = set()
        self._arrived = asyncio.Event()
        self._stopping = threading.Event()
        self.failure: Exception | None = None
        self.unanswered_at = float("-inf")
        """When a broker last gave no answer about a partition's end (monotonic)."""
        self._thread = threading.Thread(target=self._run, name="fetcher", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        return self._queues.epoch

    def assigned(self) -> set[TP]:
        return set(self._queues.assigned)

    def assign(self, offsets: Mapping[TP, int | None]) -> None:
        """Fetches exactly these partitions, each from its offset (None: from the start). What was fetched before is
        dropped.
        """
        self._queues.assign(offsets.keys())
        self._orders.append(("assign", _starting_at(offsets)))

    def add(self, offsets: Mapping[TP, int | None]) -> None:
        """Fetches these partitions as well, and goes on with all others as if nothing had happened. They are new on the
        log, so they do not make this worker less ready.
        """
        new = {tp: offset for tp, offset in offsets.items() if tp not in self._queues.assigned}
        self._queues.add(new.keys())
        self._orders.append(("add", _starting_at(new)))

    def remove(self, tps: set[TP]) -> None:
        """Stops fetching these, and goes on with all others. What was fetched of them is dropped."""
        gone = tps & self._queues.assigned
        if gone:
            self._queues.remove(gone)
            self._orders.append(("remove", [TopicPartition(*tp) for tp in gone]))

    def unassign(self) -> None:
        self.assign({})

    def owns(self, batch: Batch) -> bool:
        return self._queues.owns(batch)

    def in_flight(self) -> int:
        return self._queues.in_flight()

    def release(self, batch: Batch) -> None:
        """The batch was handled (not necessarily confirmed): its partition may be handed out again."""
        if self.owns(batch):
            if self._queues.release(batch):
                self._orders.append(("resume", [TopicPartition(*batch.tp)]))
            self._arrived.set()

    async def batches(self, wanted: Iterable[TP] | None, timeout_seconds: float) -> dict[TP, Batch]:
        """Batches of partitions that have none handed out; waits up to the time-out for the first."""
        found = self._queues.take(wanted)
        if not found:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return {}
            found = self._queues.take(wanted)
        return found

    def lag(self) -> dict[TP, int]:
        """Records between what was fetched and the end that the broker last reported, plus those that wait here.
        Records held back by an open transaction count too, though nobody can handle them now.
        """
        behind, held, queues = self._behind, self._transactions, self._queues
        return {
            tp: behind.get(tp, 0) + (held[tp].records if tp in held else 0) + queues.waiting(tp)
            for tp in queues.assigned
        }

    def open_transactions(self) -> dict[TP, OpenTransaction]:
        """Of each partition on which a producer's open transaction holds records back."""
        found = self._transactions
        return {tp: found[tp] for tp in self._queues.assigned if tp in found}

    def due_and_idle(self) -> dict[TP, int]:
        """The partitions whose next records should arrive at once, with the offset each has been read to: the broker
        has records of the partition, and none are here. Empty while many records of other partitions wait here, since
        those are handled first.
        """
        return {tp: self._read_to.get(tp, 0) for tp in self._queues.idle() if self._behind.get(tp)}

    def unreadable(self, tp: TP) -> str | None:
        """Why nothing more comes from this partition, where its records are damaged."""
        return self._unreadable.get(tp)

    def unread(self) -> set[TP]:
        """Assigned partitions that have not been handled to their ends yet since this worker got them."""
        return self._queues.unread()

    def unbegun(self) -> set[TP]:
        """Assigned partitions that may hold records, of which none was handed out yet."""
        return self._queues.unbegun()

    def fetched_to_end(self) -> set[TP]:
        """Partitions that were fetched to their ends and are not handled that far yet."""
        return self._queues.fetched_to_end()

    async def stop(self) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 5)

    def _accept(self, epoch: int, fetched: dict[TP, list[LogRecord]], weights: dict[TP, int]) -> None:
        self._queues.put(epoch, fetched, weights)
        self._arrived.set()
        if self._queues.is_full and self._pausing is None:
            self._pausing = self._loop.call_later(HELD_UP_SECONDS, self._pause_the_stuck)

    def _pause_the_stuck(self) -> None:
        self._pausing = None
        if stuck := self._queues.pause_the_stuck():
            self._orders.append(("pause", [TopicPartition(*tp) for tp in stuck]))

    def _run(self) -> None:
        """The fetcher's thread: the only one that touches the consumer (concurrent calls on one can block each
        other).
        """
        epoch = 0
        looked_at = time.monotonic()
        try:
            while not self._stopping.is_set():
                epoch = self._obey(epoch)
                if self._queues.is_full:
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
                # librdkafka fetches again from before what it can't read, without end
                records = [] if tp in stopped else fetched.setdefault(tp, [])
            records.append(record)
        weights = {tp: weight_of_all(records) for tp, records in fetched.items()}
        for tp, records in fetched.items():
            self._next_offsets[tp] = records[-1].offset + 1
        if fetched:
            self._queues.offer(sum(weights.values()))
            self._loop.call_soon_threadsafe(self._accept, epoch, fetched, weights)

    def _look(self, epoch: int, looked_at: float) -> float:
        """Measures the lag when that is due; returns when it was last done."""
        now = time.monotonic()
        since_seconds = now - looked_at
        if since_seconds < LAG_EVERY_SECONDS_AT_FIRST or (since_seconds < LAG_EVERY_SECONDS and not self.unread()):
            return looked_at
        self._behind = behind = self._measure_lag()
        if now - self._assigned_at > ENDS_KNOWN_SECONDS:
            at_end = [tp for tp, records in behind.items() if records == 0]
            self._loop.call_soon_threadsafe(self._queues.note_ends, epoch, at_end)
        return now

    def _measure_lag(self) -> dict[TP, int]:
        """Of each partition whose end the broker has reported. By the consumer's position, which also passes what is
        never handed out: markers and records of aborted transactions.
        """
        tps = list(self._next_offsets)
        behind, read_to = {}, {}
        for tp, position in zip(tps, self._consumer.position([TopicPartition(*tp) for tp in tps]), strict=True):
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
            if high >= 0:
                read_to[tp] = max(low, position.offset, self._next_offsets[tp])
                behind[tp] = max(0, high - read_to[tp])
        held_up = [tp for tp, records in behind.items() if records and self._read_to.get(tp) == read_to[tp]]
        self._read_to = read_to
        readable = self._readable(held_up[:ASKED_ENDS_MAX])
        ends = {tp: (read_to[tp] + records, read_to[tp] + behind[tp]) for tp, records in readable.items()}
        self._transactions = open_transactions(ends, self._transactions, time.monotonic())
        return behind | readable

    def _readable(self, tps: list[TP]) -> dict[TP, int]:
        """Of partitions that did not move since the last look: how many records the broker would give. It gives none
        behind the first record of an open transaction, however long that stays open, so none are due (K12).
        """
        readable = {}
        for tp in tps:
            try:
                _low, end = self._consumer.get_watermark_offsets(TopicPartition(*tp), timeout=ASK_SECONDS)
            except KafkaException as error:
                log.debug("the end of %s can't be asked for: %s", tp, error)
                self.unanswered_at = time.monotonic()
                break
            readable[tp] = max(0, end - self._read_to[tp])
        return readable

    def _learn(self, topics: set[str]) -> None:
        """Asks for topics that are new to this client: librdkafka looks for them once a second, and a new stream's
        first event would wait for that. Asked one by one, so only where they are few; at the start that second finds
        all.
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
        """Stops this partition only: what comes before the damage is handled, and what comes after it is not read,
        since records must not be skipped silently. The watchdog ends the process at last, with this reason (F31);
        librdkafka 2.16 itself aborts it where it meets two damaged partitions at once.
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
