"""A schema registry (Confluent's REST interface), for installations that set `SCHEMA_REGISTRY_URL`.

At its start a process registers the schemas of all it may write, under `<topic>-value`, and its codecs then write and
read with the ids it was given. A direct producer's id that nobody has seen is looked up once (`SchemaIds`): it is
accepted where the registry's schema is ours to the letter of Avro's canonical form; a schema from outside is never
used to read (RELIABILITY K4, K5). What is decided once needs the registry no more: it may be away while Atlas runs.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from operations.logs import Sparse, event
from operations.settings import Settings
from schemas import codec
from schemas.codec import Codec
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

    async def schema_text(self, schema_id: int) -> str | None:
        """The text of an Avro schema without references; None for any other id. Raises as `register`."""
        answer = await self._ask("GET", f"/schemas/ids/{schema_id}", None)
        if answer is None or answer.get("schemaType", "AVRO") != "AVRO" or answer.get("references"):
            return None
        text = answer.get("schema")
        return text if isinstance(text, str) else None

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
    fit what stands there: a process that can't write what it should does not start.
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
    """Ids in front of strangers' records. Each is asked for once: what the registry does not know is asked for again
    after a minute, and one that does not answer is left alone for five seconds, so that no flood of ids waits for it.
    """

    def __init__(self, registry: SchemaRegistry, codec: Codec, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._codec = codec
        self._clock = clock
        self._unknown_until: dict[int, float] = {}
        self._away_until = float("-inf")
        self._asking = asyncio.Lock()

    def is_new(self, value: bytes | None) -> bool:
        """Whether it is worth asking: the value has an id that is neither known nor known to be none of ours."""
        schema_id = None if value is None else self._codec.unknown_id(value)
        if schema_id is None:
            return False
        now = self._clock()
        return now >= self._away_until and now >= self._unknown_until.get(schema_id, now)

    async def learn(self, value: bytes | None) -> None:
        """Returns when the codec knows the value's id, or it is clear that it should not."""
        async with self._asking:
            if value is not None and self.is_new(value):
                await self._ask(self._codec.unknown_id(value) or 0)

    async def _ask(self, schema_id: int) -> None:
        try:
            text = await self._registry.schema_text(schema_id)
        except RegistryAway as error:
            self._away_until = self._clock() + AWAY_SECONDS
            sparse.event("registry.away", "lookup", schema=schema_id, why=str(error))
            return
        except RegistryRefused as error:
            sparse.event("registry.refused", "lookup", schema=schema_id, why=str(error))
            text = None
        if text is not None and self._codec.schema.is_same(text):
            self._codec.also_read(schema_id)
            event(log, "registry.learnt", schema=schema_id, name=self._codec.schema.name)
            return
        if len(self._unknown_until) >= REMEMBERED_MAX:
            self._unknown_until.clear()
        self._unknown_until[schema_id] = self._clock() + UNKNOWN_SECONDS
