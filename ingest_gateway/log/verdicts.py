"""Waits for verdicts: an agent's decision comes back on the partition of `verdicts` that the request named.

The partition is picked at random and assigned by hand, and read from its end as of the start, so `positioned` must be
true before a verdict is expected. A verdict is found by its correlation id, 128 random bits; a verdict that no request
waits for (too late, repeated after a restart, another process's) is dropped and counted (F35).
"""

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from ingest_gateway import metrics
from ingest_gateway.log.event_log import LogBusy
from operations.kafka_clients import library_log, reader_config
from operations.logs import event
from operations.outages import Outage
from operations.reader_thread import ReaderThread
from schemas.codec import Undecodable
from schemas.records import Verdict
from schemas.replies import CORRELATION_BYTES, ReplyTo
from schemas.topics import VERDICT_PARTITIONS, Topic

log = logging.getLogger(__name__)
POLL_SECONDS = ASK_AGAIN_SECONDS = 0.2
ROUND_MAX = 500
FORGOTTEN_AFTER_SECONDS = 60.0


class TooManyWaiters(LogBusy):
    """`max_waiters` requests wait for a verdict already; nothing was sent."""


class VerdictLate(Exception):
    """No verdict within the time given. The request may still be decided and carried out."""


class Expected:
    """One awaited verdict. Its owner awaits `verdict` or calls `forget`; as a context manager it forgets at the end."""

    def __init__(self, waiter: "VerdictWaiter", reply: ReplyTo, future: asyncio.Future[Verdict]) -> None:
        self.reply = reply
        self.started_seconds = time.perf_counter()
        self._waiter = waiter
        self._future = future

    async def verdict(self, timeout_seconds: float) -> Verdict:
        """Raises VerdictLate."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._future
        except TimeoutError as error:
            metrics.VERDICTS_LATE.inc()
            raise VerdictLate(f"no verdict within {timeout_seconds:g} s") from error
        finally:
            self.forget()

    def forget(self) -> None:
        self._waiter.forget(self)

    def resolve(self, verdict: Verdict) -> None:
        if not self._future.done():
            metrics.VERDICT_SECONDS.observe(time.perf_counter() - self.started_seconds)
            self._future.set_result(verdict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()


class VerdictWaiter:
    """`start()` on the running loop; `await positioned()` before serving; `await stop()` at the end."""

    def __init__(
        self,
        bootstrap: str,
        *,
        max_waiters: int,
        partition: int | None = None,
        on_fatal: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`on_fatal` is called once, on the loop, when no verdict will ever be read again: end the process."""
        self.partition = secrets.randbelow(VERDICT_PARTITIONS) if partition is None else partition
        self.max_waiters = max_waiters
        self._bootstrap = bootstrap
        self._thread = ReaderThread("verdicts", self._run, on_fatal)
        self._waiting: dict[bytes, Expected] = {}
        self._positioned = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def ready(self) -> bool:
        return self._positioned.is_set()

    @property
    def failed(self) -> str | None:
        """Why no verdict will ever be read again, or None."""
        return self._thread.failed

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        metrics.VERDICT_WAITERS.set_function(lambda: len(self._waiting))
        self._thread.start()

    async def positioned(self) -> None:
        await self._positioned.wait()

    def expect(self) -> Expected:
        """A verdict to await, with a new correlation id. Raises TooManyWaiters."""
        if len(self._waiting) >= self.max_waiters and not self._drop_forgotten():
            raise TooManyWaiters(f"{len(self._waiting)} requests wait for a verdict already")
        assert self._loop is not None
        reply = ReplyTo(self.partition, secrets.token_bytes(CORRELATION_BYTES))
        expected = self._waiting[reply.correlation] = Expected(self, reply, self._loop.create_future())
        return expected

    def forget(self, expected: Expected) -> None:
        self._waiting.pop(expected.reply.correlation, None)

    async def stop(self) -> None:
        await self._thread.stop()

    def _drop_forgotten(self) -> bool:
        """Drops the oldest one whose owner neither waits nor forgot it. The table is in the order of arrival."""
        oldest = next(iter(self._waiting.values()), None)
        if oldest is None or time.perf_counter() - oldest.started_seconds < FORGOTTEN_AFTER_SECONDS:
            return False
        self.forget(oldest)
        return True

    def _run(self) -> None:
        config = reader_config(self._bootstrap, f"verdicts-{uuid.uuid4().hex}")
        consumer = Consumer(config | {"auto.offset.reset": "latest", "logger": library_log("verdicts")})
        try:
            self._position(consumer)
            while not self._thread.stops:
                if verdicts := _one_round(consumer):
                    self._thread.call(self._deliver, verdicts)
        finally:
            consumer.close()

    def _position(self, consumer: Consumer) -> None:
        """Assigns the partition at its present end; waits for a broker that is not there yet."""
        mine, outage = TopicPartition(Topic.VERDICTS, self.partition), Outage(log, "verdicts")
        while not self._thread.stops:
            try:
                _low, end = consumer.get_watermark_offsets(mine, timeout=2)
            except KafkaException as error:
                outage.failed(error)
                self._thread.wait(ASK_AGAIN_SECONDS)
                continue
            outage.answered()
            consumer.assign([TopicPartition(Topic.VERDICTS, self.partition, OFFSET_END if end < 0 else end)])
            self._thread.call(self._positioned.set)
            return

    def _deliver(self, verdicts: list[Verdict]) -> None:
        for verdict in verdicts:
            expected = self._waiting.pop(verdict.correlation, None)
            if expected is None:
                metrics.VERDICTS_UNCLAIMED.inc()
            else:
                expected.resolve(verdict)


def _one_round(consumer: Consumer) -> list[Verdict]:
    """Waits for one verdict and takes those that arrived with it. `consume(n)` would wait for n or its time-out."""
    verdicts = []
    message = consumer.poll(POLL_SECONDS)
    while message is not None:
        if (verdict := _read(message)) is not None:
            verdicts.append(verdict)
        message = consumer.poll(0) if len(verdicts) < ROUND_MAX else None
    return verdicts


def _read(message: Message) -> Verdict | None:
    error = message.error()
    if error is not None:
        if error.code() != KafkaError._PARTITION_EOF:
            event(log, "verdicts.read_failed", logging.WARNING, error=str(error))
        return None
    try:
        return Verdict.decode(message.value())
    except Undecodable as undecodable:
        event(log, "verdicts.unreadable", logging.ERROR, offset=message.offset(), reason=str(undecodable))
        return None
