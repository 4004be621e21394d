"""The port to the Kafka log: `append` gives a future of the position at which the broker has stored the record.

Only the package `log` knows Kafka's exceptions; its callers see LogBusy (nothing was taken, try again) and
LogUnavailable (not confirmed; the record may still be stored, F5). A caller sets its own deadline on the
future and cancels it; the report that comes later is counted, never lost (F37). `append_all` does the same for many
records at once (batches.py).

A poll thread collects delivery reports and hands each round's to the event loop in one call.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingest_gateway import metrics
from ingest_gateway.log.batches import BatchAppend
from ingest_gateway.log.ends import EndsUnknown, LogEnds
from ingest_gateway.log.stream_ends import Range, StreamEnd, StreamEnds
from operations.coalescing import Coalesced
from operations.kafka_clients import UNCONFIRMED, delivery_error, error_of, library_log, producer_config, reason_of
from operations.logs import event
from operations.record_reader import RecordReader, RecordUnreachable, StoredRecord
from operations.topic_ends import Partition
from schemas.log_records import RecordPosition
from schemas.topics import Topic

log = logging.getLogger(__name__)
_Headers = list[tuple[str, bytes]]
POLL_SECONDS = 0.2
QUEUE_MESSAGES_MAX = 100_000
SCOPES_REMEMBERED_MAX = 10_000
REPEATS_MAX = 3


FAILURE_LABELS = frozenset(
    {
        *("_MSG_TIMED_OUT", "_ALL_BROKERS_DOWN", "_TRANSPORT", "_FATAL", "_PURGE_QUEUE", "_PURGE_INFLIGHT"),
        *("_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_OR_PART", "TOPIC_AUTHORIZATION_FAILED"),
        *("NOT_ENOUGH_REPLICAS", "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "KAFKA_STORAGE_ERROR"),
        *("MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "_NO_OFFSET"),
    }
)

LATE_STORED, LATE_FAILED = (metrics.PRODUCE_LATE.labels(outcome) for outcome in ("stored", "failed"))
FAILURES = {label: metrics.PRODUCE_FAILURES.labels(label) for label in (*FAILURE_LABELS, "queue_full", "other")}


class LogBusy(Exception):
    """The local queue is full; the record was not sent."""


class LogUnavailable(Exception):
    """Not confirmed as stored. It may be stored all the same: sending it again with the same key is safe."""


class StorageUnknown(LogUnavailable):
    """librdkafka took the record for stored, though no broker has said so (`delivery_error`)."""


class Appended(NamedTuple):
    """Where the broker stored a record, and its append time (LogAppendTime)."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


class _Report(NamedTuple):
    future: asyncio.Future[Appended]
    started_seconds: float
    error: KafkaError | None
    message: Message
    again: Callable[[], None] | None
    """Appends the record once more; None where that is not to be done."""


class EventLog:
    """`start()` on the running loop, `await close()` at the end. One a process; used from the loop's thread only."""

    def __init__(
        self,
        bootstrap: str,
        *,
        linger_ms: float = 1,
        queue_messages_max: int = QUEUE_MESSAGES_MAX,
        on_fatal: Callable[[str], None] = lambda reason: None,
        make_producer: Callable[[dict[str, Any]], Producer] = Producer,
    ) -> None:
        """`on_fatal` is called once, on the loop, when no append will ever succeed again: end the process (F7)."""
        self._config = producer_config(bootstrap, linger_ms=linger_ms, queue_messages_max=queue_messages_max) | {
            "partitioner": "murmur2_random",  # the Java client's, so admission can compute a key's partition
            "error_cb": self._note_error,
            "logger": library_log("event-log"),
        }
        self._queue_messages_max = queue_messages_max
        self._on_fatal = on_fatal
        self._make_producer = make_producer
        self._producer: Producer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._reports: list[_Report] = []
        self._ended: list[BatchAppend] = []
        """Batches whose reports are all in, not handed over to the loop yet."""
        self._waiting: dict[asyncio.Future[Appended] | BatchAppend, float] = {}
        """Records and batches queued or under way to the broker, in their order, and since when."""
        self._waiting_records = 0
        self._moved_seconds = time.perf_counter()
        """When the broker last confirmed a record, or the first record was queued since."""
        self._newest: dict[str, dict[tuple[str, int], int]] = {}
        self._records = RecordReader(bootstrap)
        self._ends = LogEnds(bootstrap)
        self._newest_of: Coalesced[str, list[RecordPosition]] = Coalesced(self._ask_newest)
        self._stream_ends = StreamEnds(self._ends, self._records)
        self._stopping = threading.Event()
        self._flush_seconds = 0.0
        self._fatal: str | None = None
        self._unreachable: str | None = "no broker has answered yet"
        self._reached_seconds = time.perf_counter()

    @property
    def failed(self) -> str | None:
        """Why no append will ever succeed again, or None."""
        return self._fatal

    @property
    def unreachable(self) -> str | None:
        """Why records wait in the local queue, or None while a broker answers."""
        return self._unreachable

    def oldest_waiting_seconds(self) -> float:
        """For how long the oldest unconfirmed record has waited, or no broker has answered."""
        oldest_seconds = next(iter(self._waiting.values()), None)
        return max(self._unreachable_seconds(), 0 if oldest_seconds is None else time.perf_counter() - oldest_seconds)

    def unconfirmed_seconds(self) -> float:
        """For how long no record was confirmed while some wait, or no broker has answered."""
        return max(self._unreachable_seconds(), time.perf_counter() - self._moved_seconds if self._waiting else 0)

    def why_waiting(self) -> str:
        if not self._waiting:
            return f"no broker answers: {self._unreachable}"
        why = "" if self._unreachable is None else f": {self._unreachable}"
        waited = f"the oldest of {self._waiting_records} records has waited {self.oldest_waiting_seconds():.0f} s"
        return f"{waited} for the brokers to confirm it{why}"

    def _unreachable_seconds(self) -> float:
        return 0 if self._unreachable is None else time.perf_counter() - self._reached_seconds

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._producer = self._make_producer(self._config)
        metrics.PRODUCE_QUEUE.set_function(lambda: self._waiting_records)
        metrics.PRODUCE_OLDEST_SECONDS.set_function(self.oldest_waiting_seconds)
        self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
        self._thread.start()

    def append(
        self, topic: str, key: bytes, value: bytes, headers: _Headers, *, may_repeat: bool = False
    ) -> asyncio.Future[Appended]:
        """Queues one record for the broker, on the partition that murmur2 of its key names.

        Raises LogBusy at once when the local queue is full and LogUnavailable when nothing can be queued any more; the
        future fails with LogUnavailable when the broker did not confirm. Cancel it to stop waiting. `may_repeat`: the
        record may stand on the log twice. Where nobody knows whether it is there, it is appended once more; without,
        the future then fails with StorageUnknown.
        """
        producer = self._ready_producer()
        assert self._loop is not None
        future: asyncio.Future[Appended] = self._loop.create_future()
        started_seconds = time.perf_counter()

        def send(repeats: int) -> None:
            def report(error: KafkaError | None, message: Message) -> None:
                again = partial(send, repeats - 1) if repeats else None
                self._reports.append(_Report(future, started_seconds, delivery_error(error, message), message, again))

            producer.produce(topic, value, key, on_delivery=report, headers=headers)  # type: ignore[arg-type]

        try:
            send(REPEATS_MAX if may_repeat else 0)
        except (BufferError, KafkaException) as error:
            raise self._refusal(error) from error
        self._waits(future, 1, started_seconds)
        return future

    def append_all(
        self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], headers: Sequence[_Headers]
    ) -> BatchAppend:
        """Queues many records of one topic, in their order, as `append` does each that may be repeated. Raises
        LogUnavailable when nothing can be queued any more. A queue that is full half-way is the batch's `refusal`.
        """
        produce = self._ready_producer().produce

        batch = BatchAppend(topic, keys, values, headers, produce, self._ended.append, self._read_reports)
        number = 0
        try:
            for number in range(batch.records):
                batch.send(number)
        except (BufferError, KafkaException) as error:
            if batch.refuse_from(number, self._refusal(error)):
                self._ended.append(batch)
        if batch.queued:
            self._waits(batch, batch.queued, batch.started_seconds)
        else:
            batch.end()
        return batch

    def _ready_producer(self) -> Producer:
        """Raises LogUnavailable."""
        if self._fatal is not None or self._stopping.is_set():
            raise LogUnavailable(self._fatal or "the gateway is stopping")
        assert self._producer is not None
        return self._producer

    def _refusal(self, error: BufferError | KafkaException) -> LogBusy | LogUnavailable:
        if isinstance(error, BufferError):
            FAILURES["queue_full"].inc()
            return LogBusy("the local queue to the log is full")
        self._note_error(error_of(error))
        return LogUnavailable(str(error))

    def _waits(self, one: asyncio.Future[Appended] | BatchAppend, records: int, started_seconds: float) -> None:
        if not self._waiting:
            self._moved_seconds = started_seconds
        self._waiting[one] = started_seconds
        self._waiting_records += records

    def has_room(self, records: int) -> bool:
        """Whether so many records fit the local queue: checked before a batch, so that none is sent by half (F8)."""
        return self._waiting_records + records <= self._queue_messages_max

    def newest(self, workspace: str, environment: str) -> list[RecordPosition]:
        """The last record that this process appended to each partition of these streams, as far as remembered."""
        scope = self._newest.get(f"events.{workspace}.{environment}", {})
        return [(topic, partition, offset) for (topic, partition), offset in scope.items()]

    async def read(self, position: RecordPosition, timeout_seconds: float) -> StoredRecord | None:
        """One record; None where it is gone (retention, a deleted topic). Raises LogUnavailable."""
        try:
            return await self._records.read(*position, timeout_seconds)
        except RecordUnreachable as error:
            raise LogUnavailable(str(error)) from error

    async def read_many(
        self, positions: Collection[RecordPosition], timeout_seconds: float
    ) -> dict[RecordPosition, StoredRecord | None]:
        """Many records, as `read` gives each. Raises LogUnavailable."""
        try:
            return await self._records.read_many(positions, timeout_seconds)
        except RecordUnreachable as error:
            raise LogUnavailable(str(error)) from error

    async def ends(self, topic: str) -> list[RecordPosition]:
        """The newest record of each of the topic's partitions that has one. Raises LogUnavailable."""
        try:
            return (await self._newest_of.about([topic]))[topic]
        except EndsUnknown as error:
            raise LogUnavailable(str(error)) from error

    async def stream_ends(self, partitions: Collection[Partition]) -> dict[Partition, StreamEnd]:
        """Of the partitions that exist, as of this moment or later. Raises LogUnavailable."""
        try:
            return await self._stream_ends.now(partitions)
        except EndsUnknown as error:
            raise LogUnavailable(str(error)) from error

    async def with_records(self, ranges: Mapping[Partition, Range]) -> set[Partition]:
        """The partitions whose range of offsets holds a record that can be read. Raises LogUnavailable."""
        try:
            return await self._stream_ends.with_records(ranges)
        except RecordUnreachable as error:
            raise LogUnavailable(str(error)) from error

    async def _ask_newest(self, topics: list[str]) -> dict[str, list[RecordPosition]]:
        return {topic: await self._ends.newest(topic) for topic in topics}

    async def close(self, flush_seconds: float = 5.0) -> None:
        """Sends what is queued, at most for so long; what is left then fails with LogUnavailable."""
        self._flush_seconds = flush_seconds
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
            await asyncio.sleep(0)  # the last reports were handed to the loop just now
        await self._records.close()

    def _run(self) -> None:
        """The poll thread. All delivery callbacks run here, so `_reports` needs no lock."""
        assert self._producer is not None
        try:
            while not self._stopping.is_set():
                if self._unreachable is not None:
                    self._probe(self._producer)
                self._producer.poll(POLL_SECONDS)
                self._hand_over()
        except Exception as error:  # without this thread nothing would ever be confirmed again
            self._fail_for_good(f"the reader of delivery reports failed: {error!r}")
            return
        unsent = self._producer.flush(self._flush_seconds)
        if unsent:
            event(log, "log.unsent", logging.ERROR, records=unsent)
            self._producer.purge()
            self._producer.flush(1)
        self._hand_over()

    def _probe(self, producer: Producer) -> None:
        """A gateway that is not ready gets no requests, so no delivery report would show that the broker is back."""
        try:
            producer.list_topics(Topic.COMMANDS, timeout=1)
        except KafkaException as error:
            self._unreachable = reason_of(error)
        else:
            self._unreachable = None
            self._reached_seconds = time.perf_counter()

    def _hand_over(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._call(self._resolve_all, reports)
        if self._ended:
            ended = self._ended[:]
            del self._ended[: len(ended)]  # the loop may append meanwhile
            self._call(self._end_batches, ended)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            log.debug("the event loop closed before the log's reports were handed over")

    def _resolve_all(self, reports: list[_Report]) -> None:
        now_seconds = time.perf_counter()
        for report in reports:
            if report.error is UNCONFIRMED and self._is_repeated(report.again):
                continue
            self._waits_no_more(report.future, 1)
            metrics.PRODUCE_SECONDS.observe(now_seconds - report.started_seconds)
            if report.error is None:
                self._moved_seconds = now_seconds
                self._resolve_stored(report)
            else:
                self._resolve_failed(report.future, report.error)

    def _is_repeated(self, again: Callable[[], None] | None) -> bool:
        """Whether the record is on its way once more."""
        if again is None or self._stopping.is_set():
            return False
        FAILURES[UNCONFIRMED.name()].inc()
        try:
            again()
        except (BufferError, KafkaException) as error:
            self._refusal(error)
            return False
        return True

    def _is_repeated_in_part(self, batch: BatchAppend) -> bool:
        numbers = batch.to_repeat()
        refused = sum(not self._is_repeated(partial(batch.send, number)) for number in numbers)
        if refused and batch.not_repeated(refused) and refused < len(numbers):
            self._ended.append(batch)
        return refused < len(numbers)

    def _waits_no_more(self, one: asyncio.Future[Appended] | BatchAppend, records: int) -> None:
        if self._waiting.pop(one, None) is not None:
            self._waiting_records -= records

    def _end_batches(self, batches: list[BatchAppend]) -> None:
        self._moved_seconds = time.perf_counter()
        for batch in batches:
            self._read_reports(batch)
            if self._is_repeated_in_part(batch):
                continue
            self._waits_no_more(batch, batch.queued)
            if self._fatal is not None:
                batch.withdraw()
            batch.end()

    def _read_reports(self, batch: BatchAppend) -> None:
        reports = batch.read_reports()
        metrics.PRODUCE_SECONDS.observe_all([report.at_seconds - batch.started_seconds for report in reports])
        newest: dict[int, Appended] = {}
        for report in reports:
            if report.error is None:
                newest[report.partition] = Appended(batch.topic, report.partition, report.offset, report.timestamp_ms)
                continue
            self._note_error(report.error)
            FAILURES.get(report.error.name(), FAILURES["other"]).inc()
        for stored in newest.values():
            self._remember(stored)
        if batch.is_given_up and reports:
            failed = sum(report.error is not None for report in reports)
            LATE_FAILED.inc(failed)
            LATE_STORED.inc(len(reports) - failed)

    def _resolve_stored(self, report: _Report) -> None:
        message = report.message
        stored = _stored(message)
        self._remember(stored)
        if self._fatal is not None:
            # Stored before the producer failed, but nothing is promised after that.
            _fail(report.future, LogUnavailable(self._fatal))
        elif report.future.done():
            LATE_STORED.inc()
        else:
            report.future.set_result(stored)

    def _resolve_failed(self, future: asyncio.Future[Appended], error: KafkaError) -> None:
        self._note_error(error)
        FAILURES.get(error.name(), FAILURES["other"]).inc()
        if future.done():
            LATE_FAILED.inc()
        elif error is UNCONFIRMED:
            _fail(future, StorageUnknown(error.str()))
        else:
            _fail(future, LogUnavailable(error.str()))

    def _remember(self, stored: Appended) -> None:
        """By the topic's name without its last part, which is the workspace and environment of a stream.

        Reports of a partition come in order. An offset that goes back is of a topic that was recreated (a stream that
        was deleted and created again): it will not reach the old offsets for a long time.
        """
        scope = stored.topic.rpartition(".")[0]
        if not scope:
            return
        newest = self._newest.get(scope)
        if newest is None:
            if len(self._newest) >= SCOPES_REMEMBERED_MAX:
                del self._newest[next(iter(self._newest))]
            newest = self._newest[scope] = {}
        newest[stored.topic, stored.partition] = stored.offset

    def _note_error(self, error: KafkaError) -> None:
        """Also librdkafka's error callback, then on the poll thread."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self._unreachable is None:
            self._unreachable, self._reached_seconds = error.str(), time.perf_counter()
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._fail_for_good(f"the producer failed for good: {error.str()}")

    def _fail_for_good(self, reason: str) -> None:
        if self._fatal is None:
            self._fatal = reason
            event(log, "log.fatal", logging.CRITICAL, error=reason)
            self._call(self._on_fatal, self._fatal)


def _stored(message: Message) -> Appended:
    return Appended(message.topic(), message.partition(), message.offset(), message.timestamp()[1])  # type: ignore[arg-type]


def _fail(future: asyncio.Future[Appended], reason: LogUnavailable) -> None:
    if not future.done():
        future.set_exception(reason)
        future.exception()  # marks it as seen: its request may have gone
