"""Follows `control` as one consumer group, and puts what concerns it into KV: one writer a partition, over all control
processes. Offsets are committed when KV has taken a batch; a change that fails is tried again, with all after it, so KV
has an organization's changes in their order. Read again, a record changes nothing: its whole state is written.

One thread; nothing of it is on the agent's way. `lag_seconds` tells how far behind it is.
"""

import logging
import random
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from operations.kafka_clients import reader_config
from operations.logs import event
from operations.settings import CloudflareKv
from processors.kv_mirror import metrics
from processors.kv_mirror.cloudflare import KvNamespace, KvRefused
from processors.kv_mirror.decide import Change, Put, change_of, newest
from schemas.codec import Undecodable
from schemas.topics import Topic

log = logging.getLogger(__name__)
GROUP = "kv-mirror"
BATCH_MAX = 200
POLL_SECONDS = 0.1
RETRY_SECONDS_MIN, RETRY_SECONDS_MAX = 0.5, 30.0


class KvMirror:
    """`start()`, then `stop()`; both from outside its thread."""

    def __init__(
        self,
        bootstrap: str,
        settings: CloudflareKv,
        group: str = GROUP,
        on_failed: Callable[[Exception], object] = lambda error: None,
    ) -> None:
        """`on_failed` is told once, in the mirror's thread, that nothing is mirrored any more: end the process."""
        config = reader_config(bootstrap, group) | {"session.timeout.ms": 10_000, "max.poll.interval.ms": 600_000}
        self._consumer = Consumer(config | {"partition.assignment.strategy": "cooperative-sticky"})
        self._kv = KvNamespace(settings)
        self._on_failed = on_failed
        self._stopping = threading.Event()
        self._failures = 0
        self._waiting_since_ms: int | None = None
        self._thread = threading.Thread(target=self._run, name="kv-mirror", daemon=True)

    def start(self) -> None:
        metrics.LAG_SECONDS.set_function(self.lag_seconds)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(15)

    def lag_seconds(self) -> float:
        since_ms = self._waiting_since_ms
        return 0.0 if since_ms is None else max(0.0, time.time() - since_ms / 1_000)

    def _run(self) -> None:
        try:
            self._consumer.subscribe([Topic.CONTROL])
            while not self._stopping.is_set():
                messages = self._read()
                if messages:
                    self._mirror(messages)
        except Exception as error:
            event(log, "kv_mirror.ended", logging.CRITICAL, error=repr(error))
            self._on_failed(error)
        finally:
            self._consumer.close()

    def _read(self) -> list[Message]:
        """Waits for one, and takes those that are there with it."""
        first = self._consumer.poll(POLL_SECONDS)
        if first is None:
            return []
        return [message for message in (first, *self._consumer.consume(BATCH_MAX, 0)) if _is_record(message)]

    def _mirror(self, messages: list[Message]) -> None:
        changes = [change for message in messages if (change := _change(message)) is not None]
        if changes:
            self._waiting_since_ms = self._waiting_since_ms or min(message.timestamp()[1] for message in messages)
        try:
            for change in newest(changes):
                self._kv.apply(change)
                metrics.WRITES.labels("written" if isinstance(change, Put) else "deleted").inc()
        except KvRefused as refused:
            self._try_again(messages, refused)
            return
        self._failures = 0
        self._waiting_since_ms = None
        self._commit(messages)

    def _try_again(self, messages: list[Message], refused: KvRefused) -> None:
        """From these records on, after a while."""
        metrics.WRITES.labels("failed").inc()
        self._failures += 1
        backoff = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2 ** min(self._failures - 1, 10))
        wait_seconds = max(backoff * random.uniform(0.5, 1.0), min(RETRY_SECONDS_MAX, refused.retry_seconds or 0.0))
        event(log, "kv_mirror.failed", logging.WARNING, reason=str(refused), wait_seconds=round(wait_seconds, 2))
        for partition, offset in _offsets(messages, min).items():
            try:
                self._consumer.seek(TopicPartition(Topic.CONTROL, partition, offset))
            except KafkaException:
                log.debug("partition %d has another owner", partition)  # which begins at what was committed
        self._stopping.wait(wait_seconds)

    def _commit(self, messages: list[Message]) -> None:
        done = _offsets(messages, max)
        try:
            self._consumer.commit(
                offsets=[TopicPartition(Topic.CONTROL, partition, offset + 1) for partition, offset in done.items()],
                asynchronous=False,
            )
        except KafkaException as error:
            log.debug("not committed, so read again: %s", error)


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        event(log, "kv_mirror.read_failed", logging.WARNING, error=str(error))
    return error is None


def _change(message: Message) -> Change | None:
    try:
        return change_of(message.key() or b"", message.value(), time.time_ns() // 1_000_000)
    except Undecodable as error:
        event(log, "kv_mirror.unreadable", logging.ERROR, offset=message.offset(), reason=str(error))
        return None


def _offsets(messages: list[Message], choose: Callable[[list[int]], int]) -> dict[int, int]:
    offsets: dict[int, list[int]] = {}
    for message in messages:
        offsets.setdefault(message.partition() or 0, []).append(message.offset() or 0)
    return {partition: choose(found) for partition, found in offsets.items()}
