"""Cuts `{"events": […]}` into the texts of its events, without building them. Pure.

The array is skipped through twice, to find it and to cut it: that is what a large body costs the loop at a stretch.
Each event is read strictly on its own later, so bytes that only `msgspec.Raw` lets through spoil one event alone.
"""

import re

import msgspec

from schemas.event_fields import REQUIRED, UNKNOWN, shown
from schemas.strict_json import JsonFault

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_HEAD = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"events"[ \t\r\n]*:[ \t\r\n]*')
_WHITE_SPACE = b" \t\r\n"


def batch_items(body: bytes) -> list[msgspec.Raw]:
    """Raises JsonFault: not an object with an array `events` and nothing else."""
    try:
        found = _MEMBERS.decode(body)
        for name in found:
            if name != "events":
                raise JsonFault(UNKNOWN, shown(name))
        if "events" not in found:
            raise JsonFault(REQUIRED, "events")
        if not _stands_alone(body, found["events"]):
            raise JsonFault("The field is given twice.", "events")
        return _items(found["events"])
    except msgspec.ValidationError:
        raise JsonFault("The body must be a JSON object.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonFault("The body is empty." if not body.strip() else f"The body is not valid JSON: {error}.") from None
    except RecursionError:
        raise JsonFault("The body is nested too deeply.") from None


def _items(text: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return _ITEMS.decode(text)
    except msgspec.ValidationError:
        raise JsonFault("Expected an array.", "events") from None


def _stands_alone(body: bytes, text: msgspec.Raw) -> bool:
    """Whether `text` is the object's only member: what stands before it is then nothing but its name."""
    end = len(body.rstrip(_WHITE_SPACE)[:-1].rstrip(_WHITE_SPACE))
    head = _HEAD.match(body)
    return head is not None and head.end() == end - len(memoryview(text))
