"""Strict JSON: what is refused and why, what is taken, members cut out as sent, names given twice."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.json.strict import DEPTH_MAX, JsonError, decode_object, items, members, parse, parse_object

DEEP = "nested more than 64 levels"
UTF8 = "not valid UTF-8"
RANGE = "out of range"
BROKEN = "not valid JSON"


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


def within(value: bytes) -> bytes:
    """An envelope whose `data` holds the value: what a parser skips when it keeps `data` as raw text."""
    return b'{"stream":"orders","data":{"deep":[' + value + b"]}}"


REFUSED_DOCUMENTS = [
    ("J1", b"", "body is empty"),
    ("J1", b" \r\n\t", "body is empty"),
    ("J1", b"null", "must be a JSON object"),
    ("J1", b"[]", "must be a JSON object"),
    ("J1", b'"x"', "must be a JSON object"),
    ("J1", b"1", "must be a JSON object"),
    ("J1", b"{}{}", BROKEN),
    ("J1", b"{} x", BROKEN),
    ("J1", b"{}\x00", BROKEN),
    ("J1", b'{"a":1', BROKEN),
    ("J2", b"\xef\xbb\xbf{}", BROKEN),
    ("J2", '{"a":1}'.encode("utf-16"), UTF8),
    ("J2", '{"a":1}'.encode("utf-16-le"), BROKEN),
    ("J6", b"{'a':1}", BROKEN),
    ("J6", b'{"a":1,}', BROKEN),
    ("J6", b'{"a":1}// end', BROKEN),
    ("J6", b'{"a":/* one */1}', BROKEN),
    ("J6", b"{a:1}", BROKEN),
    ("J12", b"[" * 1_000_000, DEEP),
    ("J12", nested(1_000_000), DEEP),
    ("J12", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, DEEP),
]

REFUSED_VALUES = [
    ("J3", b'"\xff"', UTF8),
    ("J3", b'"\xc0\xae"', UTF8),  # overlong
    ("J3", b'"\xe0\x80\xaf"', UTF8),
    ("J3", b'"\xed\xa0\x80"', UTF8),  # a surrogate, raw
    ("J3", b'"\xf4\x90\x80\x80"', UTF8),  # beyond U+10FFFF
    ("J3", b'"\xe2\x82"', UTF8),  # cut short
    ("J3", b'{"\xff":1}', UTF8),
    ("J4", rb'"\ud800"', BROKEN),
    ("J4", rb'"\udc00"', BROKEN),
    ("J4", rb'"\ud800\ud800"', BROKEN),
    ("J4", rb'{"\ud800":1}', BROKEN),
    ("J5", b'"a\x00b"', BROKEN),
    ("J5", b'"a\nb"', BROKEN),
    ("J6", b"NaN", BROKEN),
    ("J6", b"Infinity", BROKEN),
    ("J6", b"-Infinity", BROKEN),
    ("J6", b"01", BROKEN),
    ("J6", b"+1", BROKEN),
    ("J6", b".5", BROKEN),
    ("J6", b"5.", BROKEN),
    ("J6", b"0x1", BROKEN),
    ("J6", b"1e", BROKEN),
    ("J7", b"1e400", RANGE),
    ("J7", b"-1e400", RANGE),
    ("J7", b"9" * 5_000, RANGE),
    ("J7", b"-" + b"9" * 5_000, RANGE),
    ("J7", b"1" * 310, RANGE),
    ("J7", b"9" * 200_000, RANGE),
    ("J7", b"1" + b"0" * 300 + b"e99", RANGE),
    ("J12", nested(DEPTH_MAX - 2), DEEP),  # three levels stand around it
    ("J12", nested(DEPTH_MAX - 2, b'{"a":', b"}").replace(b":}", b":{}}"), DEEP),
    ("J12", nested(900), DEEP),
    ("J12", nested(1_100), DEEP),
]

TAKEN_VALUES = [
    ("J5", rb'"\u0000"'),
    ("J7", b"1e308"),
    ("J7", b"9" * 308),
    ("J7", b"18446744073709551617"),
    ("J7", b"1e-400"),
    ("J7", b"0." + b"1" * 5_000),
    ("J12", nested(DEPTH_MAX - 3)),
    ("J12", nested(DEPTH_MAX - 4, b'{"a":', b"}").replace(b":}", b":{}}")),
    ("J12", b",".join([b"[]"] * 1_000)),
    ("J12", json.dumps("[" * 500 + "{" * 500).encode()),  # brackets in a string are no depth
    ("J13", json.dumps({f"key{i}": i for i in range(20_000)}).encode()),
    ("J13", json.dumps({"k" * 100_000: 1}).encode()),
    ("J13", b",".join([b"[]"] * 87_000)),
    ("J14", rb'{"__proto__":1,"":2,"\uffff":3}'),
    ("J14", '"\u202etxt.exe \uffff \U0010ffff"'.encode()),
    ("J14", rb'"\ud83d\ude00"'),
]


@pytest.mark.requirement("J1", "J2", "J6", "J12")
@pytest.mark.parametrize(("row", "body", "message"), REFUSED_DOCUMENTS)
def test_a_body_that_is_no_json_object_is_refused(row: str, body: bytes, message: str) -> None:
    with pytest.raises(JsonError, match=message):
        parse_object(body)


@pytest.mark.requirement("J3", "J4", "J5", "J6", "J7", "J12")
@pytest.mark.parametrize(("row", "value", "message"), REFUSED_VALUES)
def test_a_bad_value_is_refused_also_inside_data(row: str, value: bytes, message: str) -> None:
    with pytest.raises(JsonError, match=message):
        parse_object(within(value))


@pytest.mark.requirement("J5", "J7", "J12", "J13", "J14")
@pytest.mark.parametrize(("row", "value"), TAKEN_VALUES)
def test_a_good_value_is_taken_and_kept_byte_for_byte(row: str, value: bytes) -> None:
    assert bytes(parse_object(within(value)).texts["data"]) == b'{"deep":[' + value + b"]}"


@pytest.mark.parametrize("depth", [1, DEPTH_MAX - 1, DEPTH_MAX])
@pytest.mark.parametrize("beside", [b"", b",[]" * 100])
@pytest.mark.requirement("J12")
def test_the_depth_is_exact(depth: int, beside: bytes) -> None:
    inner = nested(depth - 1) if depth > 1 else b"1"
    if depth > 1 or not beside:
        parse(b"[" + inner + beside + b"]")
    with pytest.raises(JsonError, match=DEEP):
        parse(b"[" + nested(DEPTH_MAX) + beside + b"]")


REPEATED = [
    (b'{"stream":"a","stream":"b"}', "stream"),
    (b'{"stream":"a","stream":"a"}', "stream"),
    (rb'{"stream":"a","\u0073tream":"b"}', "stream"),
    (rb'{"\u0073tream":"a","stream":"b"}', "stream"),
    (b'{"stream":"a:b:c","data":{"x":1,"y":":"},"stream":{"z":[{"q":":"}]}}', "stream"),
    (b'{ "a" : 1 , "b" : 2 , "a" : 3 }', "a"),
    (b'{"a:b":1,"a:b":2}', "a:b"),
    (rb'{"a\u003ab":1,"c":2,"c":3}', "c"),  # the escaped colon hides one, the second "c" brings one
    (rb'{"a\u003a\u003a":1,"c":2,"c":3,"c":4}', "c"),
    (b'{"":1,"":2}', ""),
]
UNREPEATED = [
    b"{}",
    b'{"stream":"stream","data":{"stream":1,"stream":2}}',
    b'{"a":"\\"a\\":1","b":":::"}',
    b'{"a:b":1,"a:c":":"}',
    rb'{"a\u003ab":1,"c":":"}',
    b'{"a":1,"A":2,"a ":3}',
]


@pytest.mark.requirement("J10")
@pytest.mark.parametrize(("body", "name"), REPEATED)
def test_a_name_given_twice_in_the_envelope_is_refused(body: bytes, name: str) -> None:
    with pytest.raises(JsonError, match="twice") as caught:
        parse_object(body)
    assert caught.value.path == name
    with pytest.raises(JsonError) as caught:
        members(msgspec.json.decode(b'{"actor":' + body + b"}", type=dict[str, msgspec.Raw])["actor"], "actor")
    assert caught.value.path == f"actor.{name}"


@pytest.mark.requirement("J10", "J11")
@pytest.mark.parametrize("body", UNREPEATED)
def test_other_names_are_free_and_data_may_repeat_its_own(body: bytes) -> None:
    assert parse_object(body).values.keys() == parse_object(body).texts.keys()


names = st.text(st.sampled_from('a:"\\ é'), max_size=3)
values = st.recursive(st.none() | st.integers() | names, lambda inner: st.lists(inner) | st.dictionaries(names, inner))


@given(st.lists(st.tuples(names, values), max_size=5), st.booleans(), st.sampled_from([":", ": ", " : "]))
@pytest.mark.requirement("J10")
def test_repetition_is_found_exactly_when_it_is_there(
    pairs: list[tuple[str, object]], ascii_only: bool, colon: str
) -> None:
    def text(value: object) -> str:
        return json.dumps(value, ensure_ascii=ascii_only)

    body = ("{" + ", ".join(text(name) + colon + text(value) for name, value in pairs) + "}").encode()
    if len({name for name, _ in pairs}) == len(pairs):
        assert members(body).keys() == dict(pairs).keys()
    else:
        with pytest.raises(JsonError, match="twice"):
            members(body)


@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]":,0e-\\u d'), max_size=30).map(str.encode))
@pytest.mark.requirement("J1")
def test_no_bytes_bring_anything_but_a_fault(body: bytes) -> None:
    try:
        values = parse_object(body).values
    except JsonError:
        return
    assert values == json.loads(body)


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    stream: str
    data: msgspec.Raw
    actor: dict[str, str] | None = None


ENVELOPE = msgspec.json.Decoder(Envelope)


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (b'{"stream":5,"data":{}}', "stream", "Expected `str`, got `int`"),
        (b'{"stream":"a"}', None, "missing required field `data`"),
        (b'{"stream":"a","data":{},"strem":1}', None, "unknown field `strem`"),
        (b'{"stream":"a","data":{},"actor":{"id":true}}', "actor[...]", "Expected `str`, got `bool`"),
        (b'{"stream":"a","data":{"a":1e400}}', None, RANGE),
        (b'{"stream":"a","data":1,"stream":"b"}', "stream", "twice"),
    ],
)
def test_a_struct_is_decoded_strictly(body: bytes, path: str | None, message: str) -> None:
    with pytest.raises(JsonError, match=message) as caught:
        decode_object(body, ENVELOPE)
    assert caught.value.path == path


def test_a_struct_keeps_its_raw_part_as_sent() -> None:
    assert bytes(decode_object(b'{"data": {"b" : 1.00} ,"stream":"a"}', ENVELOPE).data) == b'{"b" : 1.00}'


def test_items_are_cut_out_as_sent() -> None:
    found = parse_object(b'{"events":[ {"a": 1.0}, 2 ,"x" ]}')
    assert [bytes(item) for item in items(found.texts["events"], "events")] == [b'{"a": 1.0}', b"2", b'"x"']


@pytest.mark.parametrize("read", [members, items])
def test_another_kind_of_value_is_a_fault_with_its_path(read: object) -> None:
    with pytest.raises(JsonError, match="Expected an") as caught:
        read(b'"text"', "events[3]")  # type: ignore[operator]
    assert caught.value.path == "events[3]"


@pytest.mark.parametrize("body", [b'{"token":"s3cr3t-value",}', b'{"token":"s3cr3t-value\xff"}', b"s3cr3t-value"])
def test_a_fault_never_quotes_the_text(body: bytes) -> None:
    with pytest.raises(JsonError) as caught:
        parse_object(body)
    assert "s3cr3t" not in caught.value.message
