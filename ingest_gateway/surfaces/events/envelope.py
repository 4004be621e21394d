"""Cuts `{"events": […]}` into the texts of its events, without building them.

The array is passed through twice, to find it and to cut it: for so long a large body occupies the loop. Cutting stops
at one item too many: cut to its end, 32 MiB of `[],[],…` would be 800 MB of items before they were counted.
Each event is read strictly on its own later, so bytes that only `msgspec.Raw` lets through spoil only one event.
"""

import re

import msgspec

from domain.events.fields import REQUIRED, UNKNOWN, shown
from domain.json.strict import JsonError

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
BATCH_EVENTS_MAX = 10_000
_SLOTS = msgspec.defstruct(
    "_SLOTS",
    [(f"item_{number}", msgspec.Raw, msgspec.Raw()) for number in range(BATCH_EVENTS_MAX)],
    array_like=True,
    forbid_unknown_fields=True,
)
_FIRST_ITEMS = msgspec.json.Decoder(_SLOTS)
"""Reads no further than its last slot. It is slower, so it is used only for arrays that may be too long."""
_HEAD = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"events"[ \t\r\n]*:[ \t\r\n]*')
_WHITE_SPACE = b" \t\r\n"
TOO_MANY = f"A batch has at most {BATCH_EVENTS_MAX} events."


def batch_items(body: bytes) -> list[msgspec.Raw]:
    """Raises JsonError: not an object with an array `events` and nothing else, or too many of them."""
    try:
        found = _MEMBERS.decode(body)
        for name in found:
            if name != "events":
                raise JsonError(UNKNOWN, shown(name))
        if "events" not in found:
            raise JsonError(REQUIRED, "events")
        if not _is_only_member(body, found["events"]):
            raise JsonError("The field is given twice.", "events")
        return _items(found["events"], may_be_too_many=body.count(b",") >= BATCH_EVENTS_MAX)
    except msgspec.ValidationError:
        raise JsonError("The body must be a JSON object.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonError("The body is empty." if not body.strip() else f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise JsonError("The body is nested too deeply.") from None


def _items(text: msgspec.Raw, may_be_too_many: bool) -> list[msgspec.Raw]:
    if bytes(memoryview(text)[:1]) != b"[":
        raise JsonError("Expected an array.", "events")
    if not may_be_too_many:
        return _ITEMS.decode(text)
    try:
        slots = msgspec.structs.astuple(_FIRST_ITEMS.decode(text))
    except msgspec.ValidationError:  # there is more after the last slot
        raise JsonError(TOO_MANY, "events") from None
    return [item for item in slots if len(memoryview(item))]


def _is_only_member(body: bytes, text: msgspec.Raw) -> bool:
    """Whether `text` is the object's only member: then only its name precedes it."""
    end = len(body.rstrip(_WHITE_SPACE)[:-1].rstrip(_WHITE_SPACE))
    head = _HEAD.match(body)
    return head is not None and head.end() == end - len(memoryview(text))
