"""`GET /v1/events` and correlations over the read model: filters, wildcards, pages, totals, other orgs."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ingest_gateway.read_model import spine_pages
from ingest_gateway.surfaces.spine import correlations
from operations.read_model_engine import writer_engine
from tests.support.spine_surface import ORG, SpineSurface

KINDS = ["code.upload.complete", "code.analysis.complete", "lead.scored", "contract.created", "code_x.done"]


async def publish(
    spine: SpineSurface, kind: str, key: str = "live", source: str = "github.action", **metadata: Any
) -> Any:
    event = {"type": kind, "source": source, "data": {"kind": kind, "n": 1.0}, "metadata": metadata}
    answer = await spine.publish(json.dumps(event).encode(), key=key)
    assert answer.status == 201, answer.body
    return answer.json


async def query(spine: SpineSurface, parameters: str = "", key: str = "live") -> Any:
    answer = await spine.request("GET", f"/v1/events{parameters}", key=key)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.requirement("S-015", "S-021", "S-022", "S-023", "S-024")
async def test_an_event_is_found_as_it_was_published(spine: SpineSurface) -> None:
    published = await publish(spine, "code.analysis.complete", correlationId="run-gh-001", orgId=ORG, tags=["a"])
    assert await query(spine) == {
        "events": [
            {
                "eventId": published["eventId"],
                "type": "code.analysis.complete",
                "source": "github.action",
                "orgId": ORG,
                "timestamp": published["timestamp"],
                "data": {"kind": "code.analysis.complete", "n": 1.0},
                "metadata": {"correlationId": "run-gh-001", "tags": ["a"]},
            }
        ],
        "total": 1,
        "offset": 0,
        "limit": 20,
    }


@pytest.mark.requirement("S-016", "X-43", "S9")
@pytest.mark.parametrize("listed_max", [1_000, 2], ids=["by the types that there are", "by LIKE"])
@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("code.*", ["code.analysis.complete", "code.upload.complete"]),
        ("*.complete", ["code.analysis.complete", "code.upload.complete"]),
        ("*", KINDS),
        ("lead.scored", ["lead.scored"]),
        ("lead.sc_red", []),
        ("code.*.complete", ["code.analysis.complete", "code.upload.complete"]),
        ("code_x.*", ["code_x.done"]),
        ("*.*.*", ["code.analysis.complete", "code.upload.complete"]),
        ("none.*", []),
    ],
)
async def test_wildcards_span_dots(
    spine: SpineSurface, monkeypatch: pytest.MonkeyPatch, pattern: str, found: list[str], listed_max: int
) -> None:
    monkeypatch.setattr(spine_pages, "TYPES_LISTED_MAX", listed_max)
    for kind in KINDS:
        await publish(spine, kind)
    page = await query(spine, f"?type={pattern}")
    assert sorted(event["type"] for event in page["events"]) == sorted(found)
    assert page["total"] == len(found)


@pytest.mark.requirement("S9")
@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        *((f"?type={text}", "type") for text in ("**", "a.%25", "%25", "_", "'; drop", "a.b*", "", "A.b")),
        ("?from=yesterday", "from"),
        ("?from=2024-01-02T00:00:00Z&to=2024-01-01T00:00:00Z", "from"),
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?offset=-1", "offset"),
        ("?offset=10001", "offset"),
        ("?nothing=1", "nothing"),
        ("?source=", "source"),
        ("?source=a&source=b", "source"),
    ],
)
async def test_a_question_that_cant_be_answered_is_refused(spine: SpineSurface, parameters: str, field: str) -> None:
    answer = await spine.request("GET", f"/v1/events{parameters}".replace("'", "%27").replace(" ", "%20"))
    assert (answer.status, answer.code, answer.json["error"]["field"]) == (400, "invalid_request", field)


@pytest.mark.requirement("S-017", "S9")
async def test_source_correlation_and_org_are_exact(spine: SpineSurface) -> None:
    await publish(spine, "code.a", source="one", correlationId="c1")
    await publish(spine, "code.b", source="two", correlationId="c1")
    await publish(spine, "lead.a", source="two", correlationId="c'2")
    assert [event["type"] for event in (await query(spine, "?source=two"))["events"]] == ["lead.a", "code.b"]
    assert [event["type"] for event in (await query(spine, "?correlationId=c1"))["events"]] == ["code.b", "code.a"]
    both = await query(spine, "?correlationId=c1&source=two&type=code.*")
    assert ([event["type"] for event in both["events"]], both["total"]) == (["code.b"], 1)
    assert (await query(spine, "?correlationId=c%272"))["total"] == 1
    assert (await query(spine, "?source=tw_"))["total"] == 0
    assert (await query(spine, f"?orgId={ORG}"))["total"] == 3
    refused = await spine.request("GET", "/v1/events?orgId=org_xyz")
    assert (refused.status, refused.code) == (403, "forbidden")


@pytest.mark.requirement("S-018")
async def test_from_is_inclusive_and_to_is_not(spine: SpineSurface) -> None:
    times = [(await publish(spine, f"code.n{n}"))["timestamp"] for n in range(3)]
    first, last = times[0], times[-1]
    assert (await query(spine, f"?from={first}"))["total"] == 3
    assert (await query(spine, f"?to={first}"))["total"] == 0
    assert (await query(spine, f"?from={first}&to={last}"))["total"] == sum(time < last for time in times)
    assert (await query(spine, "?from=2099-01-01T00:00:00Z"))["total"] == 0


@pytest.mark.requirement("S-019", "S-020", "S-021")
@pytest.mark.parametrize("narrowed", ["", "&type=code.*", "&source=github.action"])
async def test_pages_hold_each_event_once_newest_first(spine: SpineSurface, narrowed: str) -> None:
    made = [(await publish(spine, f"code.kind{n % 3}"))["eventId"] for n in range(25)]
    assert len((await query(spine, f"?offset=0{narrowed}"))["events"]) == 20
    pages = [await query(spine, f"?limit=10&offset={offset}{narrowed}") for offset in (0, 10, 20)]
    assert [event["eventId"] for page in pages for event in page["events"]] == made[::-1]
    assert {page["total"] for page in pages} == {25}


async def test_total_counts_up_to_its_bound(spine: SpineSurface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spine_pages, "TOTAL_MAX", 3)
    for _ in range(5):
        await publish(spine, "code.a")
    page = await query(spine)
    assert (page["total"], len(page["events"])) == (3, 5)


@pytest.mark.requirement("S-066", "A8")
async def test_another_org_and_environment_see_nothing_of_it(spine: SpineSurface) -> None:
    await publish(spine, "code.a", correlationId="c1")
    for key in ("other", "test"):
        assert (await query(spine, key=key))["total"] == 0
        assert (await spine.request("GET", "/v1/events/correlations/c1", key=key)).status == 404


@pytest.mark.requirement("S-014", "S-015")
async def test_a_replay_and_a_conflict_are_no_events(spine: SpineSurface) -> None:
    for source in ("one", "one", "two"):
        body = json.dumps({"type": "code.a", "source": source, "data": {}}).encode()
        await spine.publish(body, Idempotency_Key="once")
    assert (await query(spine))["total"] == 1


@pytest.mark.requirement("S-025", "S-055")
async def test_a_chain_is_in_order_with_who_reacted(spine: SpineSurface) -> None:
    subscription = {"eventTypes": ["lead.*"], "webhookUrl": "https://acme.example.com/", "secret": "whsec_xxxxxxxx"}
    made = await spine.request("POST", "/v1/events/subscriptions", json.dumps(subscription).encode())
    for kind in ("code.commit", "lead.scored", "contract.created"):
        await publish(spine, kind, correlationId="run-1")
    await publish(spine, "lead.other", correlationId="run-2")
    answer = await spine.request("GET", "/v1/events/correlations/run-1")
    assert answer.status == 200, answer.body
    chain = answer.json
    assert (chain["correlationId"], chain["complete"]) == ("run-1", True)
    assert [event["type"] for event in chain["events"]] == ["code.commit", "lead.scored", "contract.created"]
    queued = {"subscriptionId": made.json["subscriptionId"], "status": "queued", "attempts": 0}
    assert [event["deliveries"] for event in chain["events"]] == [[], [queued], []]


async def test_a_chain_that_is_too_large_for_one_answer_is_shown_from_its_newest(
    spine: SpineSurface, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correlations, "PAYLOAD_BYTES_MAX", 60)  # each has some 25
    for number in range(5):
        await publish(spine, f"code.n{number}", correlationId="c1")
    chain = (await spine.request("GET", "/v1/events/correlations/c1")).json
    assert [event["type"] for event in chain["events"]] == ["code.n3", "code.n4"] and not chain["complete"]


@pytest.mark.requirement("S-015")
async def test_payloads_that_retention_took_are_null(spine: SpineSurface) -> None:
    await publish(spine, "code.a")
    spine.log.records.clear()
    assert (await query(spine))["events"][0]["data"] is None


@pytest.mark.requirement("S9")
async def test_the_read_model_is_asked_by_its_indexes(spine: SpineSurface, tmp_path: Path) -> None:
    """No filter makes it look at every event of the installation."""
    for kind in KINDS:
        await publish(spine, kind)
    engine = writer_engine(f"sqlite:///{tmp_path / 'read-model.sqlite'}")
    asked: list[str] = []

    class Listening:
        dialect = engine.dialect

        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def execute(self, statement: Any, values: Any = None) -> Any:
            plan = self._connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"), values or {})
            asked.extend(row.detail for row in plan)
            return self._connection.execute(statement, values or {})

    with engine.connect() as connection:
        for chosen in (
            spine_pages.SpineFilter(),
            spine_pages.SpineFilter(patterns=("code.*",)),
            spine_pages.SpineFilter(source="x"),
            spine_pages.SpineFilter(correlation_id="x", from_ms=0, to_ms=2**41),
        ):
            spine_pages.spine_page(Listening(connection), "ws_a", "live", chosen, 0, 20)  # type: ignore[arg-type]
    engine.dispose()
    assert asked and not [detail for detail in asked if detail.startswith("SCAN events")]
