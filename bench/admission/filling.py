"""Fills a stream's topic with events of about 600 bytes, as a gateway writes them: Avro, signed, keyed.

One in five repeats an earlier event, so that a table is asked in vain and with success. A `keyed` event has an
Idempotency-Key and asks for a verdict, as over HTTP.
"""

import secrets
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from confluent_kafka import Producer

from domain.events.avro import encode_event
from domain.events.rules import SURFACE, EventFields, event_id, payload_hash
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from operations.kafka_clients import producer_config
from schemas.replies import REPLY_HEADER, ReplyTo
from tests.support.streams import LiveStream

VALUE_BYTES = 600
REPEATED_EVERY = 5
REPEATED_BEFORE = 7
GATEWAY_PARTITION = 5
FLUSH_SECONDS = 60.0
OCCURRED_AT, OCCURRED_MS = "2026-05-18T14:22:11Z", 1_779_114_131_000
ACTOR = b'{"type":"user","id":"usr_8842","tenant_id":"tnt_119"}'
METADATA = b'{"region":"eu-west-1","channel":"web"}'
FILLER = "x" * 290


class Written(NamedTuple):
    """What a gateway hands to its producer."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def signed_events(stream: LiveStream, signer: GatewaySigner, count: int, *, keyed: bool) -> Iterator[Written]:
    run = secrets.token_hex(4)
    for number in range(count):
        is_repeat = number % REPEATED_EVERY == 0 and number >= REPEATED_BEFORE
        which = number - REPEATED_BEFORE if is_repeat else number
        yield signed_event(stream, signer, f"{run}-{which:09d}", keyed=keyed)


def signed_event(stream: LiveStream, signer: GatewaySigner, name: str, *, keyed: bool) -> Written:
    topic = stream.topic
    fields = EventFields(
        stream=topic.stream,
        type="order.fulfilled",
        occurred_at=OCCURRED_AT,
        occurred_ms=OCCURRED_MS,
        data=f'{{"order_id":"ord_{name}","total_cents":4299,"currency":"USD","note":"{FILLER}"}}'.encode(),
        actor=ACTOR,
        metadata=METADATA,
        idempotency_key=f"key-{name}" if keyed else None,
    )
    digest = payload_hash(fields)
    identifier = event_id(topic.workspace, topic.environment, SURFACE, fields, digest)
    value = encode_event(fields, identifier)
    headers = [(GATEWAY_SIGNATURE, signer.sign(topic.name, digest, value))]
    if keyed:
        headers.append((REPLY_HEADER, ReplyTo(GATEWAY_PARTITION, secrets.token_bytes(16)).encode()))
    return Written((fields.idempotency_key or identifier).encode(), value, headers)


def fill(stream: LiveStream, signer: GatewaySigner, count: int, *, keyed: bool) -> None:
    """Returns when the broker has them all."""
    write(stream, signed_events(stream, signer, count, keyed=keyed))


def write(stream: LiveStream, events: Iterable[Written]) -> None:
    """Returns when the broker has them all."""
    config = producer_config(stream.bootstrap, linger_ms=20, queue_messages_max=1_000_000)
    producer = Producer(config | {"partitioner": "murmur2_random"})
    for number, event in enumerate(events):
        producer.produce(stream.name, event.value, event.key, headers=event.headers)
        if number % 1_000 == 0:
            producer.poll(0)
    if left := producer.flush(FLUSH_SECONDS):
        raise TimeoutError(f"{left} events were not stored within {FLUSH_SECONDS:g} s")
