"""Reports the use of this gateway's buckets to the log (`usage`) and applies what is allocated to it (`quotas`).

A heartbeat to every partition of `usage` says that this gateway lives; its last one says that it leaves. Reports may
get lost: they carry totals, so the next one makes up for it, and no request ever waits for one. Nothing here is needed
to serve: while processors or brokers are away, the last allocation holds, and before any allocation an even part.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from ingest_gateway import metrics
from ingest_gateway.limits.limiter import Limiter
from operations.kafka_clients import library_log, producer_config, reader_config
from operations.logs import event
from operations.reader_thread import ReaderThread
from schemas.codec import Undecodable
from schemas.records import SO_FAR, Shares, Usage
from schemas.topics import Topic

log = logging.getLogger(__name__)
REPORT_SECONDS = 0.2
HEARTBEAT_SECONDS = 1.0
POLL_SECONDS = 0.2
ROUND_MAX = 1_000
QUEUE_REPORTS_MAX = 20_000
LATE_MS = 2_000  # after this time a later report says all that this one does
FLUSH_SECONDS = 1.0
RESTART_SECONDS = 1.0

_QuotaMessage = tuple[int, str, Shares | None]
"""The partition of `quotas`, the bucket (empty: the list of gateways), and its allocation; None: it was withdrawn."""


class QuotaExchange:
    """`start()` on the running loop, `await stop()` at the end. One a process; the limiter is used on the loop only."""

    def __init__(self, bootstrap: str, limiter: Limiter, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._limiter = limiter
        self._partitions = partitions
        self._thread = ReaderThread("quotas", self._run, self._start_again)
        self._reporting: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._producer = Producer(_reports_config(self._bootstrap))
        self._reporting = asyncio.create_task(self._report_on())
        self._thread.start()
        metrics.RATE_BUCKETS.set_function(lambda: len(self._limiter))
        metrics.RATE_GATEWAYS.set_function(lambda: self._limiter.gateways)

    async def stop(self) -> None:
        assert self._reporting is not None
        self._reporting.cancel()
        self._report_to_all(Usage(gateway=self._limiter.gateway, leaving=True))
        await asyncio.to_thread(self._producer.flush, FLUSH_SECONDS)
        await self._thread.stop()
        del self._producer  # it would look for its broker for ever

    # Reporting

    async def _report_on(self) -> None:
        beat_due_ns = 0
        while True:
            now_ns = time.monotonic_ns()
            if now_ns >= beat_due_ns:
                beat_due_ns = now_ns + round(HEARTBEAT_SECONDS * 1e9)
                self._report_to_all(Usage(gateway=self._limiter.gateway))
            for usage in self._limiter.reports(now_ns):
                self._report(usage)
            self._limiter.forget_idle(now_ns)
            self._producer.poll(0)
            await asyncio.sleep(REPORT_SECONDS)

    def _report_to_all(self, usage: Usage) -> None:
        for partition in range(self._partitions):
            self._report(usage, partition)

    def _report(self, usage: Usage, partition: int = -1) -> None:
        """Without a partition it is the bucket's."""
        try:
            self._producer.produce(
                Topic.USAGE, usage.encode(), usage.bucket.encode(), partition, on_delivery=_count_lost
            )
        except (BufferError, KafkaException):
            metrics.RATE_REPORTS_LOST.inc()

    # Receiving allocations

    def _run(self) -> None:
        consumer = Consumer(
            reader_config(self._bootstrap, f"quotas-{uuid.uuid4().hex}") | {"logger": library_log("quotas")}
        )
        partitions = range(self._partitions)
        try:
            consumer.assign([TopicPartition(Topic.QUOTAS, partition, 0) for partition in partitions])
            while not self._thread.stops:
                if messages := _one_round(consumer):
                    self._thread.call(self._apply, messages)
        finally:
            consumer.close()

    def _start_again(self, _reason: str) -> None:
        """All allocations are read again, which changes nothing; otherwise the last one would hold for ever."""
        asyncio.get_running_loop().call_later(RESTART_SECONDS, self._thread.start)

    def _apply(self, messages: Iterable[_QuotaMessage]) -> None:
        now_ns = time.monotonic_ns()
        for partition, bucket, shares in messages:
            try:
                if shares is None:
                    self._limiter.forget(bucket)
                elif bucket:
                    self._limiter.apply(shares, now_ns)
                else:
                    self._limiter.note_gateways(partition, shares.gateways, so_far=shares.dealt_ms == SO_FAR)
            except (ValueError, IndexError) as error:  # lists of different lengths, no name of a bucket
                event(log, "quotas.unusable", logging.ERROR, bucket=bucket, reason=str(error))


def _reports_config(bootstrap: str) -> dict[str, object]:
    """Reports are cheap to lose, so one that is late gives way; murmur2 partitions every keyed record."""
    return producer_config(bootstrap, linger_ms=5, queue_messages_max=QUEUE_REPORTS_MAX) | {
        "acks": 1,
        "enable.idempotence": False,
        "message.timeout.ms": LATE_MS,
        "partitioner": "murmur2_random",
        "logger": library_log("usage"),
    }


def _count_lost(error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        metrics.RATE_REPORTS_LOST.inc()


def _one_round(consumer: Consumer) -> list[_QuotaMessage]:
    """Waits for one allocation and takes those that have arrived with it."""
    messages: list[_QuotaMessage] = []
    message = consumer.poll(POLL_SECONDS)
    while message is not None:
        if (one := _read(message)) is not None:
            messages.append(one)
        message = consumer.poll(0) if len(messages) < ROUND_MAX else None
    return messages


def _read(message: Message) -> _QuotaMessage | None:
    error = message.error()
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:
            event(log, "quotas.read_failed", logging.WARNING, error=str(error))
        return None
    partition, key = message.partition() or 0, message.key() or b""
    value = message.value()
    try:
        if value is None:
            return partition, key.decode(), None
        shares = Shares.decode(value)
    except (Undecodable, UnicodeDecodeError) as undecodable:
        event(log, "quotas.unreadable", logging.ERROR, offset=message.offset(), reason=str(undecodable))
        return None
    return partition, shares.bucket, shares
