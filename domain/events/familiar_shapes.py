"""What producers' tools often send instead of an event: for each, one sentence that says what to change, since a list
of unknown fields would not help. Used only for what was refused.
"""

import orjson

AVRO_FILE = (
    "It is an Avro container file (Obj and 0x01), which holds its own schema. Send each of its records as an event of "
    "its own; docs/kafka-producers.md has the forms that are read."
)
JSON_IN_A_STRING = (
    "It is a JSON text inside a JSON string. Send the text itself: with Kafka Connect, StringConverter for values that "
    "are JSON texts already, instead of JsonConverter."
)
CONNECT_ENVELOPE = (
    'It is Kafka Connect\'s envelope of "schema" and "payload". Send what is in "payload": '
    "value.converter.schemas.enable=false."
)
DEBEZIUM_CHANGE = (
    'It is a change of a table as Debezium writes it ("before", "after", "op"). docs/kafka-connect.md has the '
    "transforms that make an event of it, and the outbox."
)
CLOUDEVENT = (
    "It is a CloudEvent, which only the spine takes, with the content type application/cloudevents+json "
    "(in Kafka: the header content-type)."
)
OBJECT_IN_A_STRING = "The string holds JSON: send the object itself. Debezium writes json and jsonb columns as strings."

_ENVELOPE = frozenset(("schema", "payload"))
_CHANGE = frozenset(("before", "after", "op"))
_CLOUDEVENT = frozenset(("specversion", "id", "source", "type"))
_AVRO_FILE_MARK = b"Obj\x01"


def of_text(text: bytes) -> str | None:
    """Of a body that is no JSON object."""
    if text.startswith(_AVRO_FILE_MARK):
        return AVRO_FILE
    if text.lstrip()[:1] != b'"':
        return None
    try:
        inner = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return JSON_IN_A_STRING if holds_object(inner) else None


def of_object(names: "set[str] | frozenset[str]") -> str | None:
    """Of an object with members that no event has."""
    if names == _ENVELOPE:
        return CONNECT_ENVELOPE
    if names >= _CHANGE:
        return DEBEZIUM_CHANGE
    return CLOUDEVENT if names >= _CLOUDEVENT else None


def holds_object(value: object) -> bool:
    """Whether a text looks like a JSON object; what it is to the letter is of no use to know."""
    return type(value) is str and value.lstrip()[:1] == "{" and value.rstrip()[-1:] == "}"
