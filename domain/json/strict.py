"""Strict reading of JSON from callers. It decides what counts as JSON here, and knows no schema.

Refused anywhere in the text, also inside parts that are kept as raw text: bytes that are not strict UTF-8, a byte order
mark, NaN and Infinity, control characters, lone surrogates, trailing bytes, more than `DEPTH_MAX` levels of arrays and
objects, and numbers beyond the range of an IEEE double (1e400, an integer of 5,000 digits). Integers of up to 308
digits are read. Every refusal is a `JsonError`; RecursionError and UnicodeDecodeError never leave it.

orjson does the checking in one pass over the whole text, because `msgspec.Raw` skips over bad UTF-8, lone surrogates
and huge numbers. msgspec then cuts out the raw parts. Members named twice are last-wins to both parsers, so `members`
counts colons: each member brings one, and what lies inside the values is subtracted.
"""

import json
from typing import Any, NamedTuple, TypeVar

import msgspec
import orjson

DEPTH_MAX = 64

_Decoded = TypeVar("_Decoded")

_CONTAINERS = frozenset((dict, list))
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_NOT_AN_OBJECT = "The body must be a JSON object."


class JsonError(ValueError):
    """The text is not JSON as we take it. `path` names the member (`actor.id`, `events[2]`) where one is to blame."""

    def __init__(self, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class JsonObject(NamedTuple):
    """One object, read twice: `values` as Python values, `texts` as the bytes that were sent, member by member."""

    values: dict[str, Any]
    texts: dict[str, msgspec.Raw]


def parse(text: bytes) -> Any:
    """The document as Python values (orjson's: objects are dicts, a name sent twice has its last value)."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _error_of(text, error) from None
    opened = text.count(b"[") + text.count(b"{")  # depth cannot exceed it, and most documents end here
    if opened > DEPTH_MAX and _is_too_deep(document):
        raise JsonError(f"The body is nested more than {DEPTH_MAX} levels deep.")
    return document


def parse_object(body: bytes) -> JsonObject:
    """A body that must be one object, with no member named twice at its top level."""
    values = parse(body)
    if type(values) is not dict:
        raise JsonError(_NOT_AN_OBJECT)
    return JsonObject(values, members(body))


def decode_object(body: bytes, decoder: "msgspec.json.Decoder[_Decoded]") -> _Decoded:
    """The same checks, then `decoder` (of a Struct with `msgspec.Raw` fields). The first wrong field is the error."""
    parse_object(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise JsonError(message, path.rstrip("`").lstrip(".") or None) from None


def members(text: bytes | msgspec.Raw, path: str | None = None) -> dict[str, msgspec.Raw]:
    """Each member's own text, of an object that `parse` has accepted. A name sent twice is refused.

    `path` is the object's path, for the error. Only this level is checked: `data` may repeat names.
    """
    text = bytes(text)
    try:
        found = _MEMBERS.decode(text)
    except msgspec.DecodeError:
        raise JsonError(_NOT_AN_OBJECT if path is None else "Expected an object.", path) from None
    colons = text.count(b":") - b"".join(found.values()).count(b":")
    if colons != len(found):  # a repeated name, or a colon in a name
        _refuse_repeated_names(text, path)
    return found


def items(text: bytes | msgspec.Raw, path: str | None = None) -> list[msgspec.Raw]:
    """Each item's own text, of an array that `parse` has accepted."""
    try:
        return _ITEMS.decode(text)
    except msgspec.DecodeError:
        raise JsonError("Expected an array.", path) from None


def _is_too_deep(document: Any) -> bool:
    level = [document]
    for _ in range(DEPTH_MAX - 1):
        level = [
            value
            for container in level
            for value in (container.values() if type(container) is dict else container)
            if value and type(value) in _CONTAINERS  # an empty one leads no deeper; there may be 87,000 of them
        ]
        if not level:
            return False
    return any(
        type(value) in _CONTAINERS
        for container in level
        for value in (container.values() if type(container) is dict else container)
    )


class _Pairs(list[tuple[str, Any]]):
    """An object with all its members, in the order sent."""


def _refuse_repeated_names(text: bytes, path: str | None) -> None:
    # The slow and certain way. The standard parser is safe here: the text was accepted and its depth is bounded.
    pairs = json.loads(text, object_pairs_hook=_Pairs, parse_int=str, parse_float=str)
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise JsonError("The field is given twice.", name if path is None else f"{path}.{name}")
        seen.add(name)


def _error_of(text: bytes, error: orjson.JSONDecodeError) -> JsonError:
    """orjson's message, which holds a position but none of the text; the common errors have messages of our own."""
    if not text.strip():
        return JsonError("The body is empty.")
    reason = str(error)
    if reason.startswith("depth limit"):
        return JsonError(f"The body is nested more than {DEPTH_MAX} levels deep.")
    if reason.startswith("number is infinity"):
        return JsonError("A number is out of range: it must fit a 64-bit floating-point number.")
    if "not valid UTF-8" in reason:
        return JsonError("The body is not valid UTF-8.")
    return JsonError(f"The body is not valid JSON: {reason}.")
