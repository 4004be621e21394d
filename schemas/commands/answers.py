"""The answers to commands: the outcomes of a `Verdict` and what its body holds."""

from typing import Any

import msgspec

from schemas.errors import FieldError

DONE, REFUSED = "done", "refused"


class RefusalBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a refusal. `details` is empty or {"errors": [{"field", "message"}]}; `facts` are further numbers."""

    code: str
    message: str
    details: dict[str, list[FieldError]] = {}
    facts: dict[str, int] = {}


def decode_refusal(body: bytes) -> RefusalBody:
    return msgspec.json.decode(body, type=RefusalBody)


def decode_state(body: bytes, of: type[Any]) -> Any:
    """The entity (schemas.entities) or WorkspaceCreated in a `done` verdict's body."""
    return msgspec.json.decode(body, type=of)
