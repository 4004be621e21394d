"""A stream as `control` and Kafka know it, with both ways of writing to it: as a gateway does, and as anybody may."""

from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from domain.admission.rerouting import placement_key
from domain.events.rules import SURFACE, EventFields, event_id, payload_hash, read_event, to_record
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from operations import clock
from operations.kafka_clients import MESSAGE_BYTES_MAX
from operations.random_ids import random_id, short_id
from operations.topic_admin import ensure_topics
from schemas.codec import EVENT
from schemas.entities import Stream, StreamStatus
from schemas.ids import STREAM, WORKSPACE
from schemas.replies import REPLY_HEADER, ReplyTo
from schemas.topics import StreamTopic, Topic, TopicSpec, stream_topic_spec
from tests.support.events import ABSENT
from tests.support.kafka_topics import PARTITIONS, TIMEOUT_SECONDS, produce

OCCURRED_AT = "2026-05-18T14:22:11Z"


class LiveStream:
    """A stream with a topic of its own, known to every reader of `control` once it is announced."""

    def __init__(
        self,
        bootstrap: str,
        master_key: bytes,
        name: str = "orders",
        *,
        workspace: str | None = None,
        routes: list[str] | None = None,
        announce: bool = True,
        make_topic: bool = True,
    ) -> None:
        self.bootstrap = bootstrap
        self.topic = StreamTopic(workspace or short_id(WORKSPACE), "live", name)
        self.name = self.topic.name
        self._signer = GatewaySigner(master_key)
        spec = stream_topic_spec(self.topic, PARTITIONS, 1)
        if make_topic:
            ensure_topics(bootstrap, [TopicSpec(spec.name, spec.partitions, spec.config)])
        self.entity = Stream(
            id=random_id(STREAM, clock.now_ms()),
            workspace=self.topic.workspace,
            created_ms=1,
            environment=self.topic.environment,
            name=name,
            default_routes=routes or [],
            status=StreamStatus.ACTIVE,
            topic=self.name,
            topic_id=f"id-of-{name}",
        )
        if announce:
            self.announce()

    def announce(self) -> None:
        entity = self.entity.to_entity()
        produce(self.bootstrap, Topic.CONTROL, entity.encode(), key=entity.key)

    def writer(self, **config: Any) -> "Writer":
        return Writer(self, config)

    def event(self, **changes: Any) -> dict[str, Any]:
        """As over HTTP; `stream` is this one's unless the test says another."""
        fields: dict[str, Any] = {
            "stream": self.topic.stream,
            "type": "order.fulfilled",
            "occurred_at": OCCURRED_AT,
            "data": {"order": 1},
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not ABSENT}

    def json(self, **changes: Any) -> bytes:
        return msgspec.json.encode(self.event(**changes))

    def fields(self, **changes: Any) -> EventFields:
        body = msgspec.json.encode(self.event(**changes))
        return read_event(body, now_ms=clock.now_ms(), allow_key_field=True)

    def avro(self, **changes: Any) -> bytes:
        """As a direct producer writes it: without an id."""
        return EVENT.encode(to_record(self.fields(**changes), ""))

    def id_of(self, **changes: Any) -> str:
        fields = self.fields(**changes)
        return event_id(self.topic.workspace, self.topic.environment, SURFACE, fields, payload_hash(fields))

    def signed(self, **changes: Any) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Key, value and headers as a gateway writes them."""
        fields = self.fields(**changes)
        digest = payload_hash(fields)
        identifier = event_id(self.topic.workspace, self.topic.environment, SURFACE, fields, digest)
        value = EVENT.encode(to_record(fields, identifier))
        headers = [(GATEWAY_SIGNATURE, self._signer.sign(self.name, digest, value))]
        return placement_key(fields.idempotency_key, identifier), value, headers


class Writer:
    """One producer; `flush` returns once all is stored, and `stored` says where, in the order of the reports."""

    def __init__(self, stream: LiveStream, config: dict[str, Any]) -> None:
        self.stored: list[tuple[int, int]] = []
        self.errors: list[KafkaError] = []
        self._stream = stream
        self._producer = Producer(
            {
                "bootstrap.servers": stream.bootstrap,
                "linger.ms": 5,
                "enable.idempotence": True,  # so that the order on the log is the order of sending, repeats or not
                "partitioner": "murmur2_random",
                "message.max.bytes": MESSAGE_BYTES_MAX,
                **config,
            }
        )

    def send(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: list[tuple[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        self._producer.produce(
            self._stream.name,
            value,
            key,
            partition=partition,
            headers=headers or [],
            on_delivery=self._report,
            **options,
        )
        self._producer.poll(0)

    def send_as_gateway(self, *, reply: ReplyTo | None = None, **changes: Any) -> None:
        key, value, headers = self._stream.signed(**changes)
        if reply is not None:
            headers.append((REPLY_HEADER, reply.encode()))
        self.send(value, key=key, headers=headers)

    def flush(self) -> None:
        assert self._producer.flush(TIMEOUT_SECONDS) == 0

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.errors.append(error)
        else:
            self.stored.append((message.partition() or 0, message.offset() or 0))
