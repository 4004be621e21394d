"""What Schemathesis does not write by itself (`SCHEMATHESIS_HOOKS`): bodies that are neither JSON nor a form."""

from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson", "application/x-protobuf")
def as_it_is(_ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    """Text and bytes as they are; anything else, which is what a schema of text does not allow, as its words."""
    if isinstance(value, bytes):
        return value
    data = getattr(value, "data", None)
    return data if isinstance(data, bytes) else str(value).encode(errors="replace")
