"""CloudEvents 1.0 in and out of the spine: structured, batched and binary, over HTTP and over Kafka.

A CloudEvent becomes a `SpineEvent`: `type` and `source` are its own, `correlationid` is the correlation id, `orgid` the
org; attributes that the spine has no field for are kept, and are there again when it is sent on as a CloudEvent. `data`
of the spine is an object, so other data is wrapped: `{"value": …}` for JSON and text, `{"base64": "…"}` for bytes.
`id` and `source` together name an event (CloudEvents 3.1.1), so they are its idempotency key where none is given: an
attribute that is no UTF-8, or has two values, is refused rather than mended, or two events would have one name.
The content type decides the mode: `application/cloudevents…` is structured or a batch, even where headers hold
attributes too (HTTP binding 3.2.3). In binary mode it is the data's type, for which many producers write the
attribute `datacontenttype` instead; without either, data is JSON if it can be read as such, else bytes of no type.
By CloudEvents 1.0.2, JSON format, HTTP and Kafka protocol bindings.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from domain.events.fields import REQUIRED, FieldErrors, shown, time_ms
from domain.events.rules import EventInvalid
from domain.events.spine_events import (
    METADATA_VALUE_CHARACTERS_MAX,
    SpineEvent,
    actor_from,
    check_source,
    check_type,
)
from domain.json.strict import JsonError, items, parse, parse_object

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
ANY_FORMAT = "application/cloudevents"
HTTP_PREFIX, KAFKA_PREFIX = "ce-", "ce_"
SPEC_VERSION = "1.0"
JSON = "application/json"
BATCH_MAX = 100
VALUE_CHARACTERS_MAX = METADATA_VALUE_CHARACTERS_MAX
OBJECT, VALUE, BASE64, NONE = "object", "value", "base64", "none"
"""How `data` came: an object is kept as it was sent, other data is wrapped."""

NO_VERSION = 'Expected "1.0".'
NO_TIME = "Expected a time as in RFC 3339, e.g. 2018-04-05T17:31:00Z."
NO_TEXT = f"Expected a text of 1 to {VALUE_CHARACTERS_MAX} characters, none of them a control character."
NO_EXTENSION = (
    "An extension has a name of 1 to 64 characters of a-z and 0-9, and as value a text of at most "
    f"{VALUE_CHARACTERS_MAX} characters, none of them a control character, a boolean or a 32-bit integer."
)
NO_BASE64 = "Expected base64."
NO_UTF8 = "The value is not UTF-8."
TWO_VALUES = "The header is given twice, with different values."
ONE_DATA = "An event has data or data_base64, not both."
TEXT_ATTRIBUTES = ("subject", "datacontenttype", "dataschema")
_NONCHARACTERS = "".join(chr(plane << 16 | last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_OWN = frozenset({"specversion", "id", "source", "type", "time", "data", "data_base64", *TEXT_ATTRIBUTES})
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_EXTENSION = re.compile(r"[a-z0-9]{1,64}")
_IS_JSON = re.compile(r"application/json|[^;]+\+json")
_IS_TEXT = re.compile(r"text/|application/xml|[^;]+\+xml")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_IN_NO_STRING = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")
"""CloudEvents 3.1 (type system): all else may be in an attribute, an emoji of several characters too."""


def read_structured(body: bytes) -> SpineEvent:
    """One event in the JSON format. Raises EventInvalid with every error."""
    try:
        values, texts = parse_object(body)
    except JsonError as error:
        raise _invalid(error.path or "body", error.message) from None
    errors = FieldErrors()
    kind, data = NONE, b"{}"
    if "data" in values and values.get("data_base64") is not None:
        errors.add("data_base64", ONE_DATA)
    elif values.get("data_base64") is not None:
        kind, data = _base64(values["data_base64"], errors)
    elif "data" in values and values["data"] is not None:
        kind, data = _json_data(values["data"], bytes(texts["data"]))
    attributes = {name: value for name, value in values.items() if name not in ("data", "data_base64")}
    return _event(attributes, kind, data, errors)


def read_batch(body: bytes) -> list[bytes]:
    """The texts of its events. Raises EventInvalid where it is no array of them."""
    try:
        parse(body)
        texts = [bytes(item) for item in items(body)]
    except JsonError as error:
        raise _invalid(error.path or "body", error.message) from None
    if not 0 < len(texts) <= BATCH_MAX:
        raise _invalid("body", f"The batch has {len(texts)} events; 1 to {BATCH_MAX} are allowed.")
    return texts


def read_binary(attributes: Mapping[str, str], content_type: str | None, body: bytes) -> SpineEvent:
    """`attributes`: as `attributes_of` gives them; the body is the data. Raises EventInvalid."""
    errors = FieldErrors()
    named: dict[str, Any] = dict(attributes)
    if content_type is not None:
        named["datacontenttype"] = content_type
    kind, data = _binary_data(named.get("datacontenttype"), body, errors)
    return _event(named, kind, data, errors)


def media_type_of(content_type: str | None) -> str:
    """In lower case and without parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def attributes_of(headers: Iterable[tuple[str, bytes]], prefix: str) -> dict[str, str]:
    """By name, of an event in binary mode. Over HTTP (`prefix` is `ce-`) values are decoded as its binding says. Raises
    EventInvalid, naming each attribute whose bytes are not UTF-8, or that is given twice with different values.
    """
    errors = FieldErrors()
    found: dict[str, str] = {}
    for header, written in headers:
        name = header.lower()
        if not name.startswith(prefix):
            continue
        name = name[len(prefix) :]
        try:
            value = (_http_decoded(written) if prefix == HTTP_PREFIX else written).decode()
        except UnicodeDecodeError:
            errors.add(shown(name), NO_UTF8)
            continue
        if found.setdefault(name, value) != value:
            errors.add(shown(name), TWO_VALUES)
    if errors.listed:
        raise EventInvalid(tuple(errors.listed), errors.more)
    return found


def key_of(event: SpineEvent) -> str | None:
    """The idempotency key that a CloudEvent brings; None for what is none."""
    if event.cloudevent is None:
        return None
    named = f"{event.source}\0{event.cloudevent['id']}".encode()
    return "ce:" + hashlib.blake2b(named, digest_size=16).hexdigest()


def render_structured(event_id: str, event: Mapping[str, Any]) -> bytes:
    """An admitted event (the fields of its Avro `Event`) in the JSON format; data that came as an object is byte-equal.

    One that came as a CloudEvent has its own id and time; any other has Atlas's.
    """
    actor = actor_from(event["actor"])
    came: dict[str, Any] = actor["cloudevent"] if isinstance(actor.get("cloudevent"), dict) else {}
    source = actor.get("id")
    attributes = {
        "specversion": SPEC_VERSION,
        "id": came.get("id", event_id),
        "source": source if isinstance(source, str) and source else "atlas",
        "type": event["type"],
        "time": came.get("time", event["occurred_at"]),
        **{name: came[name] for name in ("subject", "dataschema") if name in came},
        **came.get("extensions", {}),
    }
    metadata = orjson.loads(event["metadata"]) if event["metadata"] else {}
    if isinstance(metadata.get("correlationId"), str):
        attributes["correlationid"] = metadata["correlationId"]
    kind = came.get("data", OBJECT)
    if "datacontenttype" in came and kind != NONE:
        attributes["datacontenttype"] = came["datacontenttype"]
    elif kind in (OBJECT, VALUE):  # what the JSON format implies; of bytes it says nothing
        attributes["datacontenttype"] = JSON
    return orjson.dumps(attributes)[:-1] + _rendered_data(kind, event["data"]) + b"}"


def _rendered_data(kind: str, data: bytes) -> bytes:
    if kind == NONE:
        return b""
    if kind == BASE64:
        return b',"data_base64":' + orjson.dumps(orjson.loads(data)["base64"])
    if kind == VALUE:
        return b',"data":' + data[len(b'{"value":') : -1]
    return b',"data":' + data


def _event(attributes: Mapping[str, Any], kind: str, data: bytes, errors: FieldErrors) -> SpineEvent:
    for name in ("id", "source", "type", "specversion"):
        if attributes.get(name) is None:
            errors.add(name, REQUIRED)
    if attributes.get("specversion") not in (SPEC_VERSION, None):
        errors.add("specversion", NO_VERSION)
    check_type(attributes.get("type"), errors)
    check_source(attributes.get("source"), errors)
    for name in ("id", *TEXT_ATTRIBUTES):
        value = attributes.get(name)
        if value is not None and not (value and _is_string(value)):
            errors.add(name, NO_TEXT)
    time = attributes.get("time")
    if time is not None and (type(time) is not str or time_ms(time) is None):
        errors.add("time", NO_TIME)
    extensions = _extensions(attributes, errors)
    if errors.listed:
        raise EventInvalid(tuple(errors.listed), errors.more)
    kept = {name: attributes[name] for name in ("id", "time", *TEXT_ATTRIBUTES) if attributes.get(name) is not None}
    kept["data"] = kind
    org, correlation_id = (extensions.pop(name, None) or None for name in ("orgid", "correlationid"))  # "" says nothing
    if extensions:
        kept["extensions"] = extensions
    return SpineEvent(
        type=attributes["type"],
        source=attributes["source"],
        data=data,
        metadata=None if correlation_id is None else orjson.dumps({"correlationId": str(correlation_id)}),
        org=None if org is None else str(org),
        cloudevent=kept,
    )


def _extensions(attributes: Mapping[str, Any], errors: FieldErrors) -> dict[str, Any]:
    found = {}
    for name, value in attributes.items():
        if name in _OWN or value is None:
            continue
        good = _is_string(value) or type(value) is bool  # Dapr's `tracestate` is often empty
        good = good or (type(value) is int and -(2**31) <= value < 2**31)
        if not good or _EXTENSION.fullmatch(name) is None:
            errors.add(shown(name), NO_EXTENSION)
        found[name] = value
    return found


def _is_string(value: object) -> bool:
    return type(value) is str and len(value) <= VALUE_CHARACTERS_MAX and _IN_NO_STRING.search(value) is None


def _json_data(value: object, text: bytes) -> tuple[str, bytes]:
    if type(value) is dict:
        return OBJECT, text
    return VALUE, b'{"value":' + text + b"}"


def _binary_data(content_type: str | None, body: bytes, errors: FieldErrors) -> tuple[str, bytes]:
    """By its content type; without one it is JSON where it can be read as such, else bytes."""
    if not body:
        return NONE, b"{}"
    media = media_type_of(content_type)
    if _IS_JSON.fullmatch(media) or not media:
        try:
            return _json_data(parse(body), body)
        except JsonError as error:
            if media:
                errors.add("data", error.message)
                return NONE, b"{}"
    charset = _CHARSET.search(content_type or "")
    if _IS_TEXT.match(media) and (charset is None or charset[1].lower() in _UTF_8):
        try:
            return VALUE, b'{"value":' + orjson.dumps(body.decode()) + b"}"
        except (UnicodeDecodeError, orjson.JSONEncodeError):
            pass  # in another charset: bytes
    return BASE64, orjson.dumps({"base64": base64.b64encode(body).decode()})


def _base64(value: object, errors: FieldErrors) -> tuple[str, bytes]:
    try:
        if type(value) is str:
            base64.b64decode(value, validate=True)
            return BASE64, orjson.dumps({"base64": value})
    except (binascii.Error, ValueError):
        pass
    errors.add("data_base64", NO_BASE64)
    return NONE, b"{}"


def _http_decoded(value: bytes) -> bytes:
    """A quoted string without its quotes and escapes, then percent-decoded once (HTTP binding 3.1.3.2)."""
    value = value.strip(b" \t")
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        value = re.sub(rb"\\(.)", rb"\1", quoted[1], flags=re.DOTALL)
    return unquote_to_bytes(value)


def _invalid(field: str, message: str) -> EventInvalid:
    errors = FieldErrors()
    errors.add(field, message)
    return EventInvalid(tuple(errors.listed))
