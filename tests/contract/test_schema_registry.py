"""Schemas in a registry: registered at the start; strangers' ids are looked up once, and their schemas never used."""

import asyncio
import json
import struct
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web

from domain.events.direct_records import avro_of, schema_named
from operations.schema_registry import (
    AWAY_SECONDS,
    UNKNOWN_SECONDS,
    WRITTEN,
    RegistryAway,
    RegistryRefused,
    SchemaIds,
    SchemaRegistry,
    use_registry,
)
from operations.settings import Settings
from schemas import codec
from schemas.codec import CODECS, EVENT
from schemas.topics import Topic
from tests.support.ports import free_port
from tests.support.schema_registry import Registry

EVENT_RECORD = {"type": "order.fulfilled", "occurred_at": "2026-05-18T14:22:11Z", "data": b"{}"}


@pytest.fixture(autouse=True)
def codecs_as_at_the_start() -> Iterator[None]:
    """The codecs are the process's: each test finds them without a registry, and leaves them as they were before."""
    before = [(one, one._prefix, one._registry_ids) for one in CODECS]
    for one in CODECS:
        one._prefix, one._registry_ids = one.schema.mark, set()
    yield
    for one, prefix, ids in before:
        one._prefix, one._registry_ids = prefix, ids


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


def settings(url: str | None) -> Settings:
    environment = {"ATLAS_MASTER_KEY": "00" * 32} | ({} if url is None else {"SCHEMA_REGISTRY_URL": url})
    return Settings.from_env(environment)


async def test_every_topics_schema_is_registered_and_written_and_read_from_then_on(registry: Registry) -> None:
    before = EVENT.encode(EVENT_RECORD)
    used = await use_registry(settings(registry.url))
    assert used is not None
    await used.close()
    assert registry.subjects.keys() == {f"{topic}-value" for topic in Topic} == {f"{topic}-value" for topic in WRITTEN}
    for topic, written in WRITTEN.items():
        [schema_id] = registry.subjects[f"{topic}-value"]
        assert written.prefix == struct.pack(">BI", 0, schema_id)
    value = EVENT.encode(EVENT_RECORD)
    assert value[:5] == EVENT.prefix
    assert EVENT.decode(value) == EVENT.decode(before), "what was written before is read as ever"


async def test_without_a_registry_nothing_changes() -> None:
    assert await use_registry(settings(None)) is None
    assert EVENT.encode(EVENT_RECORD)[:2] == codec.SINGLE_OBJECT_MARK


async def test_a_registry_that_comes_up_late_is_waited_for() -> None:
    late = Registry()
    timer = threading.Timer(0.3, late.__enter__)
    timer.start()
    used = await use_registry(settings(late.url))
    assert used is not None
    await used.close()
    late.__exit__()


async def test_one_that_stays_away_is_told_and_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.schema_registry.START_TIMEOUT_SECONDS", 0.2)
    with pytest.raises(RegistryAway):
        await use_registry(settings(f"http://127.0.0.1:{free_port()}"))
    assert EVENT.encode(EVENT_RECORD)[:2] == codec.SINGLE_OBJECT_MARK


async def test_a_schema_that_does_not_fit_what_stands_there_is_told_at_once(registry: Registry) -> None:
    registry.answers = lambda method, path: web.json_response(
        {"error_code": 409, "message": "incompatible"}, status=409
    )
    with pytest.raises(RegistryRefused, match=r"409.*incompatible"):
        await use_registry(settings(registry.url))
    assert len(registry.requests) == 1


async def test_user_and_password_stand_in_the_url_and_in_no_message() -> None:
    with Registry(credentials="atlas:secret") as guarded:
        async with SchemaRegistry(guarded.url) as client:
            assert await client.register("t", EVENT.schema) == 100_000
        async with SchemaRegistry(guarded.url.replace("secret", "wrong")) as client:
            with pytest.raises(RegistryRefused, match="401") as refused:
                await client.register("t", EVENT.schema)
        assert "wrong" not in str(refused.value)
    assert "hunter2" not in str(settings("http://atlas:hunter2@127.0.0.1:1").describe())


def changed(**changes: object) -> str:
    return json.dumps({**json.loads(EVENT.schema.text), **changes})


def fields_changed(change: dict[int, dict[str, object]]) -> str:
    fields = json.loads(EVENT.schema.text)["fields"]
    return changed(fields=[{**field, **change.get(place, {})} for place, field in enumerate(fields)])


@pytest.mark.parametrize(
    ("what", "text", "same"),
    [
        ("the file", EVENT.schema.text, True),
        ("without white space", json.dumps(json.loads(EVENT.schema.text)), True),
        ("its canonical form", EVENT.schema.canonical, True),
        ("other words about it", changed(doc="x"), True),
        ("a property of Java", fields_changed({2: {"type": {"type": "string", "avro.java.string": "String"}}}), True),
        ("another name", changed(name="Other"), False),
        ("another namespace", changed(namespace="elsewhere"), False),
        ("another type", fields_changed({2: {"type": "bytes"}}), False),
        ("fields in another order", changed(fields=json.loads(EVENT.schema.text)["fields"][::-1]), False),
        ("a record in itself", changed(fields=[{"name": "self", "type": ["null", "atlas.Event"]}]), False),
        ("no schema", "{}", False),
        ("no JSON", "{", False),
        ("deep beyond reason", "[" * 5_000 + "]" * 5_000, False),
        ("deep in a type", '{"type":"array","items":' * 900 + '"null"' + "}" * 900, False),
        ("long beyond reason", json.dumps({**json.loads(EVENT.schema.text), "doc": "x" * 100_000}), False),
    ],
)
@pytest.mark.requirement("K4", "K5")
def test_a_strangers_schema_is_ours_or_it_is_not(what: str, text: str, same: bool) -> None:
    assert EVENT.schema.is_same(text) == same, what


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def client(registry: Registry) -> AsyncIterator[SchemaRegistry]:
    async with SchemaRegistry(registry.url) as client:
        yield client


@pytest.mark.requirement("K2")
@pytest.mark.parametrize("form", ["id", "guid"])
async def test_an_id_or_guid_of_our_schema_is_learnt_with_one_question(
    registry: Registry, client: SchemaRegistry, form: str
) -> None:
    schema_id = registry.add(json.dumps(json.loads(EVENT.schema.text)))
    ref = schema_id if form == "id" else registry.guid_of(schema_id)
    ids = SchemaIds(client, EVENT)
    assert not EVENT.knows(ref) and ids.is_new(ref)
    await ids.learn(ref)
    assert EVENT.knows(ref) and not ids.is_new(ref)
    await ids.learn(ref)
    assert registry.requests == [("GET", f"/schemas/{form}s/{ref}")]


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "JSON Schema": ({"schema": "{}", "schemaType": "JSON"}, "JSON Schema"),
    "Protobuf": ({"schema": "syntax", "schemaType": "PROTOBUF"}, "PROTOBUF"),
    "Avro with references": ({"references": [{"name": "x", "subject": "x", "version": 1}]}, "references"),
    "another Avro schema": ({"name": "Other"}, "another Avro schema than Event"),
}


@pytest.mark.requirement("K2", "K4")
@pytest.mark.parametrize("form", ["id", "guid"])
@pytest.mark.parametrize("what", OTHERS)
async def test_one_that_is_none_of_ours_is_asked_for_once_a_minute_and_its_producer_learns_why(
    registry: Registry, client: SchemaRegistry, what: str, form: str
) -> None:
    more, why = OTHERS[what]
    text = changed(name=more["name"]) if "name" in more else more.get("schema", EVENT.schema.text)
    schema_id = registry.add(text, **{key: value for key, value in more.items() if key not in ("name", "schema")})
    ref = schema_id if form == "id" else registry.guid_of(schema_id)
    clock = Clock()
    ids = SchemaIds(client, EVENT, clock)
    for _ in range(3):
        await ids.learn(ref)
        assert not ids.is_new(ref)
    assert len(registry.requests) == 1
    assert why in ids.why_unknown(ref) and str(ref) in ids.why_unknown(ref)
    clock.now += UNKNOWN_SECONDS
    await ids.learn(ref)
    assert len(registry.requests) == 2


async def test_an_id_that_nobody_registered_is_said_to_be_one(client: SchemaRegistry) -> None:
    ids = SchemaIds(client, EVENT)
    for ref in (5, uuid.uuid4()):
        await ids.learn(ref)
        assert ids.why_unknown(ref) == f"registry schema {ref}: the registry has no such schema"


@pytest.mark.requirement("K2")
async def test_a_registry_that_fails_is_left_alone_for_a_while(registry: Registry, client: SchemaRegistry) -> None:
    schema_id = registry.add(EVENT.schema.text)
    registry.answers = lambda method, path: web.Response(status=503)
    clock = Clock()
    ids = SchemaIds(client, EVENT, clock)
    for other in range(50):
        await ids.learn(schema_id + other)
    assert len(registry.requests) == 1
    assert "does not answer" in ids.why_unknown(schema_id)
    registry.answers = lambda method, path: None
    clock.now += AWAY_SECONDS
    await ids.learn(schema_id)
    assert EVENT.knows(schema_id)


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(text="no JSON"),
        lambda: web.json_response([]),
        lambda: web.json_response({"schema": 7}),
        lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
        lambda: web.Response(text="[" * 100_000),
        lambda: web.Response(body=bytes(2_000_000)),
    ],
)
async def test_an_odd_answer_is_no_schema(registry: Registry, client: SchemaRegistry, answer: object) -> None:
    assert callable(answer)
    registry.answers = lambda method, path: answer()
    ids = SchemaIds(client, EVENT)
    await ids.learn(7)
    assert not EVENT.knows(7) and not ids.is_new(7)


@pytest.mark.requirement("K4")
@pytest.mark.parametrize("one", CODECS, ids=lambda one: one.schema.name)
def test_no_schema_of_ours_holds_itself(one: codec.Codec) -> None:
    assert not list(names_within_themselves(json.loads(one.schema.text), ()))


def test_a_schema_that_holds_itself_is_found() -> None:
    inner = {"type": "array", "items": ["null", "x.Tree"]}
    tree = {"type": "record", "name": "Tree", "namespace": "x", "fields": [{"name": "branches", "type": inner}]}
    assert list(names_within_themselves(tree, ())) == ["x.Tree"]


def names_within_themselves(node: object, around: tuple[str, ...]) -> Iterator[str]:
    """Names of records that stand as a type somewhere within the record of that name."""
    if isinstance(node, str) and node.rsplit(".", 1)[-1] in around:
        yield node
    elif isinstance(node, list):
        for option in node:
            yield from names_within_themselves(option, around)
    elif isinstance(node, dict):
        if node.get("type") == "record":
            for field in node["fields"]:
                yield from names_within_themselves(field["type"], (*around, node["name"]))
        for part in ("items", "values", "type"):
            if part in node and node["type"] != "record":
                yield from names_within_themselves(node[part], around)


@pytest.mark.parametrize("form", ["header", "prefix"])
async def test_what_confluents_own_serializer_writes_is_read(registry: Registry, form: str) -> None:
    """It asks for packages that Atlas does not have: `pip install 'confluent-kafka[avro,schemaregistry]'`."""
    pytest.importorskip("authlib", reason="the extra schemaregistry of confluent-kafka is not installed")
    import confluent_kafka.schema_registry as confluent
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    registry.add(json.dumps(json.loads(EVENT.schema.text)))  # whose id is not the one that is asked for below
    client = confluent.SchemaRegistryClient({"url": registry.url})
    placed = getattr(confluent, f"{form}_schema_id_serializer")
    serializer: Any = AvroSerializer(client, EVENT.schema.text, conf={"schema.id.serializer": placed})
    headers: list[tuple[str, bytes]] = []
    fields = EVENT_RECORD | {"id": "", "stream": ""}
    value = await asyncio.to_thread(serializer, fields, SerializationContext("t", MessageField.VALUE, headers))
    named = schema_named(value, headers)
    assert named is not None and bool(headers) == (form == "header")
    async with SchemaRegistry(registry.url) as ours:
        await SchemaIds(ours, EVENT).learn(named.ref)
    avro = avro_of(value, headers)
    assert avro is not None and EVENT.decode(avro)["data"] == b"{}"
