"""The payload's hash and the event's id: when two events are the same."""

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events.rules import EventFields, check_fields, event_id, payload_hash, read_event, to_record
from schemas import codec, ids
from tests.support.events import ABSENT, NOW_MS, OCCURRED_MS, a_body, a_body_with


def read(body: bytes) -> EventFields:
    return read_event(body, now_ms=NOW_MS, allow_key_field=True)


# Two events with the same meaning: (body, body)
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (a_body(data={"a": 1, "b": 2}), a_body(data={"b": 2, "a": 1})),
        (a_body_with("data", '{"a":1}'), a_body_with("data", ' { "a" : 1 } ')),
        (a_body_with("data", '{"a":"A"}'), a_body_with("data", '{"a":"\\u0041"}')),
        (a_body(actor=None), a_body(actor=ABSENT)),
    ],
)
def test_equal_payloads(one: bytes, other: bytes) -> None:
    assert payload_hash(read(one)) == payload_hash(read(other))


@pytest.mark.requirement("J8", "J9")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (a_body_with("data", f'{{"n":{2**64}}}'), a_body_with("data", f'{{"n":{2**64 + 1}}}')),
        (a_body_with("data", '{"n":1}'), a_body_with("data", '{"n":1.0}')),
        (a_body(metadata={}), a_body(metadata=ABSENT)),
        (
            a_body(metadata={"type": "user", "id": "1"}, actor=ABSENT),
            a_body(actor={"type": "user", "id": "1"}, metadata=ABSENT),
        ),
        (a_body(stream="abc", type="d.e"), a_body(stream="abcd", type="e.f")),
    ],
)
def test_different_payloads(one: bytes, other: bytes) -> None:
    assert payload_hash(read(one)) != payload_hash(read(other))


def id_of(fields: EventFields, workspace: str = "ws_1", environment: str = "live", surface: str = "events") -> str:
    return event_id(workspace, environment, surface, fields, payload_hash(fields))


@pytest.mark.requirement("A-003", "A-041")
def test_an_id_says_when_the_event_occurred() -> None:
    identifier = id_of(read(a_body()))
    assert ids.is_id(identifier, "evt_")
    assert ids.time_of(identifier) == OCCURRED_MS


_WORDS = st.text(alphabet="abcxyz0189", min_size=3, max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
_EVENTS = st.fixed_dictionaries(
    {
        "stream": _WORDS,
        "type": st.builds("a{}.{}".format, _WORDS, _WORDS),
        "occurred_at": st.datetimes(datetime(1970, 1, 1), datetime(2024, 5, 18)).map(lambda t: t.isoformat() + "Z"),
        "data": st.dictionaries(st.text(max_size=6), _JSON, max_size=3),
        "actor": st.none() | st.fixed_dictionaries({"type": _WORDS, "id": _WORDS}),
        "metadata": st.none() | st.dictionaries(_WORDS, st.booleans() | st.integers() | _WORDS, max_size=3),
        "idempotency_key": st.none() | _WORDS,
    }
)


def id_of_json(event: dict[str, Any]) -> str:
    return id_of(read(msgspec.json.encode(event)))


@pytest.mark.requirement("A-003")
@given(event=_EVENTS)
def test_an_id_is_the_same_for_the_same_event_however_it_is_written(event: dict[str, Any]) -> None:
    shuffled = dict(reversed(event.items())) | {"data": dict(reversed(event["data"].items()))}
    assert id_of_json(event) == id_of(read(json.dumps(shuffled, indent=1).encode()))


@pytest.mark.requirement("A-003", "S7")
@given(event=_EVENTS, part=st.sampled_from(["stream", "type", "occurred_at", "data", "actor", "metadata", "key"]))
def test_an_id_changes_with_every_part_of_the_event(event: dict[str, Any], part: str) -> None:
    changed = {
        "stream": event["stream"] + "0",
        "type": event["type"] + "0",
        "occurred_at": event["occurred_at"].removesuffix("Z") + "+00:01",
        "data": {**event["data"], "one more": 1},
        "actor": {"type": "another", "id": "a"} if event["actor"] is None else {**event["actor"], "ip": "::1"},
        "metadata": {"one_more": 1} if event["metadata"] is None else None,
        "idempotency_key": (event["idempotency_key"] or "") + "0",
    }
    name = "idempotency_key" if part == "key" else part
    assert id_of_json({**event, "occurred_at": "2001-01-01T00:00:00Z"}) != id_of_json(
        {**event, "occurred_at": "2001-01-01T00:00:00Z", name: changed[name]}
    )


@pytest.mark.requirement("S7", "A-015")
@pytest.mark.parametrize("scope", [{"workspace": "ws_2"}, {"environment": "test"}, {"surface": "spine"}])
def test_an_id_belongs_to_one_scope(scope: dict[str, str]) -> None:
    fields = read(a_body())
    assert id_of(fields) != id_of(fields, **scope)


def test_ids_do_not_change_between_versions() -> None:
    """Stored ids and answers depend on these values: a change here is a change of every event's identity."""
    fields = read(a_body(idempotency_key="k"))
    assert payload_hash(fields).hex() == "641d4e08e0114b4016af56d8eccd09e1"
    assert id_of(fields) == "evt_01HY619SHRVCMPXFG7WTFCMS9J"


def test_a_record_carries_the_event_as_it_was_sent() -> None:
    fields = read(a_body(idempotency_key="k"))
    record = codec.EVENT.decode(codec.EVENT.encode(to_record(fields, "evt_1")))
    assert record.pop("id") == "evt_1"
    assert check_fields(**record, now_ms=NOW_MS) == fields
