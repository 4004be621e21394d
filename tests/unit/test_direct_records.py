"""Whose schema a producer's record names, in front of it or in a header, and what is read of it."""

import json
import struct
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from domain.admission.reading import NotAnEvent, read
from domain.admission.rerouting import ORIGIN_HEADER, as_first_written, origin_header
from domain.delivery.replays import Replayable
from domain.events.direct_records import SCHEMA_HEADER, avro_of, data_of_admitted, schema_named
from domain.events.spine_records import carried_headers, data_of
from domain.security.gateway_signatures import GatewaySigner
from operations.record_reader import StoredRecord
from processors.lifecycle.replay_worker import admitted_body
from schemas.codec import EVENT, SchemaRef, UnknownSchema
from schemas.log_records import LogRecord
from schemas.topics import StreamTopic, Topic
from tests.support.events import an_event

SIGNER = GatewaySigner(bytes(32))
NOW_MS = 1_779_114_131_482
GUID, ID = uuid.UUID("5e3b7a04-1d2c-4b7e-9a51-2f1c0f6f9a11"), 4_711
AVRO = {"type": "order.created", "occurred_at": "2026-05-18T14:22:11Z", "data": b'{"n": 1.10}'}
"""Without an id, so that its first byte is a zero, as in Confluent's older form."""
BODY = EVENT.body_of(EVENT.encode(AVRO))
SPINE_BODY = EVENT.body_of(EVENT.encode(AVRO | {"actor": b'{"id":"ci"}'}))
PLAIN = json.dumps(an_event()).encode()


def guid_header(*indexes: int) -> tuple[str, bytes]:
    """What confluent-kafka's `SchemaId.guid_to_bytes` writes; Protobuf's with the message's indexes behind it."""
    return SCHEMA_HEADER, b"\x01" + GUID.bytes + bytes(indexes)


ID_HEADER = (SCHEMA_HEADER, struct.pack(">BI", 0, ID))


@pytest.fixture
def known() -> Iterator[None]:
    """The registry's id and GUID are learnt to be ours."""
    before = set(EVENT._registry_ids)
    EVENT.also_read(GUID)
    EVENT.also_read(ID)
    yield
    EVENT._registry_ids.clear()
    EVENT._registry_ids.update(before)


@pytest.mark.parametrize(
    ("value", "headers", "named"),
    [
        (BODY, [guid_header()], (GUID, 0)),
        (BODY, [guid_header(2, 0)], (GUID, 0)),
        (BODY, [ID_HEADER], (ID, 0)),
        (struct.pack(">BI", 0, ID) + BODY, [], (ID, 5)),
        (struct.pack(">BI", 0, ID) + BODY, [(SCHEMA_HEADER, None)], (ID, 5)),
        (struct.pack(">BI", 0, ID) + BODY, [(SCHEMA_HEADER, b"\x02not one")], (ID, 5)),
        (EVENT.encode(AVRO), [guid_header()], None),
        (PLAIN, [guid_header()], None),
        (b"\n  " + PLAIN, [guid_header()], None),
        (PLAIN, [], None),
        (b"\x00\x00\x00\x00", [], None),
        (b"", [guid_header()], (GUID, 0)),
    ],
)
def test_the_schema_that_a_record_names(value: bytes, headers: Any, named: tuple[SchemaRef, int] | None) -> None:
    assert schema_named(value, headers) == named


FORMS: dict[str, tuple[bytes, list[tuple[str, bytes]]]] = {
    "a GUID in the header": (b"", [guid_header()]),
    "an id in the header": (b"", [ID_HEADER]),
    "an id in front": (struct.pack(">BI", 0, ID), []),
}


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", ["orders-prod", "spine"])
def test_each_form_is_the_same_event_also_where_it_is_written_once_more(form: str, stream: str) -> None:
    topic = StreamTopic("ws_4F9KQ2C7Z1", "live", stream)
    head, headers = FORMS[form]
    body = SPINE_BODY if stream == "spine" else BODY
    record = LogRecord(topic.name, 3, 7, NOW_MS, None, head + body, headers)
    found = read(record, topic, SIGNER)
    assert found.direct and EVENT.decode_body(found.pieces.body)["data"] == AVRO["data"]
    plain = LogRecord(topic.name, 3, 7, NOW_MS, None, EVENT.schema.mark + body, ())
    assert read(plain, topic, SIGNER) == found
    again = [(ORIGIN_HEADER, origin_header(record, SIGNER)), *carried_headers(record.headers)]
    moved = as_first_written(LogRecord(Topic.ADMISSION, 5, 1, NOW_MS + 5, b"key", record.value, again), SIGNER)
    assert moved is not None and read(moved, topic, SIGNER) == found


@pytest.mark.parametrize("form", FORMS)
def test_what_admission_took_is_read_by_who_never_heard_of_the_id(form: str) -> None:
    head, headers = FORMS[form]
    assert data_of_admitted(head + BODY, headers) == AVRO["data"]
    assert data_of(head + SPINE_BODY, headers) == AVRO["data"]


@pytest.mark.parametrize("form", FORMS)
def test_a_replay_finds_what_admission_took_under_ids_that_it_never_heard_of(form: str) -> None:
    topic = StreamTopic("ws_4F9KQ2C7Z1", "live", "orders-prod")
    head, headers = FORMS[form]
    known = read(LogRecord(topic.name, 3, 7, NOW_MS, None, EVENT.schema.mark + BODY, ()), topic, SIGNER).pieces
    found = Replayable(known.event_id, topic.stream, NOW_MS, (), topic.name, "id", 3, 7)
    ids = set(EVENT._registry_ids)
    assert admitted_body(found, StoredRecord(head + BODY, headers), SIGNER) == known.body
    EVENT._registry_ids.intersection_update(ids)


def test_a_cloudevents_bytes_are_its_data_whatever_they_begin_with() -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/s"), ("ce_type", b"a.b")]
    value = b"\x00\x00\x00\x00\x07zeros"
    assert json.loads(data_of(value, [*headers, ("content-type", b"application/octet-stream")]))["base64"]


@pytest.mark.parametrize("form", FORMS)
def test_without_a_registry_that_is_the_reason(form: str) -> None:
    head, headers = FORMS[form]
    topic = StreamTopic("ws_4F9KQ2C7Z1", "live", "orders-prod")
    ref = GUID if "GUID" in form else ID
    with pytest.raises(UnknownSchema):
        avro_of(head + BODY, headers)
    with pytest.raises(NotAnEvent) as unreadable:
        read(LogRecord(topic.name, 3, 7, NOW_MS, None, head + BODY, headers), topic, SIGNER)
    assert unreadable.value.reason == "unreadable"
    assert f"schema {ref} of a schema registry" in str(unreadable.value)
    assert "SCHEMA_REGISTRY_URL" in str(unreadable.value)


def test_with_one_the_reason_is_what_the_registry_said() -> None:
    topic = StreamTopic("ws_4F9KQ2C7Z1", "live", "orders-prod")
    record = LogRecord(topic.name, 3, 7, NOW_MS, None, b"\x0a\x02ab", [guid_header(0)])
    with pytest.raises(NotAnEvent, match=f"{GUID} is Protobuf"):
        read(record, topic, SIGNER, lambda ref: f"{ref} is Protobuf")
