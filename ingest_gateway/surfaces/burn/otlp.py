"""Reads OTLP's export request, JSON or protobuf, into spans with plain attributes.

Source: OpenTelemetry's OTLP specification (JSON: ids in hexadecimal, 64-bit integers as strings, unknown members
ignored, null is absent). A part that can't be read does not make the others unreadable: a value becomes `UNREADABLE`,
which matters only where it is used, and what is not a span is named in `Export.errors`. docs/decisions/0027 says why
protobuf's own JSON reader is not used.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from ingest_gateway.surfaces.burn.broken_text import mended

STATUS_ERROR = 2
INTEGER_BITS = 64
ERRORS_NAMED_MAX = 20
Attributes = dict[str, Any]


class _Unreadable:
    def __repr__(self) -> str:
        return "a value that can't be read"


UNREADABLE: Final = _Unreadable()


class Span(NamedTuple):
    trace_id: str
    span_id: str
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: Attributes
    resource: Attributes
    parent_id: str = ""


class Export(NamedTuple):
    """`errors`: one for each item that is not a span."""

    spans: list[Span]
    errors: list[str]


class ExportError(ValueError):
    """The body is not an export request; the message says why."""


def spans_of_protobuf(body: bytes) -> Export:
    """Raises ExportError."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        export: Any = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        try:
            export = _with_texts_as_bytes().FromString(body)
        except DecodeError:
            raise ExportError("The body is not an ExportTraceServiceRequest in protobuf.") from None
    spans = [
        Span(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code == STATUS_ERROR,
            _protobuf_attributes(span.attributes),
            resource,
            span.parent_span_id.hex(),
        )
        for group in export.resource_spans
        for resource in (_protobuf_attributes(group.resource.attributes),)
        for scope in group.scope_spans
        for span in scope.spans
    ]
    return Export(spans, [])


@cache
def _with_texts_as_bytes() -> Any:
    """The same message, but its texts need not be UTF-8: SDKs cut attributes at a number of bytes or UTF-16 units, and
    protobuf's parser refuses a whole export for half a character."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    pool = descriptor_pool.DescriptorPool()

    def add(file: Any) -> None:
        for needed in file.dependencies:
            add(needed)
        copied = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(copied)
        kinds = list(copied.message_type)
        for kind in kinds:
            kinds.extend(kind.nested_type)
            for field in kind.field:
                if field.type == field.TYPE_STRING:
                    field.type = field.TYPE_BYTES
        pool.Add(copied)

    add(trace_service_pb2.DESCRIPTOR)
    name = trace_service_pb2.ExportTraceServiceRequest.DESCRIPTOR.full_name
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def _string(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _protobuf_attributes(pairs: Iterable[Any]) -> Attributes:
    found = ((_string(pair.key), _protobuf_value(pair.value)) for pair in pairs)
    return {key: value for key, value in found if value is not None}


def _protobuf_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind in ("bool_value", "int_value", "double_value"):
        return getattr(value, kind)
    if kind == "string_value":
        return _string(value.string_value)
    if kind == "array_value":
        return [_protobuf_value(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return _protobuf_attributes(value.kvlist_value.values)
    return None


_decode = msgspec.json.Decoder().decode


def spans_of_json(body: bytes) -> Export:
    """Raises ExportError."""
    try:
        export = _decoded(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ExportError(f"The body is not JSON: {error}.") from None
    if not isinstance(export, dict) or not isinstance(export.get("resourceSpans") or [], list):
        raise ExportError('The body is not an ExportTraceServiceRequest in JSON: {"resourceSpans": […]}.')
    found = Export([], [])
    for group in _objects(export, "resourceSpans", found.errors):
        resource = group.get("resource")
        attributes = _json_attributes(resource.get("attributes")) if isinstance(resource, dict) else {}
        for scope in _objects(group, "scopeSpans", found.errors):
            found.spans.extend(_json_span(span, attributes) for span in _objects(scope, "spans", found.errors))
    return found


def _decoded(body: bytes) -> Any:
    """Half a character in it does not make the rest unreadable. Raises msgspec.DecodeError."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode(mended(body))


def _objects(within: dict[str, Any], name: str, errors: list[str]) -> Iterator[dict[str, Any]]:
    """The objects in a member's list; null is absent."""
    items = within.get(name)
    if items is not None and not isinstance(items, list):
        errors.append(f"{name} is no list")
        return
    for item in items or ():
        if isinstance(item, dict):
            yield item
        elif item is not None:
            errors.append(f"{name} holds something that is no object")


def _json_span(span: dict[str, Any], resource: Attributes) -> Span:
    status = span.get("status")
    return Span(
        _id(span.get("traceId")),
        _id(span.get("spanId")),
        _integer(span.get("startTimeUnixNano")) or 0,
        _integer(span.get("endTimeUnixNano")) or 0,
        isinstance(status, dict) and status.get("code") in (STATUS_ERROR, "STATUS_CODE_ERROR"),
        _json_attributes(span.get("attributes")),
        resource,
        _id(span.get("parentSpanId")),
    )


def _id(value: Any) -> str:
    return value.lower() if isinstance(value, str) else ""


def _json_attributes(pairs: Any) -> Attributes:
    found: Attributes = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict) and isinstance(pair.get("key"), str):
            value = _json_value(pair.get("value"))
            if value is not None:
                found[pair["key"]] = value
    return found


def _json_value(value: Any) -> Any:
    """None if the value is absent."""
    if value is None:
        return None
    if not isinstance(value, dict):
        return UNREADABLE
    for kind, of in value.items():
        if of is None:
            continue
        if kind == "intValue":
            integer = _integer(of)
            return UNREADABLE if integer is None else integer
        if kind == "doubleValue":
            return _double(of)
        if kind == "stringValue":
            return of if isinstance(of, str) else UNREADABLE
        if kind == "boolValue":
            return of if isinstance(of, bool) else UNREADABLE
        if kind == "arrayValue":
            items = of.get("values") if isinstance(of, dict) else UNREADABLE
            return [_json_value(one) for one in items or ()] if isinstance(items, list | None) else UNREADABLE
        if kind == "kvlistValue":
            return _json_attributes(of.get("values")) if isinstance(of, dict) else UNREADABLE
    return None


def _integer(value: Any) -> int | None:
    """A 64-bit integer, signed or not, as a number or as text."""
    if isinstance(value, str):
        try:
            value = int(value) if len(value) <= 20 else None
        except ValueError:
            return None
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return value if is_integer and -(1 << INTEGER_BITS - 1) <= value < 1 << INTEGER_BITS else None


def _double(value: Any) -> Any:
    """Protobuf's JSON writes NaN and Infinity as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return UNREADABLE
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else UNREADABLE
    except OverflowError:
        return UNREADABLE
