"""How an event of the spine stands in an Avro `Event`: its source is the actor, all else as its document has it. Pure.

`actor` is `{"type": "source", "id": <source>}`, with `cloudevent` beside them where it came as one
(schemas/cloudevents.py). `metadata` is the document's but for `orgId`, which is the workspace's own (DECISIONS S-024).
`occurred_at` is the time at which the gateway took it (S-013).
"""

from typing import Any

import orjson

SOURCE = "source"


def actor_of(source: str, cloudevent: dict[str, Any] | None = None) -> bytes:
    actor: dict[str, Any] = {"type": SOURCE, "id": source}
    if cloudevent is not None:
        actor["cloudevent"] = cloudevent
    return orjson.dumps(actor)


def actor_from(text: bytes | str | None) -> dict[str, Any]:
    """Of a record that admission took, be it one of a direct Kafka producer: empty where it named no actor."""
    try:
        actor = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return actor if isinstance(actor, dict) else {}


def source_of(text: bytes | str | None) -> str:
    source = actor_from(text).get("id")
    return source if isinstance(source, str) else ""
