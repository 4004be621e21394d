"""What `POST /api/ingest` takes: three forms of body, each item for itself, priced where it names no cost."""

import json
from typing import Any

import pytest

from domain.guardrails.fingerprints import fingerprint
from domain.guardrails.prices import FALLBACK, MODELS, cost_of, is_premium, rates_of
from ingest_gateway.surfaces.burn.forms import UnreadableCalls, call_of, read_calls
from schemas.telemetry import Price, UsageFrom

NOW_MS = 1_779_107_696_789
EXAMPLE = {
    "ts": "2026-05-18T12:34:56.789Z",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "endpoint": "/chat/completions",
    "status": 200,
    "tokens_in": 142,
    "tokens_out": 318,
    "cost_usd": 0.000421,
    "latency_ms": 612,
    "fingerprint": "sha256:b9c1...",
    "stream": False,
}
ABSENT = object()


def an_item(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (EXAMPLE | changes).items() if value is not ABSENT}


@pytest.mark.requirement("B-005", "X-45")
@pytest.mark.parametrize("body", [{"events": [EXAMPLE]}, [EXAMPLE], EXAMPLE])
def test_an_event_a_batch_or_an_array(body: Any) -> None:
    for text in (json.dumps(body), "\n \t" + json.dumps(body, indent=2)):
        fit, rejected = read_calls(text.encode())
        assert (len(fit), rejected) == (1, [])


@pytest.mark.requirement("B-006", "B-007", "B-008", "B-009", "B-010", "B-011", "B-012", "B-013")
def test_the_documents_event() -> None:
    [(_, new)], _ = read_calls(json.dumps(EXAMPLE).encode())
    call = call_of(new, "key_1")
    assert call is not None
    assert (call.ts_ms, call.provider, call.model, call.endpoint) == (
        NOW_MS,
        "openai",
        "gpt-4o-mini",
        "/chat/completions",
    )
    assert (call.status, call.tokens_in, call.tokens_out, call.cost_nano) == (200, 142, 318, 421_000)
    assert (call.latency_ms, call.fingerprint, call.stream, call.key_id) == (612, "sha256:b9c1...", False, "key_1")


# (change, field that is named)
@pytest.mark.requirement("B-014", "B-017", "S11")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        *(({name: ABSENT}, name) for name in ("ts", "provider", "model", "status", "tokens_in", "tokens_out")),
        ({"fingerprint": ABSENT}, "fingerprint"),
        ({"fingerprint": ""}, "fingerprint"),
        ({"ts": "2026-05-18T12:34:56"}, "ts"),
        ({"ts": "2026-02-30T12:34:56Z"}, "ts"),
        ({"ts": 1_779_107_696}, "ts"),
        ({"tokens_in": -1}, "tokens_in"),
        ({"tokens_out": -318}, "tokens_out"),
        ({"tokens_in": 1.5}, "tokens_in"),
        ({"tokens_in": 10**18}, "tokens_in"),
        ({"cost_usd": -0.01}, "cost_usd"),
        ({"cost_usd": "NaN"}, "cost_usd"),
        ({"cost_usd": 1e300}, "cost_usd"),
        ({"status": 600}, "status"),
        ({"status": "200"}, "status"),
        ({"model": "m" * 201}, "model"),
        ({"stream": 1}, "stream"),
        ({"retry_count": -1}, "retry_count"),
        ({"event_id": 7}, "event_id"),
    ],
)
def test_a_bad_item_is_named_and_spoils_no_other(change: dict[str, Any], field: str) -> None:
    items = [EXAMPLE, an_item(**change), EXAMPLE]
    fit, rejected = read_calls(json.dumps({"events": items}).encode())
    assert [index for index, _ in fit] == [0, 2]
    assert [(fault.index, fault.field) for fault in rejected] == [(1, field)]


PUBLISHED = {
    "eventId": "evt-1",
    "timestamp": "2026-05-18T12:34:56.789Z",
    "model": "gpt-4o-mini",
    "featureId": "answers",
    "latency": 612,
    "usage": {"prompt_tokens": 142, "completion_tokens": 318},
}


@pytest.mark.requirement("B-070", "X-55")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"project": "support-bot"}),
        ({"timestamp": 1_779_107_696_789}, {}),
        ({"estimated": True}, {"usage": UsageFrom.ESTIMATED}),
        ({"apiCallType": "chat", "retryCount": 2}, {"endpoint": "chat", "retry_count": 2}),
        ({"usage": {"prompt_tokens": 142, "completion_tokens": 318, "total_tokens": 460}}, {}),
        # as SDKs of providers give it
        ({"usage": {"prompt_tokens": "142", "completion_tokens": 318.0, "prompt_tokens_details": None}}, {}),
        ({"usage": {"prompt_tokens": None, "completion_tokens": 318, "total_tokens": 460}}, {}),
        ({"usage": {"input_tokens": 42, "output_tokens": 318, "cache_read_input_tokens": 100}}, {"cached_tokens": 100}),
        ({"usage": {"promptTokenCount": 142, "candidatesTokenCount": 300, "thoughtsTokenCount": 18}}, {}),
    ],
)
def test_the_published_clients_spelling(change: dict[str, Any], expected: dict[str, Any]) -> None:
    body = {"apiKey": "abn_of_the_body", "projectId": "support-bot", "events": [PUBLISHED | change, EXAMPLE]}
    (_, first), (_, second) = read_calls(json.dumps(body).encode())[0]
    call, documents = call_of(first, "key_1"), call_of(second, "key_1")
    assert call is not None and documents is not None
    assert (call.ts_ms, call.model, call.tokens_in, call.tokens_out) == (NOW_MS, "gpt-4o-mini", 142, 318)
    assert (call.latency_ms, call.event_id, call.key_id) == (612, "evt-1", "key_1")
    assert call.cost_nano == cost_of("gpt-4o-mini", 142, 318, call.cached_tokens).nano
    assert {name: getattr(call, name) for name in expected} == expected
    assert documents.fingerprint == "sha256:b9c1...", "both spellings may stand in one body"


def test_what_the_published_client_says_was_written_into_the_cache_costs_more() -> None:
    an_hours = {"ephemeral_1h_input_tokens": 40, "ephemeral_5m_input_tokens": 60}
    usage = {"input_tokens": 42, "output_tokens": 318, "cache_creation_input_tokens": 100, "cache_creation": an_hours}
    body = {"projectId": "support-bot", "events": [PUBLISHED | {"model": "claude-sonnet-4-6", "usage": usage}]}
    [(_, new)], _ = read_calls(json.dumps(body).encode())
    call = call_of(new, "key_1")
    assert call is not None and call.tokens_in == 142
    assert call.cost_nano == cost_of("claude-sonnet-4-6", 142, 318, written_tokens=60, written_long_tokens=40).nano


# (change, field that is named)
@pytest.mark.requirement("B-070", "B-017")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventId": ABSENT}, "eventId"),
        ({"timestamp": ABSENT}, "timestamp"),
        ({"timestamp": -1}, "timestamp"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"usage": ABSENT}, "usage"),
        ({"usage": {"prompt_tokens": -1}}, "usage.prompt_tokens"),
        ({"usage": {"prompt_tokens": "many", "completion_tokens": 1}}, "usage.prompt_tokens"),
        ({"usage": {"words": 7}}, "usage"),
        ({"usage": None}, "usage"),
        ({"model": ""}, "model"),
    ],
)
def test_a_bad_item_of_the_published_client(change: dict[str, Any], field: str) -> None:
    item = {name: value for name, value in (PUBLISHED | change).items() if value is not ABSENT}
    fit, rejected = read_calls(json.dumps({"events": [item, PUBLISHED]}).encode())
    assert [index for index, _ in fit] == [1]
    assert [(fault.index, fault.field) for fault in rejected] == [(0, field)]


@pytest.mark.requirement("B-075")
@pytest.mark.parametrize(
    "item",
    [
        PUBLISHED | {"apiCallType": "verification"},
        PUBLISHED | {"model": "verification-pulse"},
        EXAMPLE | {"model": "verification-pulse", "cost_usd": 0.00001},
    ],
)
def test_a_verification_is_marked_and_costs_nothing(item: dict[str, Any]) -> None:
    [(_, new)], _ = read_calls(json.dumps([item]).encode())
    call = call_of(new, "key_1")
    assert call is not None
    assert (call.model, call.cost_nano) == ("verification-pulse", 0)


def test_what_is_not_known_is_passed_over_and_null_is_as_absent() -> None:
    item = an_item(featureId="f", endpoint=None, cost_usd=None, latency_ms=None, stream=None, session_id=None)
    fit, rejected = read_calls(json.dumps(item).encode())
    assert (len(fit), rejected) == (1, [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b'"text"',
        b"7",
        b'{"events": 7}',
        b'{"events": [{}',
        b'{"events": [{"cost_usd": NaN}]}',
        b"[" * 100_000,
    ],
)
def test_a_body_of_no_such_form_is_refused_whole(body: bytes) -> None:
    with pytest.raises(UnreadableCalls):
        read_calls(body)


@pytest.mark.requirement("B-014")
@pytest.mark.parametrize("broken", [b"Jos\xe9", b"cut \\ud83d", b"\xed\xa0\xbd"])
def test_half_a_character_in_one_item_costs_no_other(broken: bytes) -> None:
    body = json.dumps({"events": [an_item(user="BROKEN"), an_item()]}).encode().replace(b"BROKEN", broken)
    fit, rejected = read_calls(body)
    assert (len(fit), rejected) == (2, []) and "\ufffd" in (fit[0][1].user or "")


@pytest.mark.parametrize(("ts", "counts"), [("1970-01-01T00:00:00Z", True), ("1969-12-31T23:59:59Z", False)])
def test_what_was_before_1970_can_be_no_call(ts: str, counts: bool) -> None:
    [(_, new)], _ = read_calls(json.dumps(an_item(ts=ts)).encode())
    assert (call_of(new, "k") is not None) is counts


class TestPrices:
    @pytest.mark.requirement("B-058", "B-086")
    @pytest.mark.parametrize(
        ("model", "usd_in", "usd_out"),
        [
            ("gpt-4o", 2.5, 10),
            ("gpt-4o-mini", 0.15, 0.6),
            ("claude-3-5-sonnet", 3, 15),
            ("o1-preview", 15, 60),
            ("a-model-nobody-knows", 10, 30),
        ],
    )
    def test_a_million_tokens_cost_what_is_published(self, model: str, usd_in: float, usd_out: float) -> None:
        million = 1_000_000
        assert cost_of(model, million, 0).nano == round(usd_in * 1e9)
        assert cost_of(model, 0, million).nano == round(usd_out * 1e9)

    @pytest.mark.requirement("X-46")
    def test_the_examples_tokens_by_the_table(self) -> None:
        assert cost_of("gpt-4o-mini", 142, 318).nano == 212_100
        [(_, new)], _ = read_calls(json.dumps(an_item(cost_usd=ABSENT)).encode())
        call = call_of(new, "k")
        assert call is not None
        assert (call.cost_nano, call.price) == (212_100, Price.LISTED)

    @pytest.mark.parametrize(
        ("written", "listed"),
        [
            ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
            ("openai/gpt-4o", "gpt-4o"),
            ("GPT-4o", "gpt-4o"),
            ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet"),
            ("anthropic/claude-3-5-sonnet:free", "claude-3-5-sonnet"),
            ("gemini-1.5-pro-latest", "gemini-1.5-pro"),
            ("gpt-4o-miniature", None),
            ("", None),
        ],
    )
    def test_variants_of_a_model_have_its_price(self, written: str, listed: str | None) -> None:
        assert rates_of(written) == (None if listed is None else MODELS[listed])

    def test_a_model_that_is_not_listed_is_marked(self) -> None:
        assert cost_of("mine", 1_000, 0) == (FALLBACK.tokens_in, Price.FALLBACK)

    def test_cached_tokens_cost_less_and_are_a_part_of_those_in(self) -> None:
        assert cost_of("gpt-4o", 1_000, 0, 400).nano == 600 * 2_500 + 400 * 1_250
        assert cost_of("gpt-4o", 1_000, 0, 5_000).nano == 1_000 * 1_250

    @pytest.mark.parametrize(
        ("members", "nano"),
        [  # 1,000 tokens in of claude-sonnet-4-6: 3 USD a million, 0.30 from the cache, 3.75 and 6 into it
            ({}, 3_000_000),
            ({"cached_tokens": 400}, 600 * 3_000 + 400 * 300),
            ({"cache_write_tokens": 400}, 600 * 3_000 + 400 * 3_750),
            ({"cache_write_tokens": 400, "cache_write_1h_tokens": 100}, 600 * 3_000 + 300 * 3_750 + 100 * 6_000),
            ({"cache_write_1h_tokens": 400}, 600 * 3_000 + 400 * 6_000),
            ({"cached_tokens": 500, "cache_write_tokens": 500}, 500 * 300 + 500 * 3_750),
            ({"cached_tokens": 900, "cache_write_tokens": 900}, 900 * 300 + 100 * 3_750),  # never more than the prompt
            ({"cache_write_tokens": None, "cache_write_1h_tokens": None}, 3_000_000),
        ],
    )
    def test_what_was_written_into_the_cache_costs_more(self, members: dict[str, Any], nano: int) -> None:
        item = an_item(cost_usd=ABSENT, model="claude-sonnet-4-6", tokens_in=1_000, tokens_out=0, **members)
        [(_, new)], _ = read_calls(json.dumps(item).encode())
        call = call_of(new, "k")
        assert call is not None
        assert (call.cost_nano, call.price, call.tokens_in) == (nano, Price.LISTED, 1_000)

    def test_premium_is_what_the_list_calls_so(self) -> None:
        assert is_premium("o1-preview-2024-09-12")
        assert not is_premium("gpt-4o-mini")
        assert not is_premium("a-model-nobody-knows")


BODY = {"model": b'"gpt-4o"', "messages": b'[{"role":"user","content":"hi"}]', "temperature": b"1"}


class TestFingerprints:
    def test_white_space_order_and_what_is_no_part_do_not_matter(self) -> None:
        other = {
            "stream": b"true",
            "messages": b'[ {"content": "hi", "role": "user"} ]',
            "model": b' "gpt-4o"',
            "temperature": b"0",
        }
        assert fingerprint(BODY) == fingerprint(other)
        assert fingerprint(BODY).startswith("sha256:")

    @pytest.mark.requirement("B-034", "B-012")
    @pytest.mark.parametrize(
        "change",
        [
            {"model": b'"gpt-4o-mini"'},
            {"messages": b'[{"role":"user","content":"ho"}]'},
            {"tools": b"[]"},
            {"system": b'"be brief"'},
        ],
    )
    def test_model_messages_and_tools_do(self, change: dict[str, bytes]) -> None:
        assert fingerprint(BODY) != fingerprint(BODY | change)

    def test_a_model_that_stands_in_the_path(self) -> None:
        body = {"contents": b"[]"}
        assert fingerprint(body, "gemini-1.5-pro") != fingerprint(body, "gemini-1.5-flash") != fingerprint(body)
