"""`POST /v1/events/batch`: one result an item, in order; a bad item spoils no other; what is wrong with the whole."""

import asyncio
import gzip
import tracemalloc
from typing import Any

import pytest

from domain.json.strict import JsonError
from ingest_gateway.surfaces.events.envelope import BATCH_EVENTS_MAX, TOO_MANY, batch_items
from ingest_gateway.surfaces.events.publish_batch import BATCH_BYTES_MAX
from tests.support.events import a_body, a_body_with
from tests.support.events_surface import Surface

FEW = 3


def as_json(*items: bytes) -> bytes:
    return b'{"events":[' + b",".join(items) + b"]}"


def as_lines(*items: bytes) -> bytes:
    return b"\n".join(items) + b"\n"


async def send(surface: Surface, form: str, *items: bytes) -> Any:
    """The batch's answer as JSON, 200 assumed."""
    answer = await (
        surface.publish_batch(as_json(*items)) if form == "json" else surface.publish_lines(as_lines(*items))
    )
    assert answer.status == 200, answer.body
    return answer.json


def numbered(count: int) -> list[bytes]:
    template = a_body(data={"n": "here"}, metadata=None, actor=None)
    return [template.replace(b'"here"', b"%d" % n) for n in range(count)]


@pytest.fixture(params=["json", "ndjson"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.requirement("A-083")
async def test_each_event_has_the_answer_that_it_would_have_alone(surface: Surface, form: str) -> None:
    alone = await surface.publish(a_body(), "k")
    batch = await send(surface, form, a_body(idempotency_key="k"), *numbered(FEW))
    assert (batch["object"], batch["accepted"], batch["rejected"]) == ("batch", FEW + 1, 0)
    assert batch["results"][0] == {"index": 0, "status": 202, "decision": "replay", "event": alone.json}
    assert [result["index"] for result in batch["results"]] == list(range(FEW + 1))
    assert [event["data"] for event in surface.events()][2:] == [b'{"n":%d}' % n for n in range(FEW)]


@pytest.mark.requirement("J17", "J15", "J3", "J10")
async def test_a_bad_item_spoils_no_neighbour(surface: Surface, form: str) -> None:
    # (item, status, code, fields)
    rows: list[tuple[bytes, int, str, list[str]]] = [
        (a_body(), 202, "", []),
        (b"7", 400, "invalid_request", ["body"]),
        (a_body(type="x", extra=1), 400, "invalid_request", ["extra", "type"]),
        (a_body(stream="nowhere"), 404, "stream_not_found", []),
        (a_body_with("data", b'{"a":"\xff"}'), 400, "invalid_request", ["body"]),
        (a_body_with("data", '{"a":1e400}'), 400, "invalid_request", ["body"]),
        (a_body_with("data", '{"a":' + "[" * 65 + "]" * 65 + "}"), 400, "invalid_request", ["body"]),
        (a_body_with("type", '"a.b","type":"c.d"'), 400, "invalid_request", ["type"]),
        (a_body(data={"a": "x" * 262_144}), 400, "invalid_request", ["data"]),
        (a_body(idempotency_key=""), 400, "invalid_request", ["idempotency_key"]),
        (a_body(data={"last": 1}), 202, "", []),
    ]
    batch = await send(surface, form, *(row[0] for row in rows))
    assert (batch["accepted"], batch["rejected"]) == (2, len(rows) - 2)
    for result, (_, status, code, fields) in zip(batch["results"], rows, strict=True):
        assert result["status"] == status
        error = result.get("error", {"code": "", "details": {}})
        assert error["code"] == code
        assert [fault["field"] for fault in error["details"].get("errors", [])] == fields
    assert len(surface.log.records) == 2


@pytest.mark.requirement("J17", "J4", "J6")
@pytest.mark.parametrize(
    "line", [a_body_with("data", '{"a":"\\ud800"}'), a_body_with("data", '{"a":NaN}'), b"{", b"\x00"]
)
async def test_a_line_that_is_not_json_spoils_no_neighbour(surface: Surface, line: bytes) -> None:
    """In NDJSON; a JSON batch with such an item is not JSON, and refused as a whole."""
    lines = await surface.publish_lines(as_lines(a_body(), line, a_body()))
    assert [result["status"] for result in lines.json["results"]] == [202, 400, 202]
    whole = await surface.publish_batch(as_json(a_body(), line, a_body()))
    assert (whole.status, whole.fields) == (400, ["body"])


async def test_the_error_of_an_item_is_the_documents_error_object(surface: Surface, form: str) -> None:
    (result,) = (await send(surface, form, a_body(stream="nowhere")))["results"]
    assert result.keys() == {"index", "status", "error"}
    assert result["error"].keys() == {"code", "message", "request_id", "details"}


@pytest.mark.requirement("J18", "A-029", "A-030")
async def test_one_key_many_times_and_one_key_with_two_payloads(surface: Surface, form: str) -> None:
    same, other = a_body(idempotency_key="k"), a_body(idempotency_key="k", type="other.type")
    batch = await send(surface, form, same, same, other, same)
    statuses = [result["status"] for result in batch["results"]]
    events = [result["event"] for result in batch["results"] if "event" in result]
    assert statuses == [202, 202, 409, 202]
    assert events[0] == events[1] == events[2]
    assert [result.get("decision") for result in batch["results"]] == [None, "replay", None, "replay"]
    assert batch["results"][2]["error"]["code"] == "duplicate_event"
    assert batch["results"][2]["error"]["details"] == {"original_event_id": events[0]["id"]}


@pytest.mark.requirement("J18")
async def test_ten_thousand_events_are_taken(surface: Surface, form: str) -> None:
    batch = await send(surface, form, *numbered(BATCH_EVENTS_MAX))
    assert (batch["accepted"], len(surface.log.records)) == (BATCH_EVENTS_MAX, BATCH_EVENTS_MAX)


@pytest.mark.requirement("J18")
async def test_one_more_in_json_is_refused_before_any_is_sent(surface: Surface) -> None:
    answer = await surface.publish_batch(as_json(*numbered(BATCH_EVENTS_MAX + 1)))
    assert (answer.status, answer.code, answer.fields) == (400, "invalid_request", ["events"])
    assert surface.log.records == []


@pytest.mark.requirement("J18", "J13")
def test_millions_of_items_are_given_up_at_the_first_too_many() -> None:
    """As items of a list they would be hundreds of megabytes before anyone counted them."""
    body = b'{"events":[%b{}]}' % (b"[]," * 3_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(JsonError, match=TOO_MANY):
            batch_items(body)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10_000_000


@pytest.mark.requirement("J18")
@pytest.mark.parametrize("count", [1, 9_999, 10_000])
def test_commas_inside_of_events_count_for_nothing(count: int) -> None:
    items = [b'{"data":[1,2,3,4]}'] * count
    assert [bytes(item) for item in batch_items(b'{"events":[%b]}' % b" ,\n".join(items))] == items


@pytest.mark.requirement("J18")
async def test_one_more_line_is_refused_and_what_was_taken_is_told(surface: Surface) -> None:
    answer = await surface.publish_lines(as_lines(b"7", *numbered(BATCH_EVENTS_MAX)))
    assert (answer.status, answer.code, answer.fields) == (400, "invalid_request", ["events"])
    details = answer.json["error"]["details"]
    assert (details["accepted"], details["rejected"]) == (BATCH_EVENTS_MAX - 1, 1)
    assert details["stopped_at_index"] == BATCH_EVENTS_MAX
    assert len(surface.log.records) == BATCH_EVENTS_MAX - 1


@pytest.mark.requirement("H16", "J17")
async def test_gzip_members_make_one_batch(surface: Surface) -> None:
    """As `cat a.ndjson.gz b.ndjson.gz` and log shippers that flush make it; a line may go over a member's end."""
    lines = as_lines(*numbered(FEW))
    body = b"".join(gzip.compress(lines[at : at + 100]) for at in range(0, len(lines), 100))
    answer = await surface.publish_lines(body, Content_Encoding="gzip")
    assert answer.status == 200 and answer.json["accepted"] == FEW == len(surface.log.records)


@pytest.mark.requirement("H16", "J18")
@pytest.mark.parametrize(
    "broken",
    [lambda packed: packed + b"garbage", lambda packed: packed + packed[:-9], lambda packed: packed[:-1]],
    ids=["bytes behind it", "a second member cut short", "cut short"],
)
async def test_nothing_of_a_broken_packed_batch_is_taken(surface: Surface, broken: Any) -> None:
    body = broken(gzip.compress(as_lines(*numbered(FEW))))
    answer = await surface.publish_lines(body, Content_Encoding="gzip")
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert surface.log.records == []


@pytest.mark.requirement("J18", "J17")
@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t\n"])
async def test_no_lines(surface: Surface, body: bytes) -> None:
    answer = await surface.publish_lines(body)
    assert (answer.status, answer.code, answer.fields) == (400, "invalid_request", ["events"])


# What is no batch: (body, the field that is named)
NO_BATCH: list[tuple[bytes, str]] = [
    (b"", "body"),
    (b"null", "body"),
    (b"[]", "body"),
    (b'{"events":[]}', "events"),
    (b"{}", "events"),
    (b'{"events":null}', "events"),
    (b'{"events":{}}', "events"),
    (b'{"events":[1]', "body"),
    (b'{"events":[1]}x', "body"),
    (b'{"events":[1],}', "body"),
    (b'{"events":[NaN]}', "body"),
    (b'{"events":[1],"more":1}', "more"),
    (b'{"more":1}', "more"),
    (b'{"events":[1],"events":[2]}', "events"),
    (b'{"events":[1] , "events" : [2] }', "events"),
    (b'{"events":' + b"[" * 100_000, "body"),
    (b"\xef\xbb\xbf" + as_json(b"1"), "body"),
]


@pytest.mark.requirement("J18", "J1", "J10", "J12", "A-037")
@pytest.mark.parametrize(("body", "field"), NO_BATCH, ids=range(len(NO_BATCH)))
async def test_what_is_no_batch(surface: Surface, body: bytes, field: str) -> None:
    answer = await surface.publish_batch(body)
    assert (answer.status, answer.code, answer.fields) == (400, "invalid_request", [field])
    assert surface.log.records == []


async def test_white_space_around_the_array(surface: Surface) -> None:
    answer = await surface.publish_batch(b' {\n"events" :\t[ ' + a_body() + b" , " + a_body() + b" ]\r\n} ")
    assert answer.json["accepted"] == 2


@pytest.mark.requirement("J17")
async def test_lines_as_people_write_them(surface: Surface) -> None:
    one, two, three = numbered(3)
    answer = await surface.publish_lines(b"\r\n" + one + b"\r\n\n  \n" + two + b"\n" + three)
    assert [result["index"] for result in answer.json["results"]] == [0, 1, 2]
    assert answer.json["accepted"] == 3


@pytest.mark.requirement("J17")
async def test_an_endless_line_among_good_ones(surface: Surface) -> None:
    one, two = numbered(2)
    answer = await surface.publish_lines(as_lines(one, b"x" * (BATCH_BYTES_MAX - 4_096), two))
    assert [result["status"] for result in answer.json["results"]] == [202, 413, 202]
    assert answer.json["results"][1]["error"]["code"] == "payload_too_large"


async def test_an_item_longer_than_any_event(surface: Surface) -> None:
    batch = await send(surface, "json", a_body(), b'"' + b"x" * 1_048_576 + b'"', a_body())
    assert [result["status"] for result in batch["results"]] == [202, 413, 202]


@pytest.mark.requirement("H15")
async def test_too_many_bytes(surface: Surface, form: str) -> None:
    padding = b" " * BATCH_BYTES_MAX
    answer = await (
        surface.publish_batch(as_json(a_body()) + padding)
        if form == "json"
        else surface.publish_lines(as_lines(a_body()) + padding)
    )
    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.requirement("F8")
async def test_a_json_batch_without_room_is_not_half_sent(surface: Surface) -> None:
    surface.log.room = FEW - 1
    answer = await surface.publish_batch(as_json(*numbered(FEW)))
    assert (answer.status, answer.code) == (503, "unavailable")
    assert "Retry-After" in answer.headers
    assert surface.log.records == []


@pytest.mark.requirement("F8")
async def test_lines_without_room_are_told_one_by_one(surface: Surface) -> None:
    surface.log.room = FEW - 1
    answer = await surface.publish_lines(as_lines(*numbered(FEW)))
    assert [result["status"] for result in answer.json["results"]] == [202] * (FEW - 1) + [503]


async def test_late_verdicts_are_pending_items(hurried: Surface) -> None:
    hurried.log.answers = False
    batch = await send(hurried, "json", a_body(idempotency_key="k"), a_body())
    assert [result.get("decision") for result in batch["results"]] == ["pending", None]
    assert batch["accepted"] == 2


@pytest.mark.requirement("F5")
async def test_items_that_the_broker_did_not_confirm(hurried: Surface) -> None:
    hurried.log.confirms = False
    batch = await send(hurried, "json", *numbered(FEW))
    assert [result["error"]["code"] for result in batch["results"]] == ["unavailable"] * FEW


async def test_a_stream_that_is_missing_is_looked_for_once_a_batch(surface: Surface) -> None:
    items = [a_body(stream=f"nowhere-{n}") for n in range(FEW)]
    batch = await send(surface, "json", *items)
    assert batch["rejected"] == FEW
    assert surface.control.catch_ups == 1


async def test_a_batchs_header_key_is_taken_and_changes_nothing(surface: Surface) -> None:
    first = await surface.publish_batch(as_json(*numbered(FEW)), Idempotency_Key="k")
    second = await surface.publish_batch(as_json(*numbered(FEW + 1)), Idempotency_Key="k")
    ids = [[result["event"]["id"] for result in answer.json["results"]] for answer in (first, second)]
    assert ids[0] == ids[1][:FEW]
    refused = await surface.publish_batch(as_json(a_body()), Idempotency_Key="a b")
    assert refused.fields == ["Idempotency-Key"]


@pytest.mark.requirement("H20")
async def test_the_content_type_says_how_the_batch_is_written(surface: Surface) -> None:
    answer = await surface.publish_batch(as_json(a_body()), Content_Type="text/csv")
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


@pytest.mark.requirement("A-012")
async def test_a_publishable_key_may_send_a_batch_to_its_stream(surface: Surface) -> None:
    items = as_json(a_body(), a_body(stream="audit-prod"))
    answer = await surface.publish_batch(items, key="publishable")
    assert [result["status"] for result in answer.json["results"]] == [202, 404]


async def test_a_large_batch_lets_others_have_their_turn(surface: Surface) -> None:
    body = as_json(*numbered(5_000))
    batch = asyncio.create_task(surface.publish_batch(body))
    await surface.log.appended.wait()
    alone = await surface.publish(a_body())
    assert alone.status == 202
    assert not batch.done()
    assert (await batch).json["accepted"] == 5_000
