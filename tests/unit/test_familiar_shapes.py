"""What producers' tools send in place of an event, and the one sentence that each gets: over HTTP, in Kafka, on the
spine.
"""

import io
import json
from typing import Any

import fastavro
import msgspec
import pytest

from domain.events import familiar_shapes
from domain.events.fields import NO_STREAM, STREAM_OF_TOPIC
from domain.events.rules import EventInvalid, read_direct_event, read_event
from domain.events.spine_events import read_spine_event
from tests.support.events import NOW_MS, an_event

EVENT = an_event()
CLOUDEVENT = {
    "specversion": "1.0",
    "id": "A-1",
    "source": "/orders",
    "type": "order.created",
    "datacontenttype": "application/json",
    "data": {"order_id": "ord_1"},
    **{f"extension{number}": "x" for number in range(20)},
}
CHANGE = {
    "before": None,
    "after": {"id": 1, "total": "12.30"},
    "source": {"version": "3.7.0.Final", "connector": "postgresql", "lsn": 22852376},
    "transaction": None,
    "op": "c",
    "ts_ms": 1_779_114_131_482,
}


def avro_file() -> bytes:
    """As Connect's sinks and `avro-tools fromjson` write it."""
    out = io.BytesIO()
    schema = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
    fastavro.writer(out, schema, [{"id": "ord_1"}])
    return out.getvalue()


def faults_of(read: Any, body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(EventInvalid) as invalid:
        read(body)
    return [(error.field, error.message) for error in invalid.value.errors]


READERS = {
    "HTTP": lambda body: read_event(body, now_ms=NOW_MS, allow_key_field=False),
    "a batch": lambda body: read_event(body, now_ms=NOW_MS, allow_key_field=True),
    "Kafka": lambda body: read_direct_event(body, now_ms=NOW_MS),
    "the spine": read_spine_event,
}
SHAPES: dict[str, tuple[bytes, str]] = {
    "JsonConverter with schemas.enable=true": (
        json.dumps({"schema": {"type": "struct", "optional": False, "fields": []}, "payload": EVENT}).encode(),
        familiar_shapes.CONNECT_ENVELOPE,
    ),
    "its envelope of a text": (
        json.dumps({"schema": {"type": "string", "optional": False}, "payload": json.dumps(EVENT)}).encode(),
        familiar_shapes.CONNECT_ENVELOPE,
    ),
    "JsonConverter on JSON texts": (json.dumps(json.dumps(EVENT)).encode(), familiar_shapes.JSON_IN_A_STRING),
    "an Avro container file": (avro_file(), familiar_shapes.AVRO_FILE),
    "a CloudEvent without its content type": (json.dumps(CLOUDEVENT).encode(), familiar_shapes.CLOUDEVENT),
    "Debezium's change of a row": (json.dumps(CHANGE).encode(), familiar_shapes.DEBEZIUM_CHANGE),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_familiar_shape_is_told_by_its_name_alone(shape: str, reader: str) -> None:
    body, sentence = SHAPES[shape]
    assert faults_of(READERS[reader], body) == [("body", sentence)]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("field", ["data", "metadata"])
def test_json_in_a_string_is_told_at_its_field(field: str, reader: str) -> None:
    """As Debezium's outbox router places a jsonb column that it does not expand."""
    event = {"type": "order.created", "source": "ci", "data": {}} if reader == "the spine" else an_event()
    faults = faults_of(READERS[reader], msgspec.json.encode(event | {field: '{"region": "eu"}'}))
    assert faults == [(field, f"Expected an object, not a string. {familiar_shapes.OBJECT_IN_A_STRING}")]


def test_a_string_that_is_no_json_gets_no_hint() -> None:
    assert faults_of(READERS["Kafka"], msgspec.json.encode(an_event(data="plain"))) == [
        ("data", "Expected an object, not a string.")
    ]


@pytest.mark.parametrize(("reader", "sentence"), [("HTTP", NO_STREAM), ("Kafka", STREAM_OF_TOPIC)])
def test_an_empty_stream_can_be_left_out_where_the_topic_says_it(reader: str, sentence: str) -> None:
    assert faults_of(READERS[reader], msgspec.json.encode(an_event(stream=""))) == [("stream", sentence)]


def test_members_that_read_alike_are_refused_field_by_field_as_ever() -> None:
    """An event with unknown fields of these names is no envelope, and no CloudEvent."""
    faults = faults_of(READERS["Kafka"], msgspec.json.encode(an_event() | {"payload": 1, "specversion": "1.0"}))
    assert [field for field, _ in faults] == ["payload", "specversion"]
