"""Events read together are what they are one by one: the same fields, hash, id, record and signature; or not read."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.events import bulk, fields
from domain.events.avro import encode_event
from domain.events.rules import SURFACE, EventFields, EventInvalid, event_id, payload_hash, read_event
from domain.security.gateway_signatures import GatewaySigner
from tests.support.events import ABSENT, NOW_MS, OCCURRED_AT, a_body, a_body_with, an_event

WORKSPACE, ENVIRONMENT, TOPIC = "ws_0123456789", "live", "events.ws_0123456789.live.orders"
SIGNER = GatewaySigner(b"k" * 32)


def alone(text: bytes) -> EventFields | None:
    try:
        return read_event(text, now_ms=NOW_MS, allow_key_field=True)
    except EventInvalid:
        return None


def together(texts: list[bytes]) -> list[EventFields | None]:
    return bulk.usual_events(texts, NOW_MS)


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=6), JSON_VALUES, max_size=4)
VALUES = {
    "stream": st.sampled_from(["orders-prod", "orders", "x", "Orders", "", "a" * 64, "a" * 65, 7, None]),
    "type": st.sampled_from(["order.fulfilled", "a.b", "a", "A.b", "a." + "b" * 127, None, 1]),
    "occurred_at": st.sampled_from(
        [
            *(OCCURRED_AT, "2024-05-18T14:22:11.482Z", "2024-05-18T14:22:11.4Z", "2024-05-18t14:22:11z"),
            *("2024-05-18T16:22:11+02:00", "2024-05-18T14:22:60Z", "2024-02-30T00:00:00Z", "2024-05-18T14:22:+1Z"),
            *("1969-12-31T23:59:59Z", "2999-01-01T00:00:00Z", "2024-05-18T14:22:11.+12Z", "", 5, None),
        ]
    ),
    "data": OBJECTS | JSON_VALUES,
    "actor": st.sampled_from([ABSENT, ABSENT, None, {"type": "user", "id": "u:1"}, {"type": "user"}, {"id": 5}, []]),
    "metadata": st.sampled_from([ABSENT, None, {"a": "b"}, {"a": 1, "b:c": True}, {"a.b": 1}, {"a": []}, "x"]),
    "idempotency_key": st.sampled_from([ABSENT, ABSENT, ABSENT, "k", "", None]),
    "extra": st.sampled_from([ABSENT] * 9 + [1]),
}


@st.composite
def texts_of_events(draw: st.DrawFn) -> bytes:
    """Mostly good ones, in any spelling that JSON allows, with names given twice now and then."""
    event = an_event(metadata=ABSENT, actor=ABSENT)
    for name in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=2)):
        event[name] = draw(VALUES[name])
    event = {name: value for name, value in event.items() if value is not ABSENT}
    spelled = [json.dumps(name) + draw(st.sampled_from([":", " : "])) + spell(draw, event[name]) for name in event]
    spelled = draw(st.permutations(spelled))
    if draw(st.integers(0, 9)) == 0:
        spelled.append(draw(st.sampled_from(spelled)))
    if draw(st.integers(0, 9)) == 0:
        spelled = [one.replace("type", "\\u0074ype", 1) for one in spelled]
    return ("{" + draw(st.sampled_from([",", " , "])).join(spelled) + "}").encode("utf-8", "surrogatepass")


def spell(draw: st.DrawFn, value: object) -> str:
    written = json.dumps(value, ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 9)) == 0:
        written = written.replace(":", "\\u003a") if isinstance(value, str) else f" {written}\t"
    return written


@given(st.lists(texts_of_events() | st.binary(max_size=12), max_size=6))
@example([b""])
@example([b'{"stream":"orders","type":"a.b","occurred_at":"%b","data":{}},{}' % OCCURRED_AT.encode()])
def test_what_is_read_together_is_what_is_read_alone(texts: list[bytes]) -> None:
    found = together(texts)
    assert len(found) == len(texts)
    for text, fields_of in zip(texts, found, strict=True):
        if fields_of is not None:
            assert fields_of == alone(text)


@pytest.mark.parametrize(
    "text",
    [
        a_body(actor=ABSENT, metadata=ABSENT),
        a_body(),
        a_body(data={"text": 'a "quoted" \\ : word', "é": "ü"}, metadata=ABSENT),
        a_body_with("data", ' {"a" : [1.0, 1e5, -0.0, {"a":1,"a":2}] } '),
        a_body(occurred_at="2024-05-18T14:22:11.482Z"),
        a_body(occurred_at="2024-05-18T14:22:11.5+02:00"),
    ],
)
def test_what_is_usual_is_read(text: bytes) -> None:
    """Else all of the tests here would hold of nothing."""
    (found,) = together([text])
    assert found is not None and found == alone(text)


UNUSUAL = {
    "a key": a_body(idempotency_key="k"),
    "a null": a_body(actor=None),
    "a name twice": a_body_with("type", '"a.b","type":"order.fulfilled"'),
    "a name twice, and a hidden colon": a_body_with(
        "occurred_at", f'"{OCCURRED_AT.replace(":", chr(92) + "u003a", 1)}","type":"order.fulfilled"'
    ),
    "an escaped name": a_body().replace(b'"type":"order', b'"\\u0074ype":"order'),
    "a name twice in metadata": a_body_with("metadata", '{"a":1,"a":2}'),
    "bad UTF-8": a_body_with("data", b'{"a":"\xff"}'),
    "a lone surrogate": a_body_with("data", '{"a":"\\ud800"}'),
    "a number out of range": a_body_with("data", '{"a":1e400}'),
    "too deep": a_body_with("data", '{"a":' + "[" * 65 + "]" * 65 + "}"),
    "too large": a_body(data={"a": "x" * bulk.TEXT_BYTES_MAX}),
    "two values": b"%b,%b" % (a_body(), a_body()),
    "no object": b"7",
    "no data object": a_body(data=[]),
}


@pytest.mark.parametrize("text", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_is_unusual_is_left_to_the_rules_and_spoils_no_neighbour(text: bytes) -> None:
    before, found, after = together([a_body(), text, a_body()])
    assert before == after == alone(a_body()) != None  # noqa: E711 both are read
    assert found is None


EVENTS = st.builds(
    EventFields,
    stream=st.sampled_from(["orders", "carts"]),
    type=st.sampled_from(["a.b", "c.d"]),
    occurred_at=st.sampled_from([OCCURRED_AT, "2024-05-18T14:22:11.482Z"]),
    occurred_ms=st.integers(0, 2**47),
    data=OBJECTS.map(lambda data: json.dumps(data).encode()),
    actor=st.none() | st.just(b'{"type":"user","id":"u"}'),
    metadata=st.none() | st.just(b'{"b":1,"a":2.50}'),
)


@given(st.lists(EVENTS, max_size=4), st.sampled_from([1, bulk.FEW + 1]))
def test_hash_id_record_and_signature_are_those_of_each_event_alone(events: list[EventFields], times: int) -> None:
    """Few ones and many: ids are written in another way then."""
    events = list(itertools.chain.from_iterable(itertools.repeat(events, times)))
    hashes = bulk.payload_hashes(events)
    assert hashes == [payload_hash(event) for event in events]
    ids = bulk.event_ids(WORKSPACE, ENVIRONMENT, SURFACE, events, hashes)
    assert ids == [
        event_id(WORKSPACE, ENVIRONMENT, SURFACE, event, digest) for event, digest in zip(events, hashes, strict=True)
    ]
    values = bulk.encode_events(events, ids)
    assert values == [encode_event(event, identifier) for event, identifier in zip(events, ids, strict=True)]
    assert SIGNER.sign_all(TOPIC, hashes, values) == [
        SIGNER.sign(TOPIC, digest, value) for digest, value in zip(hashes, values, strict=True)
    ]


def test_long_data_has_its_length_in_the_hash() -> None:
    for size in (bulk.LENGTHS_KEPT - 9, bulk.LENGTHS_KEPT, 60_000):
        (event,) = together([a_body(data={"a": "x" * size})])
        assert event is not None
        assert bulk.payload_hashes([event]) == [payload_hash(event)]


TIMES = st.from_regex(
    r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,9})?Z", fullmatch=True
)


@given(TIMES | st.text(alphabet="0123456789-:.TZtz+ ٣", min_size=18, max_size=26))
@example("2024-05-18T14:22:11.４８２Z")
@example("2024-05-18T14:22: 1Z")
@example("2024-05-18T14:22:11.1_1Z")
def test_a_time_is_what_the_pattern_makes_of_it(text: str) -> None:
    assert bulk.usual_time_ms(text) == fields.time_ms(text)
