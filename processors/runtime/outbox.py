"""Everything that a batch produces leaves through here: idempotent librdkafka producers, confirmed batch by batch.

One producer waits a millisecond for more records, so that the batches of many partitions share requests. Where nothing
else is under way there is nothing to wait for: an eager batch then uses a second producer, which sends at once. For a
single verdict that saves 2 of 9 ms; if it were always done, the requests would cost a busy broker more than that saves.

`OutboxBatch.confirmed()` returns once the broker has every record of the batch (acks=all), or raises OutboxFailed:
then nothing of the batch counts as done, its offsets stay unconfirmed, and it is read again.

`give_up` is for a worker that may own its partitions no longer: it drops all records that wait here, with their
producers, and nothing that was begun before ever leaves. Records that were already sent can't be recalled; they may be
on the log or not.
"""

import asyncio
import threading
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from operations.kafka_clients import delivery_error, error_of, producer_config
from processors.runtime import metrics
from processors.runtime.errors import Abandoned, OutboxFailed

QUEUE_MESSAGES_MAX = 500_000
LINGER_MS = 1
FULL_WAIT_SECONDS = 0.002
FULL_WAIT_SECONDS_MAX = 60.0
TAKEN_AT_ONCE = 1_000
DROPPED_SECONDS_MAX = 10.0
KNOWN_MS = 30_000
"""How long a topic may be unknown to brokers: on a new cluster they learn of each other's topics in seconds."""


class OutboxBatch:
    """Implements `Outputs`. Counting needs no lock: the event loop's thread counts up, the poller's counts down."""

    __slots__ = ("_done", "_error", "_life", "_outbox", "_producer", "_sent", "_target", "_waiter", "changelog_end")

    def __init__(self, outbox: "Outbox", producer: Producer) -> None:
        self._outbox = outbox
        self._life = outbox.life
        self._producer = producer
        self._sent = self._done = 0
        self._target: int | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: tuple[str, KafkaError] | None = None
        self.changelog_end: dict[str, int] = {}

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        is_changelog: bool = False,
    ) -> None:
        self._check()
        options: dict[str, Any] = {} if partition is None else {"partition": partition}
        if headers:
            options["headers"] = headers
        report = self._changelog_delivered if is_changelog else self._delivered
        self._outbox.produce(self._producer, topic, value, key, report, options)
        self._sent += 1  # not before: a record that was not taken is never reported

    def produce_many(self, topic: str, messages: list[dict[str, Any]]) -> None:
        self._produce_all(topic, messages, {})

    def produce_values(self, topic: str, partition: int, values: list[bytes]) -> None:
        self._produce_all(topic, [{"value": value} for value in values], {"partition": partition})

    def _produce_all(self, topic: str, messages: list[dict[str, Any]], options: dict[str, Any]) -> None:
        for start in range(0, len(messages), TAKEN_AT_ONCE):
            self._check()
            some = messages[start : start + TAKEN_AT_ONCE]
            self._outbox.produce_many(self._producer, topic, some, self._delivered, options)
            self._sent += len(some)

    async def confirmed(self) -> None:
        started = time.perf_counter() if self._done < self._sent else None
        while self._done < self._sent:  # an earlier call's target may wake this one's waiter before its time
            self._waiter = asyncio.get_running_loop().create_future()
            self._target = self._sent
            if self._done < self._target:
                await self._waiter
        if started is not None:
            metrics.OUTBOX_CONFIRM_SECONDS.observe(time.perf_counter() - started)
        self._check()
        if self._error is not None:
            raise OutboxFailed(*self._error)

    def _check(self) -> None:
        if self._life != self._outbox.life or self._outbox.is_closed:
            raise Abandoned("the assignment that this belongs to was given up")

    def _changelog_delivered(self, error: KafkaError | None, message: Message) -> None:
        if delivery_error(error, message) is None:
            topic = message.topic() or ""
            self.changelog_end[topic] = max(self.changelog_end.get(topic, 0), (message.offset() or 0) + 1)
        self._delivered(error, message)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        error = delivery_error(error, message)
        if error is not None:
            self._error = (message.topic() or "", error)
        self._outbox.note_moved()
        self._done += 1
        if self._target is not None and self._done >= self._target:
            self._outbox.wake(self._waiter)


class Outbox:
    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._producers: list[Producer] = []
        self.life = 0
        """How often everything was given up so far."""
        self.is_closed = False
        self._moved_at = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._shared = self._start(LINGER_MS)
        self._prompt: Producer | None = None
        metrics.OUTBOX_WAITING.set_function(self.waiting)

    def batch(self, *, eager: bool = False, prompt: bool = False) -> OutboxBatch:
        """`prompt`: its records leave at once; `eager`: they do if nothing else is under way. Batches of different
        producers keep no order among each other, so both are for callers that await each batch of a partition before
        the next.
        """
        if not prompt and (not eager or self.waiting()):
            return OutboxBatch(self, self._shared)
        if self._prompt is None:
            self._prompt = self._start(linger_ms=0)
        return OutboxBatch(self, self._prompt)

    def give_up(self) -> None:
        """Drops all records that wait here or are on their way; `confirmed` raises Abandoned for them. Until `open`
        nothing leaves; afterwards only batches that were begun after it.
        """
        self.life += 1
        self.is_closed = True
        dropped, self._producers = self._producers, []
        self._shared, self._prompt = self._start(LINGER_MS), None
        for producer in dropped:
            producer.purge(in_queue=True, in_flight=True, blocking=False)

    def open(self) -> None:
        self.is_closed = False

    def _start(self, linger_ms: float) -> Producer:
        config = producer_config(self._bootstrap, linger_ms=linger_ms, queue_messages_max=QUEUE_MESSAGES_MAX)
        config |= {"partitioner": "murmur2_random", "queue.buffering.max.kbytes": 512 * 1024}
        producer = Producer(config | {"topic.metadata.propagation.max.ms": KNOWN_MS})
        self._producers.append(producer)
        thread = threading.Thread(target=self._poll, args=(producer,), name="outbox", daemon=True)
        self._threads.append(thread)
        thread.start()
        return producer

    def produce(
        self,
        producer: Producer,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        report: Any,
        options: dict[str, Any],
    ) -> None:
        """Waits while librdkafka's queue is full: the output of a batch is never dropped in part (F8)."""
        deadline = 0.0
        while True:
            try:
                producer.produce(topic, value, key, on_delivery=report, **options)
                return
            except BufferError:
                now = time.monotonic()
                deadline = deadline or now + FULL_WAIT_SECONDS_MAX
                if now > deadline:
                    full = KafkaError(
                        KafkaError._TIMED_OUT, f"the local queue stayed full for {FULL_WAIT_SECONDS_MAX} s"
                    )
                    raise OutboxFailed(topic, full) from None
                metrics.OUTBOX_FULL.inc()
                time.sleep(FULL_WAIT_SECONDS)  # the poller's thread empties the queue meanwhile
            except KafkaException as error:
                raise OutboxFailed(topic, error_of(error)) from error

    def produce_many(
        self, producer: Producer, topic: str, messages: list[dict[str, Any]], report: Any, options: dict[str, Any]
    ) -> None:
        """Hands them over in one call, or, where the local queue is nearly full, one by one, waiting for space. A
        partition is given as an option: confluent-kafka documents that a message may name its own, but then sends it
        where its key leads. All are queued, or OutboxFailed is raised.
        """
        if len(producer) + len(messages) < QUEUE_MESSAGES_MAX:
            taken = producer.produce_batch(topic, messages, on_delivery=report, **options)
            if taken == len(messages):
                return
            messages = [message for message in messages if "_error" in message]
        for message in messages:
            self.produce(producer, topic, message.get("value"), message.get("key"), report, options)

    def wake(self, waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None:
            try:
                self._loop.call_soon_threadsafe(_resolve, waiter)
            except RuntimeError:
                return  # the loop is closed, and nothing waits any more

    def waiting(self) -> int:
        return sum(map(len, self._producers))

    def note_moved(self) -> None:
        """The broker has taken a record, or refused one."""
        self._moved_at = time.monotonic()

    def stuck_seconds(self, now: float) -> float:
        """For how long records have waited and the broker has taken none; 0 while none waits."""
        if not self.waiting():
            self._moved_at = now
        return max(0.0, now - self._moved_at)

    async def stop(self) -> None:
        for producer in self._producers:
            await asyncio.to_thread(producer.flush, 8)
        self._stopping.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 5)

    def _poll(self, producer: Producer) -> None:
        while not self._stopping.is_set() and producer in self._producers:
            producer.poll(0.1)
        ends_at = time.monotonic() + DROPPED_SECONDS_MAX
        while len(producer) and time.monotonic() < ends_at:  # dropped: its records are reported as purged
            producer.poll(0.1)


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
