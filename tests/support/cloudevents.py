"""CloudEvents in binary mode as producers send them, and what becomes of each, for both bindings.

The cases come from the specifications: CloudEvents 1.0.2 (3.1.2, datacontenttype; 3.3, event data), the JSON format
(3.1, data and data_base64), the HTTP binding (3.1.3.2, header values; 3.2.3, headers beside a structured event) and the
Kafka binding (3.2, binary content mode). Values are bytes, as they stand on the wire.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

TYPE = b"com.example.someevent"
REQUIRED = {"specversion": b"1.0", "id": b"1234", "source": b"/mycontext", "type": TYPE}


class Binary(NamedTuple):
    """`back`: what is sent on of type and data. `attributes`: beside the required ones, or in their place."""

    what: str
    content_type: bytes | None
    data: bytes
    back: dict[str, Any]
    attributes: Mapping[str, bytes] = MappingProxyType({})


class Bad(NamedTuple):
    """`headers`: in place of the required ones of the same name, all of them. `field`: which attribute is named."""

    what: str
    headers: list[tuple[str, bytes]]
    field: str


XML, OCTETS, PLAIN = b"application/xml", b"application/octet-stream", b"text/plain"
AS_TYPE = "datacontenttype"
DATA = [
    Binary("JSON", b"application/json", b'{"a":1}', {AS_TYPE: "application/json", "data": {"a": 1}}),
    Binary("a JSON text", b"application/json", b'"a"', {AS_TYPE: "application/json", "data": "a"}),
    Binary("JSON by its suffix", b"application/vnd.a+json", b"[1]", {AS_TYPE: "application/vnd.a+json", "data": [1]}),
    Binary("text", PLAIN, b"hello", {AS_TYPE: "text/plain", "data": "hello"}),
    Binary(
        "text of another charset",
        b"text/plain; charset=iso-8859-1",
        b"Jos\xe9",
        {AS_TYPE: "text/plain; charset=iso-8859-1", "data_base64": "Sm9z6Q=="},
    ),
    Binary(
        "text of a charset whose bytes pass as UTF-8",
        b'text/plain; charset="UTF-16LE"',
        b"a\0b\0",
        {AS_TYPE: 'text/plain; charset="UTF-16LE"', "data_base64": "YQBiAA=="},
    ),
    Binary("XML", XML, b"<a/>", {AS_TYPE: "application/xml", "data": "<a/>"}),
    Binary("bytes", OCTETS, b"\x00\xff", {AS_TYPE: "application/octet-stream", "data_base64": "AP8="}),
    Binary("bytes that begin like Avro", OCTETS, b"\xc3\x01x", {AS_TYPE: OCTETS.decode(), "data_base64": "wwF4"}),
    Binary("a type in the attribute: text", None, b"hello", {AS_TYPE: "text/plain", "data": "hello"}, {AS_TYPE: PLAIN}),
    Binary("a type in the attribute: XML", None, b"<a/>", {AS_TYPE: XML.decode(), "data": "<a/>"}, {AS_TYPE: XML}),
    Binary("the attribute: bytes", None, b"\xff", {AS_TYPE: OCTETS.decode(), "data_base64": "/w=="}, {AS_TYPE: OCTETS}),
    Binary("the attribute: JSON", None, b"7", {AS_TYPE: "application/json", "data": 7}, {AS_TYPE: b"application/json"}),
    Binary("a content type beside it", XML, b"<a/>", {AS_TYPE: XML.decode(), "data": "<a/>"}, {AS_TYPE: PLAIN}),
    Binary("no type: JSON", None, b'{"a":1}', {AS_TYPE: "application/json", "data": {"a": 1}}),
    Binary("no type: bytes", None, b"\x00\xff", {"data_base64": "AP8="}),
    Binary("no type: what is no JSON", None, b"<a/>", {"data_base64": "PGEvPg=="}),
    Binary("no data", None, b"", {}),
    Binary("no data, of a type", b"application/json", b"", {}),
    Binary("no data, of a type in the attribute", None, b"", {}, {AS_TYPE: XML}),
]  # fmt: skip

BAD = [
    Bad("an id that is no UTF-8", [("id", b"a\xff")], "id"),
    Bad("a source that is no UTF-8", [("source", b"/\xc3\x28")], "source"),
    Bad("a subject cut inside of a character", [("subject", b"\xe2\x82")], "subject"),
    Bad("an extension that is no UTF-8", [("myextension", b"\xed\xa0\x80")], "myextension"),
    Bad("two ids", [("id", b"1"), ("id", b"2")], "id"),
    Bad("two values of an extension", [("myextension", b"1"), ("myextension", b"2")], "myextension"),
]


def headers_of(changes: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The required attributes and these, without a prefix."""
    changed = {name for name, _ in changes}
    return [*((name, value) for name, value in REQUIRED.items() if name not in changed), *changes]
