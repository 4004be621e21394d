"""Each field of an event: what it takes, what it refuses and in which words."""

from typing import Any

import pytest

from domain.events.fields import DATA_BYTES_MAX, counted_bytes, key_from_header, time_ms
from domain.events.rules import (
    EventFields,
    EventInvalid,
    check_fields,
    payload_hash,
    read_direct_event,
    read_event,
    to_record,
)
from schemas import ids
from tests.support.events import ABSENT, NOW_MS, OCCURRED_AT, OCCURRED_MS, a_body, a_body_with

HOUR_MS = 3_600_000


def read(body: bytes, *, batch: bool = False) -> EventFields:
    return read_event(body, now_ms=NOW_MS, allow_key_field=batch)


def fault_fields(body: bytes, *, batch: bool = False) -> list[str]:
    """The fields that are named at fault, in order; [] for an event that is taken."""
    try:
        read(body, batch=batch)
    except EventInvalid as invalid:
        return [error.field for error in invalid.errors]
    return []


@pytest.mark.requirement("A-044", "A-035", "A-036")
def test_a_whole_event_is_read() -> None:
    fields = read(a_body())
    assert (fields.stream, fields.type, fields.occurred_at) == ("orders-prod", "order.fulfilled", OCCURRED_AT)
    assert fields.occurred_ms == OCCURRED_MS
    assert fields.actor is not None and fields.metadata is not None
    assert fields.idempotency_key is None


@pytest.mark.requirement("J11")
def test_parts_are_kept_as_they_were_sent() -> None:
    text = '{ "b" : 1.00,  "a":"\\u0041\\/", "a": 2 }'
    fields = read(a_body_with("data", f"  {text}\n"))
    assert fields.data == text.encode()


@pytest.mark.requirement("A-043")
def test_ids_inside_the_payload_are_the_callers_own() -> None:
    text = '{"user":"usr_8F2","tenant":"tnt_\\u00e9 1","order":"ord_","event":"evt_1","n":"usr_"}'
    assert read(a_body_with("data", text)).data == text.encode()
    assert read(a_body_with("actor", '{"type":"user","id":"usr_é/../1"}')).actor is not None


# (field, a value that is taken)
TAKEN: list[tuple[str, Any]] = [
    ("stream", "abc"),
    ("stream", "a" * 64),
    ("stream", "0-0"),
    ("type", "a.b"),
    ("type", "pull_request.review-requested.v2"),
    ("type", "a." + "b" * 126),
    ("occurred_at", "1970-01-01T00:00:00Z"),
    ("occurred_at", "2024-05-18T14:22:11.482Z"),
    ("occurred_at", "2024-05-18T14:22:11.123456789Z"),
    ("occurred_at", "2024-05-18T16:22:11+02:00"),
    ("occurred_at", "2024-05-18t14:22:11z"),
    ("occurred_at", "2024-02-29T00:00:00-00:00"),
    ("data", {}),
    ("data", {"__proto__": 1, "": 2, "\uffff": 3, "\u202eabc": 4, "\x00": "\x00"}),
    ("actor", {"type": "user", "id": "u"}),
    ("actor", {"type": "user", "id": "u", "ip": None}),
    ("actor", None),
    ("actor", ABSENT),
    ("actor", {"type": "user", "id": "u", "user_agent": "a\r\nb\x1b[31m"}),
    ("metadata", {}),
    ("metadata", None),
    ("metadata", ABSENT),
    ("metadata", {f"key-{n}": n for n in range(20)}),
    ("metadata", {"k" * 64: "v" * 512}),
    ("metadata", {"text": "", "number": 1.5, "big": 2**70, "yes": True, "größe": "ü"}),
]


@pytest.mark.requirement("J14", "S13", "A-031", "A-032", "A-033", "A-035", "A-036")
@pytest.mark.parametrize(("field", "value"), TAKEN)
def test_taken(field: str, value: Any) -> None:
    assert fault_fields(a_body(**{field: value})) == []


# (field, a value that is refused, the path that is named)
REFUSED: list[tuple[str, Any, str]] = [
    ("stream", "ab", "stream"),
    ("stream", "a" * 65, "stream"),
    ("stream", "Orders", "stream"),
    ("stream", "a_b", "stream"),
    ("stream", "..", "stream"),
    ("stream", "-", "stream"),
    ("stream", "orders\n", "stream"),
    ("stream", "\uff4f\uff52ders", "stream"),
    ("stream", "orders\x00", "stream"),
    ("stream", "", "stream"),
    ("type", "a", "type"),
    ("type", "A.b", "type"),
    ("type", ".a", "type"),
    ("type", "a.", "type"),
    ("type", "a..b", "type"),
    ("type", "1a.b", "type"),
    ("type", "a.b\n", "type"),
    ("type", "a.b\x00", "type"),
    ("type", "a.__proto__ ", "type"),
    ("type", "a." + "b" * 127, "type"),
    ("type", "a." + "b" * 10_240, "type"),
    ("type", "a.\U0001f600", "type"),
    ("type", "a.\u202eb", "type"),
    ("occurred_at", "2024-05-18T14:22:11", "occurred_at"),
    ("occurred_at", "2024-05-18", "occurred_at"),
    ("occurred_at", "2024-05-18 14:22:11Z", "occurred_at"),
    ("occurred_at", "20260518T142211Z", "occurred_at"),
    ("occurred_at", "2024-W21-1T14:22:11Z", "occurred_at"),
    ("occurred_at", "2024-02-30T00:00:00Z", "occurred_at"),
    ("occurred_at", "2025-02-29T00:00:00Z", "occurred_at"),
    ("occurred_at", "2024-05-18T24:00:00Z", "occurred_at"),
    ("occurred_at", "2024-05-18T23:59:60Z", "occurred_at"),
    ("occurred_at", "2024-05-18T14:22:11+24:00", "occurred_at"),
    ("occurred_at", "2024-05-18T14:22:11+01:60", "occurred_at"),
    ("occurred_at", "2024-05-18T14:22:11.1234567890Z", "occurred_at"),
    ("occurred_at", "2024-05-18T14:22:11.Z", "occurred_at"),
    ("occurred_at", "2024-05-18T14:22:11Z\n", "occurred_at"),
    ("occurred_at", "٢٠٢٦-05-18T14:22:11Z", "occurred_at"),
    ("occurred_at", "0000-01-01T00:00:00Z", "occurred_at"),
    ("occurred_at", "10000-01-01T00:00:00Z", "occurred_at"),
    ("occurred_at", "1969-12-31T23:59:59.999Z", "occurred_at"),
    ("occurred_at", "1970-01-01T00:00:00+00:01", "occurred_at"),
    ("occurred_at", "2036-05-18T14:22:11Z", "occurred_at"),
    ("occurred_at", OCCURRED_MS, "occurred_at"),
    ("data", [], "data"),
    ("data", "{}", "data"),
    ("actor", [], "actor"),
    ("actor", {"id": "u"}, "actor.type"),
    ("actor", {"type": "user"}, "actor.id"),
    ("actor", {"type": "user", "id": None}, "actor.id"),
    ("actor", {"type": "user", "id": ""}, "actor.id"),
    ("actor", {"type": "user", "id": 7}, "actor.id"),
    ("actor", {"type": "user", "id": "u\x00"}, "actor.id"),
    ("actor", {"type": "user", "id": "u", "email": "x"}, "actor.email"),
    ("actor", {"type": "user", "id": "u", "user_agent": "x" * 1_025}, "actor.user_agent"),
    ("metadata", [], "metadata"),
    ("metadata", {f"key-{n}": "x" for n in range(21)}, "metadata"),
    ("metadata", {"k": {"nested": 1}}, "metadata.k"),
    ("metadata", {"k": ["x"]}, "metadata.k"),
    ("metadata", {"k": None}, "metadata.k"),
    ("metadata", {"k": "v" * 513}, "metadata.k"),
    ("metadata", {"k": "v" * 1_048_576}, "metadata.k"),
    ("metadata", {"k": "\x00"}, "metadata.k"),
    ("metadata", {"k" * 65: "v"}, "metadata." + "k" * 64),
    ("metadata", {"": "v"}, "metadata."),
    ("metadata", {"a.b": "v"}, "metadata.a.b"),
    ("metadata", {"a\x00": "v"}, "metadata.a\\x00"),
    ("metadata", {"a\nb": "v"}, "metadata.a\\nb"),
    ("metadata", {"\u202ea": "v"}, "metadata.\\u202ea"),
    ("metadata", {"__proto__": "v"}, "metadata.__proto__"),
]


@pytest.mark.requirement("S1", "S3", "S4", "S5", "J5", "J14", "J15", "A-031", "A-032", "A-033", "A-035", "A-036")
@pytest.mark.parametrize(("field", "value", "path"), REFUSED)
def test_refused(field: str, value: Any, path: str) -> None:
    assert fault_fields(a_body(**{field: value})) == [path]


@pytest.mark.requirement("J15", "A-037", "A-072")
@pytest.mark.parametrize("field", ["stream", "type", "occurred_at", "data"])
@pytest.mark.parametrize("value", [ABSENT, None, True, 1, []])
def test_required_fields(field: str, value: Any) -> None:
    assert fault_fields(a_body(**{field: value})) == [field]


@pytest.mark.requirement("A-037", "J15", "J10")
@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (a_body(ocurred_at=OCCURRED_AT), ["ocurred_at"]),
        (a_body(idempotency_key="k"), ["idempotency_key"]),
        (a_body(id="evt_1", received_at=OCCURRED_AT), ["id", "received_at"]),
        (a_body(**{"\x00\n\U0001f600": 1}), ["\\x00\\n\\U0001f600"]),
        (a_body_with("stream", '"a", "stream":"b"'), ["stream"]),
        (a_body_with("stream", '"abc", "\\u0073tream":"b"'), ["stream"]),
        (a_body_with("actor", '{"type":"user","id":"1","id":"2"}'), ["actor.id"]),
        (a_body_with("metadata", '{"k":"::","k":1}'), ["metadata.k"]),
    ],
)
def test_unknown_and_repeated_names(body: bytes, paths: list[str]) -> None:
    assert fault_fields(body) == paths


@pytest.mark.requirement("J15", "A-072")
def test_all_faults_are_told_at_once_in_the_documents_order() -> None:
    body = a_body(
        extra=1,
        stream="X",
        type="x",
        occurred_at="yesterday",
        data=[],
        actor={"type": 1, "rank": 2},
        metadata={"a.b": "x", "c": None},
        idempotency_key="",
    )
    assert fault_fields(body, batch=True) == [
        "extra",
        "stream",
        "type",
        "occurred_at",
        "data",
        "actor.id",
        "actor.type",
        "actor.rank",
        "metadata.a.b",
        "metadata.c",
        "idempotency_key",
    ]


@pytest.mark.requirement("J16")
def test_twenty_faults_are_listed_and_the_rest_counted() -> None:
    with pytest.raises(EventInvalid, match="; and 4980 more") as raised:
        read(a_body(**{f"field{n}": n for n in range(5_000)}))
    assert len(raised.value.errors) == 20
    assert raised.value.more == 4_980


# What is not JSON as Atlas takes it: (body, how the message begins)
NOT_JSON: list[tuple[bytes, str]] = [
    (b"", "The body is empty"),
    (b" \n", "The body is empty"),
    (b"null", "The body must be a JSON object"),
    (b"[]", "The body must be a JSON object"),
    (b'"x"', "The body must be a JSON object"),
    (a_body() + a_body(), "The body is not valid JSON"),
    (a_body() + b"x", "The body is not valid JSON"),
    (b"\xef\xbb\xbf" + a_body(), "The body is not valid"),
    (a_body().decode().encode("utf-16"), "The body is not valid"),
    (a_body_with("data", b'{"a":"\xff"}'), "The body is not valid UTF-8"),
    (a_body_with("data", b'{"a":"\xc0\xaf"}'), "The body is not valid UTF-8"),
    (a_body_with("data", b'{"a":"\xed\xa0\x80"}'), "The body is not valid UTF-8"),
    (a_body_with("data", '{"a":"\\ud800"}'), "The body is not valid"),
    (a_body_with("data", b'{"a":"\x00"}'), "The body is not valid JSON"),
    (a_body_with("data", '{"a":NaN}'), "The body is not valid JSON"),
    (a_body_with("data", '{"a":01}'), "The body is not valid JSON"),
    (a_body_with("data", '{"a":1e400}'), "A number is out of range"),
    (a_body_with("data", '{"a":' + "9" * 5_000 + "}"), "A number is out of range"),
    (a_body_with("data", '{"a":' + "[" * 64 + "]" * 64 + "}"), "The body is nested more than 64"),
    (a_body_with("data", "[" * 1_000_000), "The body is n"),
]


@pytest.mark.requirement("J1", "J2", "J3", "J4", "J5", "J6", "J7", "J12")
@pytest.mark.parametrize(("body", "message"), NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_not_json(body: bytes, message: str) -> None:
    with pytest.raises(EventInvalid) as raised:
        read(body)
    (error,) = raised.value.errors
    assert error.field == "body"
    assert error.message.startswith(message)


@pytest.mark.requirement("S6", "A-034")
@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("{}", 2),
        (' {\t"a" :\r\n1 } ', 7),
        ('{"a b":" \\" "}', 14),  # white space in strings counts, and an escaped quote ends none
        ('{"a":"\\u0041"}', 14),  # an escape counts as it is written
        ('{"a":"ü"}', 10),
    ],
)
def test_what_the_size_of_data_counts(text: str, size_bytes: int) -> None:
    assert counted_bytes(text.encode()) == size_bytes


def data_of(size_bytes: int, padding: str = "") -> str:
    return f'{{{padding}"a":{padding}"{"x" * (size_bytes - 8)}"}}'


@pytest.mark.requirement("S6", "A-034")
@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (data_of(DATA_BYTES_MAX), []),
        (data_of(DATA_BYTES_MAX + 1), ["data"]),
        (data_of(DATA_BYTES_MAX, padding=" " * 1_000), []),
        (data_of(DATA_BYTES_MAX + 1, padding=" " * 1_000), ["data"]),
    ],
    ids=["exactly", "one more", "exactly, with white space", "one more, with white space"],
)
def test_the_size_of_data(text: str, faults: list[str]) -> None:
    assert counted_bytes(text.encode()) in (DATA_BYTES_MAX, DATA_BYTES_MAX + 1)
    assert fault_fields(a_body_with("data", text)) == faults


@pytest.mark.parametrize(
    "text",
    [
        "{" + ",".join(f'"key{n}":{n}' for n in range(15_000)) + "}",
        '{"' + "k" * 100_000 + '":1}',
        '{"a":[' + ",".join(["[]"] * 80_000) + "]}",
        '{"a":' + "[" * 62 + "]" * 62 + "}",
    ],
    ids=["many keys", "a long key", "many lists", "as deep as may be"],
)
def test_large_and_odd_data_is_taken(text: str) -> None:
    fields = read(a_body_with("data", text))
    assert fields.data == text.encode()
    assert len(payload_hash(fields)) == 16


@pytest.mark.requirement("S4")
def test_the_future_ends_24_hours_ahead_of_the_clock() -> None:
    def faults_at(now_ms: int) -> int:
        try:
            read_event(a_body(), now_ms=now_ms, allow_key_field=False)
        except EventInvalid as invalid:
            return len(invalid.errors)
        return 0

    assert faults_at(OCCURRED_MS - 24 * HOUR_MS) == 0
    assert faults_at(OCCURRED_MS - 24 * HOUR_MS - 1) == 1


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0019Z", 1),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2024-05-18T14:22:11.482Z", NOW_MS),
        ("9999-12-31T23:59:59.999-23:59", 253_402_387_139_999),
    ],
)
def test_time_in_milliseconds(text: str, expected_ms: int) -> None:
    assert time_ms(text) == expected_ms
    assert expected_ms < ids.ULID_TIME_MS_MAX


@pytest.mark.requirement("S7", "A-028")
@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("k", "k"),
        ("6f1a3b9c-0d29-4d6b-9c0e-1f4b7a2e88aa", "6f1a3b9c-0d29-4d6b-9c0e-1f4b7a2e88aa"),
        ('"6f1a3b9c"', "6f1a3b9c"),
        ("!~", "!~"),
        ("k" * 255, "k" * 255),
        ('"' + "k" * 255 + '"', "k" * 255),
        ("", None),
        ('""', None),
        ('"', None),
        ('"k', None),
        ("k" * 256, None),
        ("a b", None),
        ("a\tb", None),
        ("k\n", None),
        ("k\x7f", None),
        ("k\udcff", None),
        ("ké", None),
    ],
)
def test_keys_of_the_header(header: str, key: str | None) -> None:
    assert key_from_header(header) == key


@pytest.mark.requirement("S7")
@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "k\n", "é", 7])
def test_keys_refused_in_a_batch(key: Any) -> None:
    assert fault_fields(a_body(idempotency_key=key), batch=True) == ["idempotency_key"]


def test_a_key_in_the_body_of_a_batchs_event() -> None:
    assert read(a_body(idempotency_key="k"), batch=True).idempotency_key == "k"
    assert read(a_body(idempotency_key=None), batch=True).idempotency_key is None


@pytest.mark.requirement("K10")
def test_a_direct_record_may_leave_out_the_stream_and_cannot_set_id_or_time() -> None:
    body = a_body(stream=ABSENT, id="evt_forged", received_at="1970-01-01T00:00:00Z", idempotency_key="k")
    fields = read_direct_event(body, now_ms=NOW_MS)
    assert fields == read_direct_event(a_body(stream=ABSENT, idempotency_key="k"), now_ms=NOW_MS)
    assert fields.stream == ""


def avro_fields(**changes: Any) -> dict[str, Any]:
    """The fields of an Avro record for the event of `a_body`."""
    fields = read(a_body())
    record = to_record(fields, "")
    del record["id"]
    return {**record, **changes, "now_ms": NOW_MS}


def test_the_fields_of_an_avro_record_pass_the_same_rules() -> None:
    assert check_fields(**avro_fields()) == read(a_body())
    assert check_fields(**avro_fields(stream="")).stream == ""
    assert check_fields(**avro_fields(data=b' {"a": 1} ')).data == b'{"a": 1}'


@pytest.mark.requirement("J3", "J10", "J15")
@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"data": b'{},"actor":{}'}, ["data"]),
        ({"data": b'{"a":"\xff"}'}, ["data"]),
        ({"data": b"[]"}, ["data"]),
        ({"data": b""}, ["data"]),
        ({"actor": b'{"type":"user","id":"1","id":"2"}'}, ["actor.id"]),
        ({"actor": b"{"}, ["actor"]),
        ({"metadata": b'{"a.b":1}'}, ["metadata.a.b"]),
        ({"type": "x", "occurred_at": "", "idempotency_key": ""}, ["type", "occurred_at", "idempotency_key"]),
        ({"stream": "X"}, ["stream"]),
    ],
)
def test_faults_in_an_avro_record(changes: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(EventInvalid) as raised:
        check_fields(**avro_fields(**changes))
    assert sorted(error.field for error in raised.value.errors) == sorted(paths)
