"""A schema registry (Confluent's REST interface), for installations that set `SCHEMA_REGISTRY_URL`.

At its start a process registers the schemas of all it may write, under `<topic>-value`, and its codecs then write and
read with the ids it was given. A direct producer's id or GUID that nobody has seen is looked up once (`SchemaIds`): it
is accepted where the registry's schema is ours to the letter of Avro's canonical form; a schema from outside is never
used to read (K4, K5). What is decided once needs the registry no more: it may be away while Atlas runs.
Confluent's own client is not used: docs/decisions/0027.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import msgspec

from operations.logs import Sparse, event
from operations.settings import Settings
from schemas import codec
from schemas.codec import Codec, SchemaRef
from schemas.topics import Topic

log = logging.getLogger(__name__)
sparse = Sparse(log)
REQUEST_TIMEOUT_SECONDS = 2.0
START_TIMEOUT_SECONDS = 8.0
RETRY_SECONDS = 0.5
ANSWER_BYTES_MAX = 1024 * 1024
UNKNOWN_SECONDS = 60.0
AWAY_SECONDS = 5.0
REMEMBERED_MAX = 10_000
CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"

WRITTEN: dict[Topic, Codec] = {
    Topic.ADMISSION: codec.EVENT,
    Topic.DECISIONS: codec.DECISION,
    Topic.COMMANDS: codec.COMMAND,
    Topic.CONTROL: codec.ENTITY,
    Topic.ITEMS: codec.ENTITY,
    Topic.VERDICTS: codec.VERDICT,
    Topic.BURN_TELEMETRY: codec.TELEMETRY,
    Topic.DELIVERIES: codec.DELIVERY,
    Topic.OUTCOMES: codec.OUTCOME,
    Topic.AUDIT: codec.AUDIT,
    Topic.USAGE: codec.USAGE,
    Topic.QUOTAS: codec.SHARES,
    Topic.POSITIONS: codec.KEPT_POSITION,
    Topic.DEAD_LETTERS: codec.DEAD_LETTER,
}
"""The one schema of each fixed topic's values. Every stream's topic holds `codec.EVENT`."""


class RegistryUnusable(Exception):
    """The base of both; the message has no credentials."""


class RegistryAway(RegistryUnusable):
    """No answer, or one that says: later."""


class RegistryRefused(RegistryUnusable):
    """An answer that will stay the same; the message has the registry's reason."""


class SchemaRegistry:
    """Three requests of the REST interface. User and password may stand in the URL."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, headers={"Accept": CONTENT_TYPE})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def register(self, topic: str, schema: codec.AvroSchema) -> int:
        """The schema's id, which it has already or gets now. Raises RegistryAway, RegistryRefused."""
        path = f"/subjects/{quote(topic, safe='')}-value/versions"
        answer = await self._ask("POST", path, {"schema": schema.text})
        schema_id = None if answer is None else answer.get("id")
        if not isinstance(schema_id, int):
            raise RegistryRefused(f"{path}: no id in the answer")
        return schema_id

    async def schema(self, ref: SchemaRef) -> "ForeignSchema | None":
        """None where the registry has no schema of that id or GUID. Raises as `register`."""
        answer = await self._ask("GET", f"/schemas/{'ids' if isinstance(ref, int) else 'guids'}/{ref}", None)
        if answer is None:
            return None
        kind, text = answer.get("schemaType", "AVRO"), answer.get("schema")
        return ForeignSchema(str(kind)[:32], text if isinstance(text, str) else "", bool(answer.get("references")))

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        """The answer's object; None where it is 404."""
        try:
            async with self._session.request(method, self._url + path, json=body, allow_redirects=False) as response:
                content = await _content(response)
                if response.status >= 500 or response.status == 429:
                    raise RegistryAway(f"{path}: {response.status}")
                if response.status == 404 and body is None:
                    return None
                if response.status != 200:
                    raise RegistryRefused(f"{path}: {response.status} {content[:500].decode('utf-8', 'replace')}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RegistryAway(f"{path}: {type(error).__name__}") from error
        return _object(content, path)


class ForeignSchema(msgspec.Struct, frozen=True):
    """As a registry has it. `kind`: AVRO, JSON, PROTOBUF or whatever else it says."""

    kind: str
    text: str
    has_references: bool


async def _content(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise RegistryRefused(f"{response.url.path}: an answer of more than {ANSWER_BYTES_MAX} bytes")
    return bytes(content)


def _object(content: bytes, path: str) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RegistryRefused(f"{path}: the answer is no JSON") from error
    if not isinstance(answer, dict):
        raise RegistryRefused(f"{path}: the answer is no object")
    return answer


async def use_registry(settings: Settings) -> SchemaRegistry | None:
    """From here on all codecs write and read with the registry's ids; None, and nothing changed, where none is set.

    Waits for a registry that is away. Raises RegistryAway when it stays away, RegistryRefused when a schema does not
    fit what is registered: a process that can't write its records does not start.
    """
    if settings.schema_registry_url is None:
        return None
    registry = SchemaRegistry(settings.schema_registry_url)
    try:
        ids = {topic: await _registered(registry, topic, schema) for topic, schema in WRITTEN.items()}
    except BaseException:
        await registry.close()
        raise
    for topic, schema_id in ids.items():
        WRITTEN[topic].use_registry(schema_id)
    event(log, "registry.used", schemas={str(topic): schema_id for topic, schema_id in ids.items()})
    return registry


async def _registered(registry: SchemaRegistry, topic: Topic, written: Codec) -> int:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            return await registry.register(topic, written.schema)
        except RegistryAway as error:
            if time.monotonic() >= deadline:
                raise
            event(log, "registry.away", logging.WARNING, error=str(error))
        await asyncio.sleep(RETRY_SECONDS)


class SchemaIds:
    """Ids that strangers' records name. Each is asked for once: what the registry does not know is asked for again
    after a minute, and one that does not answer is left alone for five seconds, so that no flood of ids waits for it.
    """

    def __init__(self, registry: SchemaRegistry, codec: Codec, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._codec = codec
        self._clock = clock
        self._refused: dict[SchemaRef, _RefusedSchema] = {}
        self._away_until = float("-inf")
        self._asking = asyncio.Lock()

    def is_new(self, ref: SchemaRef) -> bool:
        """Whether it is worth asking: the id is neither known nor known to be none of ours."""
        if self._codec.knows(ref):
            return False
        now, refused = self._clock(), self._refused.get(ref)
        return now >= self._away_until and (refused is None or now >= refused.until)

    async def learn(self, ref: SchemaRef) -> None:
        """Returns when the codec knows the id, or it is clear that it should not."""
        async with self._asking:
            if self.is_new(ref):
                await self._ask(ref)

    def why_unknown(self, ref: SchemaRef) -> str:
        """For the producer, after `learn`: why records with this id are not read."""
        refused = self._refused.get(ref)
        return f"registry schema {ref}: " + (REGISTRY_SILENT if refused is None else refused.why)

    async def _ask(self, ref: SchemaRef) -> None:
        try:
            found = await self._registry.schema(ref)
        except RegistryAway as error:
            self._away_until = self._clock() + AWAY_SECONDS
            self._refused.pop(ref, None)
            sparse.event("registry.away", "lookup", schema=str(ref), why=str(error))
            return
        except RegistryRefused as error:
            sparse.event("registry.refused", "lookup", schema=str(ref), why=str(error))
            self._refuse(ref, "the registry refuses to show it to Atlas; its log has the registry's answer")
            return
        why = why_not(found, self._codec)
        if why is not None:
            self._refuse(ref, why)
            return
        self._codec.also_read(ref)
        event(log, "registry.learnt", schema=str(ref), name=self._codec.schema.name)

    def _refuse(self, ref: SchemaRef, why: str) -> None:
        if len(self._refused) >= REMEMBERED_MAX:
            self._refused.clear()
        self._refused[ref] = _RefusedSchema(self._clock() + UNKNOWN_SECONDS, why)


class _RefusedSchema(msgspec.Struct, frozen=True):
    until: float
    why: str


REGISTRY_SILENT = "the registry does not answer, so nothing says whether it is the schema Event; write the record again"


def why_not(found: ForeignSchema | None, codec: Codec) -> str | None:
    """Why records of this schema are not read; None where it is the codec's own."""
    ours = codec.schema.name
    if found is None:
        return "the registry has no such schema"
    if found.kind == "JSON":
        return "it is a JSON Schema; write the JSON with nothing before it (the id in a header, or a plain serializer)"
    if found.kind != "AVRO":
        return f"it is of type {found.kind}; records are JSON, or Avro with the schema {ours}"
    if found.has_references:
        return f"it is an Avro schema with references; records are read with the schema {ours} as Atlas has it"
    if not codec.schema.is_same(found.text):
        return f"it is another Avro schema than {ours}; schemas/avro/{ours}.avsc is the one that is read"
    return None
