"""Records that Kafka producers write to the spine's topic, and what admission makes of them."""

import json
from typing import Any

import msgspec
import pytest

from domain.admission.reading import NotAnEvent, ReadEvent, read
from domain.admission.rerouting import ORIGIN_HEADER, as_first_written, origin_header
from domain.events.cloudevents import render_structured
from domain.events.spine_records import carried_headers, data_of
from domain.security.gateway_signatures import GatewaySigner
from schemas.codec import EVENT
from schemas.log_records import LogRecord
from schemas.topics import StreamTopic, Topic
from tests.support.cloudevents import BAD, DATA, Bad, Binary, headers_of

TOPIC = StreamTopic("ws_4F9KQ2C7Z1", "live", "spine")
SIGNER = GatewaySigner(bytes(32))
NOW_MS = 1_779_114_131_482
BINARY = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"A-1"),
    ("ce_source", b"/mycontext"),
    ("ce_type", b"com.example.someevent"),
    ("ce_correlationid", b"run-1"),
    ("content-type", b"application/json"),
)
STRUCTURED = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
CLOUDEVENT = {"specversion": "1.0", "id": "A-1", "source": "/mycontext", "type": "com.example.someevent", "data": [1]}
DOCUMENTS = {"type": "code.x", "source": "ci", "data": {"a": 1}, "metadata": {"orgId": "org_4F9KQ2C7Z1"}}
AVRO = {"type": "code.x", "occurred_at": "2026-05-18T14:22:11Z", "data": b'{"a": 1}', "actor": b'{"id":"ci"}'}


def record(value: bytes, headers: Any = (), offset: int = 7) -> LogRecord:
    return LogRecord(TOPIC.name, 3, offset, NOW_MS, None, value, headers)


def event_of(found: ReadEvent) -> dict[str, Any]:
    event: dict[str, Any] = EVENT.decode_body(found.pieces.body)
    return event


@pytest.mark.requirement("S-004", "K10")
@pytest.mark.parametrize(
    ("value", "headers", "kind", "source", "data"),
    [
        (b'{"a":1}', BINARY, "com.example.someevent", "/mycontext", b'{"a":1}'),
        (json.dumps(CLOUDEVENT).encode(), STRUCTURED, "com.example.someevent", "/mycontext", b'{"value":[1]}'),
        (json.dumps(DOCUMENTS).encode(), (), "code.x", "ci", b'{"a": 1}'),
        (EVENT.encode(AVRO), (), "code.x", "ci", b'{"a": 1}'),
    ],
    ids=["binary", "structured", "document", "avro"],
)
def test_each_form_is_an_event(value: bytes, headers: Any, kind: str, source: str, data: bytes) -> None:
    found = read(record(value, headers), TOPIC, SIGNER)
    event = event_of(found)
    assert found.direct and (event["type"], event["data"], event["stream"]) == (kind, data, "spine")
    assert json.loads(event["actor"])["id"] == source
    assert data_of(value, headers) == data
    assert read(record(value, headers), TOPIC, SIGNER) == found, "read again, it is the same"


@pytest.mark.requirement("S-014")
def test_a_cloudevent_is_named_by_id_and_source_and_others_by_their_key_or_place() -> None:
    one, moved = (read(record(b"{}", BINARY, offset), TOPIC, SIGNER) for offset in (1, 2))
    assert one.pieces.event_id == moved.pieces.event_id and (one.pieces.idempotency_key or "").startswith("ce:")
    plain = json.dumps(DOCUMENTS).encode()
    first, second = (read(record(plain, (), offset), TOPIC, SIGNER) for offset in (1, 2))
    assert first.pieces.event_id != second.pieces.event_id and first.pieces.idempotency_key is None
    keyed = read(record(plain, (("idempotency-key", b"once"),)), TOPIC, SIGNER)
    assert keyed.pieces.idempotency_key == "once"


@pytest.mark.requirement("K9", "K10", "S3")
@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"no json", (), "invalid"),
        (b"no json", BINARY, "invalid"),
        (b"{}", BINARY[1:], "invalid"),
        (b"{}", (*BINARY[:3], ("ce_type", b"Opened")), "invalid"),
        (json.dumps(DOCUMENTS | {"metadata": {"orgId": "org_xyz"}}).encode(), (), "invalid"),
        (json.dumps(DOCUMENTS).encode(), (("idempotency-key", b"no key"),), "invalid"),
        (EVENT.encode(AVRO)[:-3], (), "unreadable"),
        (EVENT.encode(AVRO | {"actor": None}), (), "invalid"),
        (b"x" * 1_048_577, (), "too_large"),
        (b"", (), "empty_value"),
        (b"", STRUCTURED, "empty_value"),
        (b"x", (("content-type", b"application/cloudevents+avro"), *BINARY[:4]), "invalid"),
        (b"[]", (("content-type", b"application/cloudevents-batch+json"),), "invalid"),
        (b"{}", (*BINARY[:5], ("content-type", b"text/\xff")), "invalid"),
        (b"{}", (*BINARY, ("content-type", b"text/plain")), "invalid"),
    ],
)
def test_what_is_no_event_is_set_aside_with_its_reason(value: bytes, headers: Any, reason: str) -> None:
    with pytest.raises(NotAnEvent) as raised:
        read(record(value, headers), TOPIC, SIGNER)
    assert raised.value.reason == reason


@pytest.mark.requirement("K10")
def test_a_record_written_once_more_keeps_its_attributes_and_no_others() -> None:
    first = record(b'{"a":1}', (*BINARY, ("other", b"x")))
    moved = first.__class__(
        Topic.ADMISSION,
        5,
        1,
        NOW_MS + 5,
        b"key",
        first.value,
        [(ORIGIN_HEADER, origin_header(first, SIGNER)), *carried_headers(first.headers)],
    )
    again = as_first_written(moved, SIGNER)
    assert again is not None and (again.topic, again.partition, again.offset) == (TOPIC.name, 3, 7)
    assert read(again, TOPIC, SIGNER) == read(first, TOPIC, SIGNER)
    forged = [(name, b"/forged" if name == "ce_source" else value) for name, value in moved.headers]
    assert as_first_written(msgspec.structs.replace(moved, headers=forged), SIGNER) is None


@pytest.mark.requirement("S-004", "X-12")
@pytest.mark.parametrize("case", DATA, ids=[case.what for case in DATA])
def test_a_cloudevents_data_of_any_type_or_none_is_taken_and_sent_on_as_it_came(case: Binary) -> None:
    headers = [(f"ce_{name}", value) for name, value in headers_of(list(case.attributes.items()))]
    if case.content_type is not None:
        headers.append(("content-type", case.content_type))
    for value in (case.data, None) if not case.data else (case.data,):
        found = read(msgspec.structs.replace(record(b"", headers), value=value), TOPIC, SIGNER)
        event = event_of(found)
        back = json.loads(render_structured(found.pieces.event_id, event))
        assert {name: back[name] for name in ("datacontenttype", "data", "data_base64") if name in back} == case.back
        assert data_of(value, headers) == event["data"]


@pytest.mark.requirement("K10", "S3", "S-014")
@pytest.mark.parametrize("case", BAD, ids=[case.what for case in BAD])
def test_an_attribute_that_has_no_one_value_is_set_aside_and_named(case: Bad) -> None:
    headers = [(f"ce_{name}", value) for name, value in headers_of(case.headers)]
    with pytest.raises(NotAnEvent, match=f"^{case.field}: ") as raised:
        read(record(b"{}", headers), TOPIC, SIGNER)
    assert raised.value.reason == "invalid"


def test_a_header_that_a_mirror_wrote_twice_is_one() -> None:
    assert read(record(b"{}", (*BINARY, *BINARY)), TOPIC, SIGNER) == read(record(b"{}", BINARY), TOPIC, SIGNER)
