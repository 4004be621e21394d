"""`POST /v1/events`: what is answered, and what then stands on the log."""

import asyncio
import json
import re
from typing import Any

import pytest

from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from ingest_gateway.log.event_log import LogBusy
from ingest_gateway.surfaces.events import publish, publishing
from schemas.codec import EVENT
from schemas.ids import is_id
from schemas.replies import REPLY_HEADER, decode_reply
from tests.support.events import ABSENT, OCCURRED_AT, a_body, a_body_with, an_event
from tests.support.events_surface import MASTER_KEY, ROUTES, UNAVAILABLE, WORKSPACE, Surface, a_stream

QUEUED = [{"workflow_id": route, "status": "queued"} for route in ROUTES]


@pytest.mark.requirement("A-027", "A-039", "A-040", "A-041", "A-042", "A-002")
async def test_an_event_without_a_key_is_accepted_once_the_log_has_it(surface: Surface) -> None:
    answer = await surface.publish(a_body())
    body = answer.json
    assert answer.status == 202
    assert list(body) == [
        *("id", "object", "stream", "type", "status", "received_at", "occurred_at", "idempotency_key", "routes")
    ]
    assert is_id(body.pop("id"), "evt_")
    assert body == {
        "object": "event",
        "stream": "orders-prod",
        "type": "order.fulfilled",
        "status": "accepted",
        "received_at": "2024-05-18T14:22:11.482Z",
        "occurred_at": OCCURRED_AT,
        "idempotency_key": None,
        "routes": QUEUED,
    }
    assert answer.headers["Content-Type"] == "application/json"
    assert re.fullmatch(r"[A-Za-z0-9_-]+", answer.headers["Atlas-Position"])
    assert "Atlas-Decision" not in answer.headers


@pytest.mark.requirement("A-027", "A-008")
async def test_what_stands_on_the_log(surface: Surface) -> None:
    answer = await surface.publish(a_body_with("data", '{"b": 1.00, "a":"\\u0041"}'), "k-1")
    (record,) = surface.log.records
    event = EVENT.decode(record.value)
    assert record.appended.topic == f"events.{WORKSPACE}.live.orders-prod"
    assert record.key == b"k-1"
    assert event["id"] == answer.json["id"]
    assert event["data"] == b'{"b": 1.00, "a":"\\u0041"}'
    assert event["idempotency_key"] == "k-1"
    assert (
        GatewaySigner(MASTER_KEY).verified_hash(record.appended.topic, record.headers[GATEWAY_SIGNATURE], record.value)
        is not None
    )
    assert decode_reply(record.headers[REPLY_HEADER]) is not None


async def test_without_a_key_the_id_is_the_records_key_and_nobody_waits(surface: Surface) -> None:
    answer = await surface.publish(a_body())
    (record,) = surface.log.records
    assert record.key.decode() == answer.json["id"]
    assert REPLY_HEADER not in record.headers


@pytest.mark.requirement("A-029", "A-004", "A-028", "A-039")
async def test_a_replay_gets_the_first_answer_byte_for_byte(surface: Surface) -> None:
    first = await surface.publish(a_body(), "k-1")
    replay = await surface.publish(a_body(), "k-1")
    quoted = await surface.publish(a_body(), '"k-1"')
    rewritten = await surface.publish(json.dumps(an_event(), indent=1, sort_keys=True).encode(), "k-1")
    assert first.status == replay.status == 202
    assert first.json["idempotency_key"] == "k-1"
    assert first.json["routes"] == QUEUED
    assert replay.body == quoted.body == rewritten.body == first.body
    assert "Atlas-Decision" not in first.headers
    assert {again.headers["Atlas-Decision"] for again in (replay, quoted, rewritten)} == {"replay"}
    assert (await surface.publish(a_body(), "k-2")).json["id"] != first.json["id"]


@pytest.mark.requirement("A-029")
async def test_a_replay_is_answered_with_the_routes_of_its_original(surface: Surface) -> None:
    first = await surface.publish(a_body(), "k")
    surface.control.put(a_stream(default_routes=["wf_other"]))
    assert (await surface.publish(a_body(), "k")).body == first.body
    assert (await surface.publish(a_body(), "k-2")).json["routes"] == [{"workflow_id": "wf_other", "status": "queued"}]


@pytest.mark.requirement("A-030", "A-075")
@pytest.mark.parametrize(
    "other",
    [
        a_body(type="order.refunded"),
        a_body(stream="audit-prod"),
        a_body(occurred_at="2024-05-18T14:22:12Z"),
        a_body(actor=ABSENT),
        a_body(metadata={"region": "eu-west-2", "channel": "web"}),
        a_body(data={"order_id": "ord_2"}),
    ],
    ids=["type", "stream", "time", "actor", "metadata", "data"],
)
async def test_a_key_with_another_payload_is_a_conflict(surface: Surface, other: bytes) -> None:
    first = await surface.publish(a_body(), "k")
    conflict = await surface.publish(other, "k")
    assert (conflict.status, conflict.code) == (409, "duplicate_event")
    assert conflict.json["error"]["details"] == {"original_event_id": first.json["id"]}


@pytest.mark.requirement("J8")
async def test_two_integers_that_are_one_float_are_two_payloads(surface: Surface) -> None:
    await surface.publish(a_body_with("data", f'{{"n":{2**64}}}'), "k")
    assert (await surface.publish(a_body_with("data", f'{{"n":{2**64 + 1}}}'), "k")).code == "duplicate_event"


@pytest.mark.requirement("A-015", "S7", "A-009")
async def test_a_key_belongs_to_one_environment(surface: Surface) -> None:
    live = await surface.publish(a_body(), "k")
    test = await surface.publish(a_body(type="another.type"), "k", key="test")
    assert (live.status, test.status) == (202, 202)
    assert live.json["id"] != test.json["id"]
    assert [record.appended.topic.split(".")[2] for record in surface.log.records] == ["live", "test"]


@pytest.mark.requirement("A-003")
async def test_the_same_event_has_the_same_id_with_or_without_waiting(surface: Surface) -> None:
    ids = {(await surface.publish(a_body())).json["id"] for _ in range(3)}
    assert len(ids) == 1


@pytest.mark.requirement("S7", "A-028", "H24", "H25")
@pytest.mark.parametrize("key", ["", "k" * 256, "a b", '"', '""', '"k'])
async def test_a_key_that_is_none(surface: Surface, key: str) -> None:
    answer = await surface.publish(a_body(), key)
    assert (answer.status, answer.code, answer.fields) == (400, "invalid_request", ["Idempotency-Key"])
    assert surface.log.records == []


@pytest.mark.requirement("J15", "A-072", "A-037")
async def test_key_and_fields_are_told_at_once(surface: Surface) -> None:
    answer = await surface.publish(a_body(type="X", extra=1), "")
    assert answer.fields == ["Idempotency-Key", "extra", "type"]


# (whose key, stream, status): a stream out of reach is one that does not exist
@pytest.mark.requirement("A-038", "A-074", "A-015", "A-012", "A-008")
@pytest.mark.parametrize(
    ("key", "stream", "status"),
    [
        ("live", "orders-prod", 202),
        ("live", "nowhere", 404),
        ("live", "spine", 404),
        ("live", "work", 404),
        ("test", "orders-prod", 202),
        ("test", "audit-prod", 404),
        ("one_stream", "audit-prod", 202),
        ("one_stream", "orders-prod", 404),
        ("publishable", "orders-prod", 202),
        ("publishable", "audit-prod", 404),
    ],
)
async def test_streams_within_reach(surface: Surface, key: str, stream: str, status: int) -> None:
    for name in ("spine", "work"):
        surface.control.put(a_stream(name))
    answer = await surface.publish(a_body(stream=stream), key=key)
    assert answer.status == status
    if status == 404:
        assert answer.code == "stream_not_found"
        assert surface.log.records == []


async def test_a_stream_made_a_moment_ago_is_found(surface: Surface) -> None:
    surface.control.staged.append(a_stream("brand-new"))
    assert (await surface.publish(a_body(stream="brand-new"))).status == 202


async def test_a_stream_out_of_the_keys_reach_costs_no_look_at_the_log(surface: Surface) -> None:
    await surface.publish(a_body(stream="orders-prod"), key="one_stream")
    await surface.publish(a_body(stream="spine"))
    assert surface.control.catch_ups == 0


@pytest.mark.parametrize("status", ["creating", "deleted"])
async def test_a_stream_that_takes_no_events(surface: Surface, status: str) -> None:
    surface.control.put(a_stream(status=status))
    assert (await surface.publish(a_body())).code == "stream_not_found"


@pytest.mark.requirement("A-013", "A-073", "A-006", "A-069", "A-071")
@pytest.mark.parametrize("key", [None, "revoked", "unknown"])
async def test_without_a_good_key_nothing_is_read(surface: Surface, key: str | None) -> None:
    answer = await surface.publish(b"not even JSON", key=key)
    assert (answer.status, answer.code) == (401, "authentication_failed")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    error = answer.json["error"]
    assert error.keys() == {"code", "message", "request_id", "details"}
    assert is_id(error["request_id"], "req_")
    assert error["details"] == {}


# From an event that is wrong in every way, one fault repaired a row: which error wins is written down.
@pytest.mark.requirement("A-070")
async def test_the_order_of_checks(surface: Surface) -> None:
    wrong_type = {"Content_Type": "text/plain"}
    too_large = b"[" + b" " * 1_048_576 + b"]"
    await surface.publish(a_body(), "k")
    rows: list[tuple[tuple[bytes, str], dict[str, Any], str]] = [
        ((too_large, ""), wrong_type | {"key": None}, "authentication_failed"),
        ((too_large, ""), wrong_type, "unsupported_media_type"),
        ((too_large, ""), {}, "payload_too_large"),
        ((b"[]", ""), {}, "invalid_request"),
        ((a_body(type="x", stream="nowhere"), "k"), {}, "invalid_request"),
        ((a_body(type="x.y", stream="nowhere"), "k"), {}, "stream_not_found"),
        ((a_body(type="x.y"), "k"), {}, "duplicate_event"),
    ]
    for (body, key), more, code in rows:
        assert (await surface.publish(body, key, **more)).code == code


@pytest.mark.requirement("A-034", "S6", "H15")
async def test_sizes(surface: Surface) -> None:
    exactly = await surface.publish(a_body(data={"a": "x" * (262_144 - 8)}))
    one_more = await surface.publish(a_body(data={"a": "x" * (262_144 - 7)}))
    body_too_large = await surface.publish(a_body() + b" " * 1_048_576)
    assert exactly.status == 202
    assert (one_more.status, one_more.fields) == (400, ["data"])
    assert (body_too_large.status, body_too_large.code) == (413, "payload_too_large")


@pytest.mark.requirement("H20")
@pytest.mark.parametrize(
    ("declared", "status"),
    [
        ("application/json", 202),
        ("application/json; charset=utf-8", 202),
        ("application/json; charset=utf-16", 415),
        ("application/x-ndjson", 415),
        ("text/plain", 415),
    ],
)
async def test_content_types(surface: Surface, declared: str, status: int) -> None:
    assert (await surface.publish(a_body(), Content_Type=declared)).status == status


@pytest.mark.requirement("J16", "A-072")
async def test_five_thousand_wrong_fields_are_told_shortly(surface: Surface) -> None:
    answer = await surface.publish(a_body(**{f"field{n}": n for n in range(5_000)}))
    errors = answer.json["error"]["details"]["errors"]
    assert len(errors) == 21
    assert errors[-1]["message"] == "and 4980 more"
    assert len(answer.body) < 5_000


@pytest.mark.requirement("J1", "J3", "J7", "J12")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        a_body() * 2,
        a_body_with("data", b'{"a":"\xff"}'),
        a_body_with("data", '{"a":1e400}'),
        b"[" * 500_000,
    ],
    ids=["empty", "null", "two", "utf8", "number", "deep"],
)
async def test_what_is_not_json_is_told_of_the_body(surface: Surface, body: bytes) -> None:
    answer = await surface.publish(body)
    assert (answer.status, answer.code, answer.fields) == (400, "invalid_request", ["body"])


async def test_parameters_in_the_address_are_not_known(surface: Surface) -> None:
    answer = await surface.request("POST", "/v1/events?dry_run=1", a_body())
    assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.requirement("J13")
async def test_others_have_their_turn_while_a_large_event_is_worked_on(
    surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading it and hashing it take up to 20 ms each, so they are two turns of the loop and not one."""
    seen: list[str] = []

    def noted(module: object, name: str) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **named: seen.append(name) or real(*given, **named))

    async def another() -> None:
        while True:
            seen.append("another")
            await asyncio.sleep(0)

    noted(publish, "read_event")
    noted(publishing, "payload_hash")
    other = asyncio.create_task(another())
    try:
        assert (await surface.publish(a_body(data={"a": [[]] * 80_000}))).status == 202
    finally:
        other.cancel()
    assert "another" in seen[seen.index("read_event") : seen.index("payload_hash")]


class TestLateness:
    @pytest.mark.requirement("F8", "F5")
    @pytest.mark.parametrize("key", [None, "k"])
    async def test_what_the_broker_did_not_confirm_is_never_accepted(self, hurried: Surface, key: str | None) -> None:
        hurried.log.confirms = hurried.log.answers = False
        answer = await hurried.publish(a_body(), key)
        assert (answer.status, answer.code) == (503, "unavailable")
        assert answer.json["error"]["message"] == "Not confirmed as stored. Send it again with the same key."
        assert answer.headers["Retry-After"] == "1"
        assert len(hurried.log.records) == 1

    async def test_a_late_verdict_makes_a_pending_202_and_a_repeat_the_decided_one(self, hurried: Surface) -> None:
        hurried.log.answers = False
        pending = await hurried.publish(a_body(), "k")
        assert (pending.status, pending.json["routes"]) == (202, [])
        assert pending.headers["Atlas-Decision"] == "pending"
        assert "Atlas-Position" in pending.headers
        hurried.log.answers = True
        decided = await hurried.publish(a_body(), "k")
        assert decided.json["id"] == pending.json["id"]
        assert decided.json["routes"] == QUEUED
        assert decided.headers["Atlas-Decision"] == "replay"

    async def test_a_verdict_confirms_what_the_broker_did_not(self, hurried: Surface) -> None:
        hurried.log.confirms = False
        answer = await hurried.publish(a_body(), "k")
        assert (answer.status, answer.json["routes"]) == (202, QUEUED)
        assert "Atlas-Position" not in answer.headers

    @pytest.mark.requirement("F5")
    async def test_of_what_no_broker_says_where_it_is_a_verdict_proves_that_it_is_there(self, surface: Surface) -> None:
        surface.log.says_where = False
        answer = await surface.publish(a_body(), "k")
        assert (answer.status, answer.json["routes"]) == (202, QUEUED)
        assert "Atlas-Position" not in answer.headers
        alone = await surface.publish(a_body(data={"n": 2}))
        assert (alone.status, alone.code) == (503, "unavailable")

    @pytest.mark.requirement("F8")
    @pytest.mark.parametrize(
        ("refusal", "message"),
        [
            (LogBusy("full"), "Too much is under way. Nothing was stored; please send it again."),
            (UNAVAILABLE, "Not confirmed as stored. Send it again with the same key."),
        ],
    )
    @pytest.mark.parametrize("key", [None, "k"])
    async def test_a_log_that_takes_nothing(
        self, surface: Surface, refusal: Exception, message: str, key: str | None
    ) -> None:
        surface.log.refuses = refusal
        answer = await surface.publish(a_body(), key)
        assert (answer.status, answer.code) == (503, "unavailable")
        assert answer.json["error"]["message"] == message
        assert "Retry-After" in answer.headers
        assert surface.verdicts._waiting == {}

    async def test_too_many_waiters(self, surface: Surface) -> None:
        surface.verdicts.max_waiters = 0
        assert (await surface.publish(a_body(), "k")).code == "unavailable"
        assert (await surface.publish(a_body())).status == 202

    @pytest.mark.requirement("F37")
    async def test_a_client_that_leaves_does_not_undo_what_it_sent(self, surface: Surface) -> None:
        surface.log.answers = False
        request = asyncio.create_task(surface.publish(a_body(), "k"))
        await surface.log.appended.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        surface.log.answers = True
        surface.log.deliver()
        replay = await surface.publish(a_body(), "k")
        assert replay.status == 202
        assert replay.json["received_at"] == "2024-05-18T14:22:11.482Z"  # of the first record
        assert surface.verdicts._waiting == {}
