"""The fields of an event: what each may hold, defined once for HTTP, batches and direct Kafka records.

Each check takes a value as orjson read it and adds its errors to a `FieldErrors`, which lists the first `ERRORS_MAX`
and counts the rest (J16). Rows of docs/requirements.md: A-031 to A-037.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from domain.events.familiar_shapes import OBJECT_IN_A_STRING, holds_object
from schemas.errors import FieldError
from schemas.topics import STREAM_NAME

ERRORS_MAX = 20
TYPE_CHARACTERS_MAX = 128
KEY_CHARACTERS_MAX = 255
DATA_BYTES_MAX = 262_144
METADATA_KEYS_MAX = 20
METADATA_KEY_CHARACTERS_MAX = 64
METADATA_VALUE_CHARACTERS_MAX = 512
ACTOR_VALUE_CHARACTERS_MAX = 1_024
AHEAD_MS_MAX = 24 * 3_600_000

ACTOR_REQUIRED = ("type", "id")
ACTOR_FIELDS = frozenset((*ACTOR_REQUIRED, "tenant_id", "ip", "user_agent"))

_TYPE = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-5][0-9])")
_KEY = re.compile(rf"[!-~]{{1,{KEY_CHARACTERS_MAX}}}")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_WHITE_SPACE = b" \t\r\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

REQUIRED = "The field is required and must not be null."
UNKNOWN = "The field is not known here."
NO_STREAM = "A stream's name has 3 to 64 characters of a-z, 0-9 and the hyphen."
STREAM_OF_TOPIC = "An empty name: leave the field out, the topic says which stream it is."
NO_TYPE = f"A type is in dot.case, as in order.fulfilled, and has at most {TYPE_CHARACTERS_MAX} characters."
NO_TIME = "Expected an existing date and time with its zone as in RFC 3339, e.g. 2026-05-18T14:22:11Z."
NO_KEY = f"An idempotency key has 1 to {KEY_CHARACTERS_MAX} visible ASCII characters."
NO_METADATA_KEY = (
    f"A metadata key has 1 to {METADATA_KEY_CHARACTERS_MAX} printable characters without a dot, and is not __proto__."
)


class FieldErrors:
    """Mutable: the errors of one event, the first ones in full, the rest as a number (`more`)."""

    def __init__(self) -> None:
        self.listed: list[FieldError] = []
        self.more = 0

    def add(self, field: str, message: str) -> None:
        if len(self.listed) < ERRORS_MAX:
            self.listed.append(FieldError(field, message))
        else:
            self.more += 1


def is_stream_name(text: str) -> bool:
    return STREAM_NAME.fullmatch(text) is not None


@lru_cache(maxsize=4_096)  # a workspace has few types, and each event has one
def is_type(text: str) -> bool:
    return len(text) <= TYPE_CHARACTERS_MAX and _TYPE.fullmatch(text) is not None


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def key_from_header(text: str) -> str | None:
    """The key in an Idempotency-Key header, bare or in quotes (the IETF draft's form); None where it is not one."""
    if text[:1] == '"':
        if len(text) < 2 or text[-1] != '"':
            return None
        text = text[1:-1]
    return text if is_key(text) else None


def time_ms(text: str) -> int | None:
    """Milliseconds since 1970, rounded down; None for what is not RFC 3339 or not a real time.

    A leap second (`:60`) and `24:00` are refused. A fraction may have up to nine digits.
    """
    text = text.upper()  # RFC 3339 lets `t` and `z` be small
    if _TIME.fullmatch(text) is None:
        return None
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
    except ValueError:
        return None


def counted_bytes(text: bytes) -> int:
    """What the limit on `data` counts: the bytes as sent less the white space between tokens; escapes as written."""
    between = _STRING.sub(b"", text)
    return len(text) - (len(between) - len(between.translate(None, _WHITE_SPACE)))


def check_time(value: object, now_ms: int, errors: FieldErrors) -> int:
    """`occurred_at` as milliseconds; -1 after an error."""
    if type(value) is not str:
        errors.add("occurred_at", _expected("a string", value))
        return -1
    occurred_ms = time_ms(value)
    if occurred_ms is None:
        errors.add("occurred_at", NO_TIME)
    elif occurred_ms < 0:
        errors.add("occurred_at", "The time must not be before 1970.")
    elif occurred_ms > now_ms + AHEAD_MS_MAX:
        errors.add("occurred_at", "The time must be at most 24 hours ahead of the clock.")
    else:
        return occurred_ms
    return -1


def check_data(value: object, text: bytes, errors: FieldErrors) -> None:
    if type(value) is not dict:
        errors.add("data", no_object(value))
    elif len(text) > DATA_BYTES_MAX and (size_bytes := counted_bytes(text)) > DATA_BYTES_MAX:
        errors.add("data", f"The object has {size_bytes} bytes without white space; {DATA_BYTES_MAX} are allowed.")


def check_actor(value: object, errors: FieldErrors) -> None:
    if type(value) is not dict:
        errors.add("actor", no_object(value))
        return
    for name in ACTOR_REQUIRED:
        if value.get(name) is None:
            errors.add(f"actor.{name}", REQUIRED)
    for name, text in value.items():
        if name not in ACTOR_FIELDS:
            errors.add(f"actor.{shown(name)}", UNKNOWN)
        elif text is not None and (error := _text_error(text, ACTOR_VALUE_CHARACTERS_MAX)) is not None:
            errors.add(f"actor.{name}", error)
        elif text == "" and name in ACTOR_REQUIRED:
            errors.add(f"actor.{name}", "The text must not be empty.")


def check_metadata(value: object, errors: FieldErrors) -> None:
    if type(value) is not dict:
        errors.add("metadata", no_object(value))
        return
    if len(value) > METADATA_KEYS_MAX:
        errors.add("metadata", f"The object has {len(value)} keys; {METADATA_KEYS_MAX} are allowed.")
    for key, entry in value.items():
        if not 0 < len(key) <= METADATA_KEY_CHARACTERS_MAX or "." in key or not key.isprintable() or key == "__proto__":
            errors.add(f"metadata.{shown(key)}", NO_METADATA_KEY)
        if type(entry) is str:
            if (error := _text_error(entry, METADATA_VALUE_CHARACTERS_MAX)) is not None:
                errors.add(f"metadata.{shown(key)}", error)
        elif type(entry) not in _METADATA_TYPES:
            errors.add(f"metadata.{shown(key)}", _expected("a string, a number or a boolean", entry))


_METADATA_TYPES = frozenset((str, int, float, bool))


def check_text(field: str, value: object, fits: Any, message: str, errors: FieldErrors) -> None:
    """A string field with a form of its own: `fits(text)` says whether it has it."""
    if type(value) is not str:
        errors.add(field, _expected("a string", value))
    elif not fits(value):
        errors.add(field, message)


def shown(name: str) -> str:
    """A stranger's name in an error's path: short, and without what could break a line or a reader."""
    return name[:64].encode("unicode_escape").decode("ascii")


def no_object(value: object) -> str:
    """The error of a value that should be a JSON object."""
    expected = _expected("an object", value)
    return f"{expected} {OBJECT_IN_A_STRING}" if holds_object(value) else expected


def _text_error(value: object, characters_max: int) -> str | None:
    if type(value) is not str:
        return _expected("a string", value)
    if len(value) > characters_max:
        return f"The text has {len(value)} characters; {characters_max} are allowed."
    if "\x00" in value:
        return "The text must not contain the character U+0000."
    return None


_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}


def _expected(what: str, value: object) -> str:
    if value is None:
        return REQUIRED
    return f"Expected {what}, not {_KINDS.get(type(value), 'an object')}."
