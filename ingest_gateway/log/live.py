"""The end of the log as it grows: admitted events of watched streams, in the order of each partition.

One consumer in a thread of its own reads `decisions` and the watched streams' topics, all from their ends, and joins a
decision with its record: only what admission admitted is an event. It runs while there are watchers. Memory is bounded:
a record that was dropped before its decision came is read back from the log (`LiveEvent.value` is None). Where the
thread fails, `on_lost` of every watcher is called, and the next watcher starts again at the log's end. A rerouted event
of a direct producer may come after later ones of its first partition.
"""

import asyncio
import logging
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from operations.kafka_clients import reader_config
from operations.logs import event
from operations.message_headers import headers_of
from operations.reader_thread import ReaderThread
from operations.topic_ends import Partition
from schemas.avro_pieces import read_long
from schemas.codec import DECISION, Undecodable
from schemas.log_records import Headers
from schemas.records import Decision
from schemas.topics import Topic

log = logging.getLogger(__name__)
POLL_SECONDS = 0.02
ROUND_MESSAGES = 1_000
DELIVER_APART_SECONDS = 0.02
"""The least time between two deliveries to watchers."""
UNHANDLED_MAX = 2
"""Deliveries that the event loop has not handled yet; while there are so many, nothing more is read."""
KEPT_BYTES_MAX = 32 * 1024 * 1024
"""Of the records that wait for their decisions."""
LATE_SECONDS = 1.0
"""After this time a decision is delivered without its record."""
FAILING_SECONDS = 60.0
"""After this time without a failure live streams count as working again."""
ADMITTED = "admitted"


class LiveEvent(NamedTuple):
    """`value` None: the record has to be read back from the log."""

    decision: Decision
    value: bytes | None
    headers: Headers


Watcher = Callable[[list[LiveEvent]], None]
"""Called on the event loop with what was admitted to the topic."""
Lost = Callable[[str], None]
"""Called on the event loop with a topic that is not read any more."""


class _Raw(NamedTuple):
    value: bytes
    headers: Headers


class _Open(NamedTuple):
    decision: Decision
    at_seconds: float


class Joined:
    """Mutable: joins records and decisions of the watched partitions. Time is an argument."""

    def __init__(self, kept_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._kept_bytes_max = kept_bytes_max
        self._kept_bytes = 0
        self._raw: dict[Partition, dict[int, _Raw]] = {}
        self._open: dict[Partition, deque[_Open]] = {}

    def record(self, partition: Partition, offset: int, value: bytes, headers: Headers) -> None:
        self._raw.setdefault(partition, {})[offset] = _Raw(value, headers)
        self._kept_bytes += len(value)
        while self._kept_bytes > self._kept_bytes_max:
            fullest = max(self._raw, key=lambda one: len(self._raw[one]))
            self._drop(fullest, next(iter(self._raw[fullest])))

    def decided(self, decision: Decision, now_seconds: float) -> None:
        """A record that is no event is dropped."""
        partition = decision.topic, decision.partition
        if decision.outcome == ADMITTED:
            self._open.setdefault(partition, deque()).append(_Open(decision, now_seconds))
        else:
            self._drop(partition, decision.offset)

    def take(self, now_seconds: float) -> list[LiveEvent]:
        """All that is complete, or late, in order."""
        events = []
        for partition, waiting in self._open.items():
            raw = self._raw.get(partition, {})
            while waiting:
                decision, at_seconds = waiting[0]
                found = raw.get(decision.offset)
                if found is None and now_seconds - at_seconds < LATE_SECONDS:
                    break
                waiting.popleft()
                self._drop(partition, decision.offset)
                events.append(LiveEvent(decision, *(found or (None, ()))))
        return events

    def forget(self, topic: str) -> None:
        for partition in [partition for partition in (*self._raw, *self._open) if partition[0] == topic]:
            for offset in list(self._raw.get(partition, ())):
                self._drop(partition, offset)
            self._raw.pop(partition, None)
            self._open.pop(partition, None)

    def _drop(self, partition: Partition, offset: int) -> None:
        found = self._raw.get(partition, {}).pop(offset, None)
        if found is not None:
            self._kept_bytes -= len(found.value)


class _Watch(NamedTuple):
    topic: str
    attached: "asyncio.Future[dict[int, int]]"


class _Failures(NamedTuple):
    """Consecutive failures of the reader: the last reason, and the first and last time (monotonic)."""

    reason: str
    first_seconds: float
    last_seconds: float

    def are_over(self, now_seconds: float) -> bool:
        return now_seconds - self.last_seconds > FAILING_SECONDS


class LiveLog:
    """One in a process; used from the loop's thread. `close()` at the end."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._watchers: dict[str, dict[Watcher, Lost]] = {}
        self._attached: dict[str, asyncio.Future[dict[int, int]]] = {}
        self._requests: queue.SimpleQueue[_Watch | str] = queue.SimpleQueue()
        self._free_slots = threading.Semaphore(UNHANDLED_MAX)
        self._thread = ReaderThread("live", self._run, self._on_failed)
        self._failures: _Failures | None = None

    @property
    def failed(self) -> str | None:
        """Why its reader failed the last time."""
        return None if self._failures is None else self._failures.reason

    def failing_seconds(self) -> float:
        """For how long it has kept failing; 0 once FAILING_SECONDS have passed without a failure."""
        now, failures = time.monotonic(), self._failures
        return 0.0 if failures is None or failures.are_over(now) else now - failures.first_seconds

    async def watch(self, topic: str, watcher: Watcher, on_lost: Lost) -> dict[int, int]:
        """Calls `watcher` with what is admitted from now on. Returns the offset by partition at which the topic ended
        when its first watcher came. Raises KafkaException. End it with `unwatch`, also when this raises, but not after
        `on_lost`, which ends it as well.
        """
        self._watchers.setdefault(topic, {})[watcher] = on_lost
        attached = self._attached.get(topic)
        if attached is None:
            if not self._thread.runs:
                self._thread.start()
            attached = self._attached[topic] = asyncio.get_running_loop().create_future()
            self._requests.put(_Watch(topic, attached))
        return await asyncio.shield(attached)

    def unwatch(self, topic: str, watcher: Watcher) -> None:
        watchers = self._watchers.get(topic, {})
        watchers.pop(watcher, None)
        if not watchers and self._watchers.pop(topic, None) is not None:
            self._attached.pop(topic, None)
            self._requests.put(topic)

    async def close(self) -> None:
        await self._thread.stop()

    def _on_failed(self, reason: str) -> None:
        """Ends all watching: the next watcher starts at the log's end, in a new thread."""
        now, before = time.monotonic(), self._failures
        first_seconds = now if before is None or before.are_over(now) else before.first_seconds
        self._failures = _Failures(reason, first_seconds, now)
        lost, self._watchers = self._watchers, {}
        waiting, self._attached = self._attached, {}
        self._requests = queue.SimpleQueue()
        for attached in waiting.values():
            _fail(attached, KafkaException(KafkaError(KafkaError._FAIL, reason)))
        for topic, watchers in lost.items():
            for on_lost in watchers.values():
                on_lost(topic)

    def _deliver(self, events: list[LiveEvent]) -> None:
        by_topic: dict[str, list[LiveEvent]] = {}
        for one in events:
            by_topic.setdefault(one.decision.topic, []).append(one)
        for topic, found in by_topic.items():
            for watcher in tuple(self._watchers.get(topic, ())):
                watcher(found)
        self._free_slots.release()

    # In the thread

    def _run(self) -> None:
        config = reader_config(self._bootstrap, f"live-{uuid.uuid4().hex}")
        consumer = Consumer(config | {"fetch.wait.max.ms": 50, "queued.max.messages.kbytes": 16_384})
        tail, requests = _Tail(consumer), self._requests
        events: list[LiveEvent] = []
        next_seconds = 0.0
        try:
            while not self._thread.stops:
                self._take(requests, tail)
                if not tail.topics:
                    self._thread.wait(POLL_SECONDS)
                    continue
                events += tail.read()
                if events and time.monotonic() >= next_seconds and self._free_slots.acquire(timeout=POLL_SECONDS):
                    self._thread.call(self._deliver, events)
                    events, next_seconds = [], time.monotonic() + DELIVER_APART_SECONDS
        finally:
            consumer.close()

    def _take(self, requests: "queue.SimpleQueue[_Watch | str]", tail: "_Tail") -> None:
        while not requests.empty():
            request = requests.get()
            if isinstance(request, str):
                tail.leave(request)
                continue
            try:
                ends = tail.follow(request.topic)
            except KafkaException as error:
                self._thread.call(_fail, request.attached, error)
            else:
                self._thread.call(_resolve, request.attached, ends)


class _Tail:
    def __init__(self, consumer: Consumer) -> None:
        self.topics: dict[bytes, str] = {}
        self._consumer = consumer
        self._joined = Joined()

    def follow(self, topic: str) -> dict[int, int]:
        """`decisions` first: what is decided about a record that comes from here on is then read too."""
        if not self.topics:
            self._consumer.assign(_at(Topic.DECISIONS, self._ends(Topic.DECISIONS)))
        ends = self._ends(topic)
        self._consumer.incremental_assign(_at(topic, ends))
        self.topics[topic.encode()] = topic
        return ends

    def leave(self, topic: str) -> None:
        if self.topics.pop(topic.encode(), None) is None:
            return
        self._joined.forget(topic)
        if self.topics:
            mine = [partition for partition in self._consumer.assignment() if partition.topic == topic]
            self._consumer.incremental_unassign(mine)
        else:
            self._consumer.unassign()

    def read(self) -> list[LiveEvent]:
        first = self._consumer.poll(POLL_SECONDS)
        if first is not None:
            for message in (first, *self._consumer.consume(ROUND_MESSAGES, 0)):
                self._take(message)
        return self._joined.take(time.monotonic())

    def _take(self, message: Message) -> None:
        topic, value = message.topic(), message.value() or b""  # null: a CloudEvent without data
        if message.error() is not None or topic is None:
            return
        if topic != Topic.DECISIONS:
            partition = topic, message.partition() or 0
            self._joined.record(partition, message.offset() or 0, value, headers_of(message))
            return
        try:
            if topic_decided(value) in self.topics:
                self._joined.decided(Decision.decode(value), time.monotonic())
        except (Undecodable, IndexError) as error:
            event(log, "live.unreadable", logging.WARNING, offset=message.offset(), reason=str(error))

    def _ends(self, topic: str) -> dict[int, int]:
        partitions = self._consumer.list_topics(topic, timeout=5).topics[topic].partitions
        ends = {}
        for partition in sorted(partitions):
            ends[partition] = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=5)[1]
        return ends


def topic_decided(value: bytes) -> bytes:
    """The topic of a decision's source record, without decoding the rest: most are of other streams. Raises
    Undecodable, IndexError."""
    body = DECISION.body_of(value)
    length, at = read_long(body, 0)  # outcome
    length, at = read_long(body, at + length)
    return body[at : at + length]


def _at(topic: str, offsets: dict[int, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]


def _resolve(future: "asyncio.Future[dict[int, int]]", ends: dict[int, int]) -> None:
    if not future.done():
        future.set_result(ends)


def _fail(future: "asyncio.Future[dict[int, int]]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marks it as seen: its watcher may have gone
