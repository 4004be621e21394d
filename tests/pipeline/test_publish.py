"""Publishing over HTTP onto a real broker, with verdicts by a real topic: admission's own decisions in a thread."""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from deploy.local.broker import Broker
from domain.events.rules import check_fields
from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from ingest_gateway.log.event_log import Appended, EventLog
from ingest_gateway.log.verdicts import VerdictWaiter
from operations.kafka_clients import reader_config
from operations.topic_admin import ensure_topics
from schemas.codec import EVENT
from schemas.partitioner import partition_for
from schemas.topics import StreamTopic, Topic, stream_topic_spec
from tests.support.events import NOW_MS, a_body, a_body_with
from tests.support.events_surface import (
    MASTER_KEY,
    PARTITIONS,
    WORKSPACE,
    AdmissionRules,
    LocalControl,
    Surface,
    a_stream,
    put_keys,
    services_on,
    serving,
)
from tests.support.kafka_topics import ensure_base_topics, read_all

POLL_SECONDS = 0.05


class KafkaSurface(Surface):
    """`stream`: the one stream there is, of this test alone."""

    bootstrap: str
    stream: str

    @property
    def topic(self) -> str:
        return StreamTopic(WORKSPACE, "live", self.stream).name

    def body(self, **changes: Any) -> bytes:
        return a_body(stream=self.stream, **changes)


@contextlib.asynccontextmanager
async def a_surface(bootstrap: str, home: Path, **timeouts: float) -> AsyncIterator[KafkaSurface]:
    control = LocalControl()
    stream = a_stream(f"test-{secrets.token_hex(6)}")
    control.put(stream)
    log, verdicts = EventLog(bootstrap), VerdictWaiter(bootstrap, max_waiters=20_000)
    log.start()
    verdicts.start()
    services = services_on(home, control, log, verdicts, **timeouts)
    try:
        await asyncio.to_thread(_make_topics, bootstrap, stream.name)
        await verdicts.positioned()
        with admission(bootstrap, stream.topic, AdmissionRules(control.view)):
            async with serving(services) as (url, session):
                surface = KafkaSurface(url, session, cast(Any, log), control, cast(Any, verdicts), put_keys(control))
                surface.bootstrap, surface.stream = bootstrap, stream.name
                yield surface
    finally:
        await log.close()
        await verdicts.stop()


def _make_topics(bootstrap: str, stream: str) -> None:
    ensure_base_topics(bootstrap)
    ensure_topics(bootstrap, [stream_topic_spec(StreamTopic(WORKSPACE, "live", stream), PARTITIONS, 1)])


@contextlib.contextmanager
def admission(bootstrap: str, topic: str, rules: AdmissionRules) -> Iterator[None]:
    """Decides what comes on one topic and answers who waits."""
    stopping = threading.Event()

    def run() -> None:
        consumer = Consumer(reader_config(bootstrap, f"test-{secrets.token_hex(8)}"))
        producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
        while not stopping.is_set():
            message = consumer.poll(POLL_SECONDS)
            if message is None or message.error() is not None:
                continue
            at = Appended(topic, cast(int, message.partition()), cast(int, message.offset()), message.timestamp()[1])
            headers = cast(list[tuple[str, bytes]], message.headers() or [])
            answer = rules.decide(at, cast(bytes, message.value()), dict(headers))
            if answer is not None:
                verdict, partition = answer
                producer.produce(Topic.VERDICTS, verdict.encode(), partition=partition)
                producer.poll(0)
        producer.flush(5)
        consumer.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@pytest.fixture
async def surface(kafka: str, tmp_path: Path) -> AsyncIterator[KafkaSurface]:
    async with a_surface(kafka, tmp_path) as running:
        yield running


@pytest.mark.requirement("A-002", "A-027", "A-039", "A-042")
async def test_a_202_means_that_the_broker_has_the_event(surface: KafkaSurface) -> None:
    text = '{ "b":1.00,"a":"\\u0041" }'
    answer = await surface.publish(a_body_with("data", text).replace(b"orders-prod", surface.stream.encode()))
    (stored,) = read_all(surface.bootstrap, surface.topic)
    assert answer.status == 202
    assert stored.value is not None and stored.key is not None
    event = EVENT.decode(stored.value)
    assert event["id"] == answer.json["id"] == stored.key.decode()
    assert event["data"] == text.encode()
    assert stored.partition == partition_for(stored.key, PARTITIONS)
    signature = dict(stored.headers)[GATEWAY_SIGNATURE]
    assert GatewaySigner(MASTER_KEY).verified_hash(surface.topic, signature, stored.value) is not None
    del event["id"]
    assert check_fields(**event, now_ms=NOW_MS).stream == surface.stream


@pytest.mark.requirement("A-029", "A-030", "A-004")
async def test_replay_and_conflict_by_verdict(surface: KafkaSurface) -> None:
    first = await surface.publish(surface.body(), "k")
    replay = await surface.publish(surface.body(), "k")
    conflict = await surface.publish(surface.body(type="other.type"), "k")
    assert first.status == 202
    assert replay.body == first.body
    assert (conflict.status, conflict.code) == (409, "duplicate_event")
    assert conflict.json["error"]["details"]["original_event_id"] == first.json["id"]


@pytest.mark.requirement("J18", "A-083")
@pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
async def test_a_large_batch_with_keys_and_without(surface: KafkaSurface, content_type: str) -> None:
    count = 2_000
    keys = [f"key-{n % 500}" if n % 2 else None for n in range(count)]
    items = [surface.body(data={"n": n % 500}, idempotency_key=key) for n, key in enumerate(keys)]
    body = b'{"events":[%b]}' % b",".join(items) if content_type.endswith("/json") else b"\n".join(items)
    answer = await surface.publish_batch(body, Content_Type=content_type)
    results = answer.json["results"]
    assert (answer.json["accepted"], len(results)) == (count, count)
    assert len(read_all(surface.bootstrap, surface.topic)) == count
    by_key: dict[str, set[str]] = {}
    for result, key in zip(results, keys, strict=True):
        if key is not None:
            by_key.setdefault(key, set()).add(result["event"]["id"] + result["event"]["received_at"])
    assert all(len(answers) == 1 for answers in by_key.values())


@pytest.mark.requirement("F5", "F8")
async def test_a_broker_that_is_away_gives_503_and_a_repeat_finds_the_one_event(
    own_broker: Broker, tmp_path: Path
) -> None:
    async with a_surface(own_broker.bootstrap, tmp_path, append_timeout_seconds=0.5) as surface:
        assert (await surface.publish(surface.body(data={"n": 0}), "k-0")).status == 202
        own_broker.pause()
        try:
            away = await asyncio.gather(*(surface.publish(surface.body(data={"n": n}), f"k-{n}") for n in range(1, 50)))
        finally:
            own_broker.resume()
        assert {(answer.status, answer.code) for answer in away} == {(503, "unavailable")}
        assert all(answer.headers["Retry-After"] == "1" for answer in away)
        for n in range(1, 50):
            answer = await surface.publish(surface.body(data={"n": n}), f"k-{n}")
            while answer.status == 503:
                answer = await surface.publish(surface.body(data={"n": n}), f"k-{n}")
            assert answer.status == 202
            assert answer.body == (await surface.publish(surface.body(data={"n": n}), f"k-{n}")).body
