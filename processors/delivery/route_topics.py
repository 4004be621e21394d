"""Routes that are Kafka topics: an admitted event becomes one record, for consumers that read topics.

Key: the idempotency key, or the event's id if there is none, so that events which may repeat one another are on one
partition, in their order (murmur2, as on the stream's own topic). Value: `data`, byte by byte as the producer sent it.
The rest is in headers; `atlas-delivery` is the same on every attempt, so that a consumer can recognize a repeat.

A producer that has failed for good takes no more records; a new one replaces it.

An attempt succeeds when the broker has the record (acks=all). If the broker does not confirm it within the attempt's
time, the attempt has failed, like one of an endpoint that does not answer; the record may be there nevertheless.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from domain.delivery.decide import AttemptResult, ErrorCode, Failed, TimedOut, TopicWritten
from operations.kafka_clients import delivery_error, error_of, producer_config
from operations.logs import event
from schemas.codec import EVENT
from schemas.partitioner import partition_for
from schemas.records import Delivery
from schemas.times import rfc3339
from schemas.topics import RouteTopic

log = logging.getLogger(__name__)
QUEUE_MESSAGES_MAX = 20_000
TOO_LATE = frozenset({KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT})
QUEUE_FULL = Failed(ErrorCode.CONNECTION_FAILED, "has more records waiting to be written than there is room for")


class TopicRecord(NamedTuple):
    key: bytes
    value: bytes
    headers: list[tuple[str, str | bytes | None]]


def topic_record(delivery: Delivery, attempt: int) -> TopicRecord:
    """What one attempt writes. Raises what the event's Avro makes the reader raise."""
    event = EVENT.decode_body(delivery.event)
    texts = {
        "atlas-event-id": delivery.event_id,
        "atlas-type": event["type"],
        "atlas-stream": delivery.stream,
        "atlas-workspace": delivery.workspace,
        "atlas-environment": delivery.environment,
        "atlas-workflow-id": delivery.workflow_id,
        "atlas-occurred-at": event["occurred_at"],
        "atlas-received-at": rfc3339(delivery.received_ms),
        "atlas-idempotency-key": event["idempotency_key"],
        "atlas-actor": event["actor"],
        "atlas-metadata": event["metadata"],
        "atlas-delivery": delivery.delivery_id,
        "atlas-attempt": str(attempt),
        "atlas-replay": str(delivery.replay) if delivery.replay else None,
    }
    headers = [(name, text) for name, text in texts.items() if text is not None]
    return TopicRecord((event["idempotency_key"] or delivery.event_id).encode(), event["data"], headers)


class TopicWriter:
    """`write` raises nothing except for cancellation. The producer starts with the first record."""

    def __init__(
        self,
        bootstrap: str,
        partitions: int,
        timeout_seconds: float,
        make_producer: Callable[[dict[str, Any]], Producer] = Producer,
    ) -> None:
        self._bootstrap = bootstrap
        self._make_producer = make_producer
        self._partitions = partitions
        self._timeout_seconds = timeout_seconds
        self._producer: Producer | None = None
        self._stopping = threading.Event()
        self._pollers: list[threading.Thread] = []

    async def write(self, topic: RouteTopic, record: TopicRecord) -> AttemptResult:
        loop = asyncio.get_running_loop()
        confirmed: asyncio.Future[KafkaError | None] = loop.create_future()

        def delivered(error: KafkaError | None, message: Message) -> None:
            """In the poller's thread."""
            try:
                loop.call_soon_threadsafe(_resolve, confirmed, delivery_error(error, message))
            except RuntimeError:
                return  # the loop is closed, so no caller waits any more

        producer = self._started()
        try:
            producer.produce(
                topic.name,
                record.value,
                record.key,
                partition_for(record.key, self._partitions),
                headers=record.headers,
                on_delivery=delivered,
            )
        except BufferError:
            return QUEUE_FULL
        except KafkaException as error:
            self._replace_if_dead(producer, error_of(error))
            return _failed(error_of(error))
        refused = await confirmed
        if refused is None:
            return TopicWritten()
        self._replace_if_dead(producer, refused)
        return TimedOut(self._timeout_seconds) if refused.code() in TOO_LATE else _failed(refused)

    async def close(self) -> None:
        """Does not wait for records that are not confirmed yet."""
        self._stopping.set()
        for poller in self._pollers:
            await asyncio.to_thread(poller.join, 5)

    def _started(self) -> Producer:
        """With `message.timeout.ms`, a record whose attempt was given up is not written minutes later."""
        if self._producer is None:
            config = producer_config(self._bootstrap, queue_messages_max=QUEUE_MESSAGES_MAX)
            timeout_ms = max(1, int(self._timeout_seconds * 1_000))
            self._producer = self._make_producer(config | {"message.timeout.ms": timeout_ms})
            poller = threading.Thread(target=self._poll, args=(self._producer,), name="route topics", daemon=True)
            self._pollers = [*(one for one in self._pollers if one.is_alive()), poller]
            poller.start()
        return self._producer

    def _replace_if_dead(self, producer: Producer, error: KafkaError) -> None:
        if (error.fatal() or error.code() == KafkaError._FATAL) and self._producer is producer:
            event(log, "route_topics.producer_failed", logging.ERROR, error=error.str())
            self._producer = None

    def _poll(self, producer: Producer) -> None:
        """Until the process stops; for a replaced producer, until it has reported every record that it took."""
        while not self._stopping.is_set() and (self._producer is producer or len(producer)):
            producer.poll(0.1)


def _failed(error: KafkaError) -> Failed:
    return Failed(ErrorCode.CONNECTION_FAILED, f"has a topic that did not take the record: {error.name()}")


def _resolve(confirmed: "asyncio.Future[KafkaError | None]", error: KafkaError | None) -> None:
    if not confirmed.done():
        confirmed.set_result(error)
