"""Admission with a schema registry: what it writes and reads in the registry's format, and whose ids it takes."""

import json
import secrets
import struct
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.spawn import wait_until
from domain.events.direct_records import SCHEMA_HEADER
from schemas.codec import CODECS, EVENT
from schemas.topics import Topic
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.support.kafka_topics import PARTITIONS, read_all
from tests.support.ports import free_port
from tests.support.schema_registry import Registry
from tests.support.streams import LiveStream
from tests.support.worker import Worker

FIRST_ID = 100_000


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with Registry(FIRST_ID) as registry:
        yield registry


@pytest.fixture(scope="module")
def registered(process: Worker, broker: str, home: Path, registry: Registry) -> Iterator[Worker]:
    """Admission with a registry, in place of the package's process; this test process reads its records too."""
    if process.runs:
        process.stop()
    worker = Worker("admission", broker, home, SCHEMA_REGISTRY_URL=registry.url)
    worker.start_until_ready()
    for codec in CODECS:
        codec.also_read(registry.add(codec.schema.text))
    yield worker
    worker.kill()


def latest_id(registry: Registry, topic: str) -> int:
    """As a serializer asks for it, by the topic's subject."""
    with urllib.request.urlopen(f"{registry.url}/subjects/{topic}-value/versions/latest", timeout=10) as answer:
        found: int = json.load(answer)["id"]
    return found


def framed(schema_id: int, stream: LiveStream, **changes: Any) -> bytes:
    """What Confluent's Avro serializer writes: a zero byte, the schema's id, the record."""
    return struct.pack(">BI", 0, schema_id) + EVENT.body_of(stream.avro(**changes))


def test_its_records_are_in_the_registrys_format_under_the_ids_of_their_subjects(
    registered: Worker, registry: Registry, a_stream: MakeStream, written: Written, broker: str
) -> None:
    stream = a_stream(routes=["wf_one"])
    writer = stream.writer()
    writer.send(stream.json())
    writer.send(b"nonsense")
    writer.flush()
    written.decisions(stream, 2)
    written.deliveries(stream, 1)
    written.dead_letters(stream, 1)
    for topic in (Topic.DECISIONS, Topic.DELIVERIES, Topic.DEAD_LETTERS):
        header = struct.pack(">BI", 0, latest_id(registry, topic))
        assert any((record.value or b"").startswith(header) for record in read_all(broker, topic)), topic


@pytest.mark.requirement("K2")
def test_a_direct_producers_id_is_taken_where_the_schema_is_ours_and_set_aside_where_not(
    registered: Worker, registry: Registry, a_stream: MakeStream, written: Written
) -> None:
    """An id given at the start; the same schema in other words, registered after the start; another one; no id."""
    stream = a_stream()
    writer = stream.writer()
    schema = json.loads(EVENT.schema.text)
    rephrased = registry.add(json.dumps(schema | {"doc": secrets.token_hex(8)}))
    foreign = registry.add(json.dumps(schema | {"name": "Else"}))
    ours, unknown = latest_id(registry, Topic.ADMISSION), 7_000_000
    asked_before = len(registry.requests)
    per_id = 300
    for number in range(per_id):
        for schema_id in (ours, rephrased, foreign, unknown):
            writer.send(framed(schema_id, stream, data={"n": number, "id": schema_id}))
    writer.flush()

    decisions = written.decisions(stream, 4 * per_id)
    assert sum(decision.outcome == "admitted" for decision in decisions) == 2 * per_id
    letters = written.dead_letters(stream, 2 * per_id)
    assert {letter.reason for letter in letters} == {"unreadable"}
    assert {struct.unpack_from(">BI", letter.value or b"")[1] for letter in letters} == {foreign, unknown}
    questions = [path for method, path in registry.requests[asked_before:] if method == "GET"]
    assert sorted(questions) == sorted(f"/schemas/ids/{schema_id}" for schema_id in (rephrased, foreign, unknown))


@pytest.mark.requirement("K2")
def test_a_schema_named_in_a_header_is_taken_where_it_is_ours_and_else_refused_with_the_true_reason(
    registered: Worker, registry: Registry, a_stream: MakeStream, written: Written
) -> None:
    """Confluent's serializers with their header form: nothing stands before the value. Right and wrong partitions."""
    stream = a_stream()
    writer = stream.writer()
    schema = json.loads(EVENT.schema.text)
    ours = registry.guid_of(registry.add(json.dumps(schema | {"doc": secrets.token_hex(8)})))
    json_schema = registry.guid_of(registry.add('{"type": "object"}', schemaType="JSON"))
    protobuf = registry.guid_of(registry.add('syntax = "proto3";', schemaType="PROTOBUF"))
    nobodys = uuid.uuid4()
    for number in range(PARTITIONS):
        for guid in (ours, nobodys):
            value = EVENT.body_of(stream.avro(data={"n": number}))
            assert value[:1] == b"\x00", "what a reader of the older form takes for its mark"
            writer.send(value, headers=named(guid), partition=number)
    writer.send(stream.json(data={"n": "JSON Schema"}), headers=named(json_schema))
    writer.send(framed(registry.add('{"type": "object"}', schemaType="JSON"), stream))
    writer.send(b"\x0a\x02ab", headers=[(SCHEMA_HEADER, b"\x01" + protobuf.bytes + b"\x00")])
    writer.flush()

    decisions = written.decisions(stream, 2 * PARTITIONS + 3)
    assert sum(decision.outcome == "admitted" for decision in decisions) == PARTITIONS + 1
    told = [letter.message for letter in written.dead_letters(stream, PARTITIONS + 2)]
    assert (
        sum(message == f"registry schema {nobodys}: the registry has no such schema" for message in told) == PARTITIONS
    )
    assert sum("is a JSON Schema" in message for message in told) == 1
    assert sum(f"{protobuf}: it is of type PROTOBUF" in message for message in told) == 1


def named(guid: uuid.UUID) -> list[tuple[str, bytes]]:
    return [(SCHEMA_HEADER, b"\x01" + guid.bytes)]


def test_every_followed_stream_gets_its_subject(
    registered: Worker, registry: Registry, a_stream: MakeStream, written: Written
) -> None:
    streams = [a_stream(name) for name in ("orders", "returns")]
    for stream in streams:
        writer = stream.writer()
        writer.send(stream.json())
        writer.flush()
        written.decisions(stream, 1)
    subjects = {f"{stream.name}-value" for stream in streams}
    assert wait_until(lambda: subjects <= registry.subjects.keys(), 60)
    assert {latest_id(registry, stream.name) for stream in streams} == {latest_id(registry, Topic.ADMISSION)}


def test_a_process_whose_registry_stays_away_does_not_start(broker: str, tmp_path: Path) -> None:
    worker = Worker("admission", broker, tmp_path, SCHEMA_REGISTRY_URL=f"http://127.0.0.1:{free_port()}")
    worker.start()
    assert worker.ended() == 1
    assert "registry.away" in worker.log.read_text()
