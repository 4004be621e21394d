"""Follows `control` as one consumer group, and puts what concerns it into KV: one writer a partition, over all control
processes. Offsets are committed when KV has taken what was read; a change that fails is tried again, before all after
it, so KV has an organization's changes in their order. Read again, a record changes nothing: its whole state is
written. Nothing of the past is shown: where reading begins, changes wait until it has come to the log's end.

One thread, so the agent never waits for it. `lag_seconds` is how far behind the mirror is.
"""

import logging
import random
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from domain.guardrails.kv_entries import Change, Put, change_of
from operations import clock
from operations.kafka_clients import reader_config
from operations.logs import event
from operations.settings import CloudflareKv
from processors.kv_mirror import metrics
from processors.kv_mirror.cloudflare import KvNamespace, KvRefused
from processors.kv_mirror.unmirrored import Unmirrored
from schemas.codec import Undecodable
from schemas.topics import Topic

log = logging.getLogger(__name__)
GROUP = "kv-mirror"
READ_MAX = 500
PUT_MAX = 100
"""Changes between two looks at the group: a member that does not look for long is put out of it."""
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
        """`on_failed` is called once, in the mirror's thread, when mirroring has stopped for good: end the process."""
        config = reader_config(bootstrap, group) | {"session.timeout.ms": 10_000, "max.poll.interval.ms": 600_000}
        config |= {"enable.partition.eof": True}
        self._consumer = Consumer(config | {"partition.assignment.strategy": "cooperative-sticky"})
        self._kv = KvNamespace(settings)
        self._on_failed = on_failed
        self._stopping = threading.Event()
        self._failures = 0
        self._partitions: dict[int, Unmirrored] = {}
        self._committed: dict[int, int] = {}
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
            self._consumer.subscribe([Topic.CONTROL], on_revoke=self._forget, on_lost=self._forget)
            while not self._stopping.is_set():
                self._read()
                self._note_lag()
                self._mirror()
                self._note_lag()
        except Exception as error:
            event(log, "kv_mirror.ended", logging.CRITICAL, error=repr(error))
            self._on_failed(error)
        finally:
            self._consumer.close()

    def _forget(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Another owner begins at what was committed."""
        for one in partitions:
            self._partitions.pop(one.partition, None)
            self._committed.pop(one.partition, None)

    def _read(self) -> None:
        """Waits for a record, and takes those that are there with it."""
        first = self._consumer.poll(POLL_SECONDS)
        messages = () if first is None else (first, *self._consumer.consume(READ_MAX, 0))
        mine = {one.partition for one in self._consumer.assignment()}  # a partition may have gone between the two
        for message in messages:
            error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                event(log, "kv_mirror.read_failed", logging.WARNING, error=str(error))
            elif partition not in mine:
                continue
            elif error is None:
                self._of(partition).read(offset, _change(message), message.timestamp()[1])
            else:
                self._of(partition).end_reached(offset)

    def _note_lag(self) -> None:
        since = [since_ms for one in self._partitions.values() if (since_ms := one.since_ms) is not None]
        self._waiting_since_ms = min(since, default=None)

    def _of(self, partition: int) -> Unmirrored:
        found = self._partitions.get(partition)
        if found is None:
            _low, high = self._consumer.get_watermark_offsets(TopicPartition(Topic.CONTROL, partition), cached=True)
            found = self._partitions[partition] = Unmirrored(high if high >= 0 else None)
        return found

    def _mirror(self) -> None:
        for partition, unmirrored in tuple(self._partitions.items()):
            if not unmirrored.is_due:
                continue
            try:
                self._put(unmirrored)
            except KvRefused as refused:
                self._wait(refused)
                return
            if unmirrored.since_ms is None and unmirrored.next_offset > self._committed.get(partition, 0):
                self._commit(partition, unmirrored.next_offset)

    def _put(self, unmirrored: Unmirrored) -> None:
        """Raises KvRefused; what is left is tried again, with what is newer by then."""
        for change in unmirrored.changes(PUT_MAX):
            self._kv.apply(change)
            unmirrored.done(change)
            self._failures = 0
            metrics.WRITES.labels("written" if isinstance(change, Put) else "deleted").inc()

    def _wait(self, refused: KvRefused) -> None:
        metrics.WRITES.labels("failed").inc()
        self._failures += 1
        backoff = min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2 ** min(self._failures - 1, 10))
        wait_seconds = max(backoff * random.uniform(0.5, 1.0), min(RETRY_SECONDS_MAX, refused.retry_seconds or 0.0))
        event(log, "kv_mirror.failed", logging.WARNING, reason=str(refused), wait_seconds=round(wait_seconds, 2))
        self._stopping.wait(wait_seconds)

    def _commit(self, partition: int, next_offset: int) -> None:
        try:
            self._consumer.commit(offsets=[TopicPartition(Topic.CONTROL, partition, next_offset)], asynchronous=False)
            self._committed[partition] = next_offset
        except KafkaException as error:
            log.debug("not committed, so read again: %s", error)


def _change(message: Message) -> Change | None:
    try:
        return change_of(message.key() or b"", message.value(), clock.now_ms())
    except Undecodable as error:
        event(log, "kv_mirror.unreadable", logging.ERROR, offset=message.offset(), reason=str(error))
        return None
