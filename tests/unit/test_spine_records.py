"""Records that Kafka producers write to the spine's topic, and what admission makes of them."""

import json
from typing import Any

import msgspec
import pytest

from processors.admission.reading import ReadEvent, Unreadable, read
from processors.admission.rerouting import ORIGIN_HEADER, as_first_written, origin_header
from processors.runtime.batches import Record
from schemas.codec import EVENT
from schemas.seal import Sealer
from schemas.spine_records import carried_headers, data_of
from schemas.topics import StreamTopic, Topic

TOPIC = StreamTopic("ws_4F9KQ2C7Z1", "live", "spine")
SEALER = Sealer(bytes(32))
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


def record(value: bytes, headers: Any = (), offset: int = 7) -> Record:
    return Record(TOPIC.name, 3, offset, NOW_MS, None, value, headers)


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
    found = read(record(value, headers), TOPIC, SEALER)
    event = event_of(found)
    assert found.direct and (event["type"], event["data"], event["stream"]) == (kind, data, "spine")
    assert json.loads(event["actor"])["id"] == source
    assert data_of(value, headers) == data
    assert read(record(value, headers), TOPIC, SEALER) == found, "read again, it is the same"


@pytest.mark.requirement("S-014")
def test_a_cloudevent_is_named_by_id_and_source_and_others_by_their_key_or_place() -> None:
    one, moved = (read(record(b"{}", BINARY, offset), TOPIC, SEALER) for offset in (1, 2))
    assert one.pieces.event_id == moved.pieces.event_id and (one.pieces.idempotency_key or "").startswith("ce:")
    plain = json.dumps(DOCUMENTS).encode()
    first, second = (read(record(plain, (), offset), TOPIC, SEALER) for offset in (1, 2))
    assert first.pieces.event_id != second.pieces.event_id and first.pieces.idempotency_key is None
    keyed = read(record(plain, (("idempotency-key", b"once"),)), TOPIC, SEALER)
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
        (b"", BINARY, "empty_value"),
    ],
)
def test_what_is_no_event_is_set_aside_with_its_reason(value: bytes, headers: Any, reason: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read(record(value, headers), TOPIC, SEALER)
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
        [(ORIGIN_HEADER, origin_header(first, SEALER)), *carried_headers(first.headers)],
    )
    again = as_first_written(moved, SEALER)
    assert again is not None and (again.topic, again.partition, again.offset) == (TOPIC.name, 3, 7)
    assert read(again, TOPIC, SEALER) == read(first, TOPIC, SEALER)
    forged = [(name, b"/forged" if name == "ce_source" else value) for name, value in moved.headers]
    assert as_first_written(msgspec.structs.replace(moved, headers=forged), SEALER) is None
