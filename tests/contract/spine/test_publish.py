"""`POST /v1/events` of the spine: the document's answer, its errors, idempotency, organizations."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingest_gateway.log.event_log import LogUnavailable
from schemas.codec import EVENT
from schemas.ids import EVENT as EVENT_PREFIX
from schemas.ids import is_id
from tests.support.spine_surface import ORG, WORKSPACE, SpineSurface, spine_surface

EVENT_BODY: dict[str, Any] = {
    "type": "code.analysis.complete",
    "source": "github.action",
    "data": {"applicationId": "app_abc123", "repository": "my-app", "score": 72, "issueCount": 14},
    "metadata": {"correlationId": "run-gh-001"},
}
ABSENT = object()


def body(**changes: Any) -> bytes:
    event = {**EVENT_BODY, **changes}
    return json.dumps({name: value for name, value in event.items() if value is not ABSENT}).encode()


@pytest.mark.requirement("S-004", "S-009", "S-010", "S-011", "S-013", "S-056", "W-042")
async def test_an_event_is_published_and_its_answer_is_the_documents(spine: SpineSurface) -> None:
    answer = await spine.publish(body())
    assert answer.status == 201
    assert is_id(answer.json["eventId"], EVENT_PREFIX)
    assert answer.json | {"eventId": "", "timestamp": ""} == {
        "eventId": "",
        "type": "code.analysis.complete",
        "timestamp": "",
        "status": "published",
        "workflowsTriggered": 0,
    }
    stored = EVENT.decode(spine.log.records[0].value)
    assert stored["occurred_at"] == answer.json["timestamp"]
    assert json.loads(stored["data"]) == EVENT_BODY["data"]
    assert spine.log.records[0].appended.topic == f"events.{WORKSPACE}.live.spine"


@pytest.mark.requirement("S-010", "S-016", "S-031")
async def test_workflows_triggered_counts_what_the_event_really_matched(spine: SpineSurface) -> None:
    for patterns in (["code.*"], ["*.complete", "lead.*"], ["lead.*"]):
        subscription = {"eventTypes": patterns, "webhookUrl": "https://acme.example.com/", "secret": "whsec_xxxxxxxx"}
        made = await spine.request("POST", "/v1/events/subscriptions", json.dumps(subscription).encode())
        assert made.status == 201, made.body
    assert (await spine.publish(body())).json["workflowsTriggered"] == 2
    assert (await spine.publish(body(type="lead.scored"))).json["workflowsTriggered"] == 2
    assert (await spine.publish(body(type="contract.created"))).json["workflowsTriggered"] == 0
    assert (await spine.publish(body(), key="test")).json["workflowsTriggered"] == 0, "another environment"
    assert (await spine.publish(body(), key="other")).json["workflowsTriggered"] == 0, "another org"
    assert len(spine.deliveries) == 4


@pytest.mark.requirement("S-014")
async def test_without_a_key_each_publish_is_an_event_of_its_own(spine: SpineSurface) -> None:
    ids = {(await spine.publish(body())).json["eventId"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.requirement("S-014", "X-01", "X-04")
async def test_a_key_means_one_event(spine: SpineSurface) -> None:
    first = await spine.publish(body(), Idempotency_Key="once")
    again = await spine.publish(body(), Idempotency_Key="once")
    assert first.status == again.status == 201 and first.json == again.json
    assert "Atlas-Decision" not in first.headers and again.headers["Atlas-Decision"] == "replay"
    other = await spine.publish(body(source="elsewhere"), Idempotency_Key="once")
    assert (other.status, other.code) == (409, "duplicate_event")
    assert (await spine.publish(body(), Idempotency_Key="once", key="test")).json["eventId"] != first.json["eventId"]


BAD_TYPES: tuple[Any, ...] = (
    *("a", "A.b", ".a", "a.", "a..b", "a." + "b" * 10_240, "a.🎉", "a b.c", "a.*", "a.b\n", 7, []),
)
FAULTS: list[tuple[Any, int, str, str | None]] = [
    ({"type": ABSENT}, 400, "missing_required_field", "type"),
    ({"type": None}, 400, "missing_required_field", "type"),
    ({"source": ABSENT}, 400, "missing_required_field", "source"),
    ({"data": ABSENT}, 400, "missing_required_field", "data"),
    ({"type": "A.b", "data": ABSENT}, 400, "missing_required_field", "data"),
    *(({"type": kind}, 400, "invalid_event_type", "type") for kind in BAD_TYPES),
    ({"type": ".".join("a" * 17)}, 400, "invalid_event_type", "type"),
    ({"source": ""}, 400, "invalid_request", "source"),
    ({"source": 7}, 400, "invalid_request", "source"),
    ({"source": "a\nb"}, 400, "invalid_request", "source"),
    ({"data": []}, 400, "invalid_request", "data"),
    ({"data": "x"}, 400, "invalid_request", "data"),
    ({"metadata": []}, 400, "invalid_request", "metadata"),
    ({"metadata": {"tags": "x"}}, 400, "invalid_request", "metadata.tags"),
    ({"metadata": {"other": 1}}, 400, "invalid_request", "metadata.other"),
    ({"metadata": {f"k{n}": "v" for n in range(21)}}, 400, "invalid_request", "metadata"),
    ({"extra": 1}, 400, "invalid_request", "extra"),
]


@pytest.mark.requirement("S3", "S-005", "S-006", "S-007", "S-008", "S-047", "S-048", "S-049")
@pytest.mark.parametrize(("change", "status", "code", "field"), FAULTS)
async def test_a_fault_is_told_with_its_code_and_field(
    spine: SpineSurface, change: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    answer = await spine.publish(body(**change))
    assert (answer.status, answer.json["error"].keys()) == (status, {"code", "message", "field"})
    assert (answer.code, answer.json["error"]["field"]) == (code, field)
    assert not spine.log.records


@pytest.mark.requirement("S-048")
async def test_the_documents_example_of_an_error(spine: SpineSurface) -> None:
    assert (await spine.publish(body(type="code"))).json == {
        "error": {
            "code": "invalid_event_type",
            "message": "Event type must follow dot notation (e.g., 'code.analysis.complete')",
            "field": "type",
        }
    }


@pytest.mark.requirement("S-024", "X-12", "X-37")
@pytest.mark.parametrize(
    ("org", "status"), [(ORG, 201), (WORKSPACE, 201), (None, 201), ("org_xyz", 403), ("", 403), ("org_", 403)]
)
async def test_an_event_is_of_its_keys_own_org(spine: SpineSurface, org: str | None, status: int) -> None:
    answer = await spine.publish(body(metadata={"orgId": org, "userId": "u1"}))
    assert answer.status == status
    if status == 403:
        assert answer.json["error"] | {"message": ""} == {"code": "forbidden", "message": "", "field": "metadata.orgId"}
    else:
        assert json.loads(EVENT.decode(spine.log.records[0].value)["metadata"]) == {"userId": "u1"}


@pytest.mark.requirement("S-050", "X-05")
async def test_a_body_of_1_mib_is_the_largest(spine: SpineSurface) -> None:
    spare = 1_048_576 - len(body(data={"text": ""}))
    fits = await spine.publish(body(data={"text": "x" * spare}))
    assert fits.status == 201
    too_large = await spine.publish(body(data={"text": "x" * (spare + 1)}))
    assert (too_large.status, too_large.code) == (413, "payload_too_large")


@pytest.mark.requirement("S-003", "S-051", "S-052", "S-058", "A2")
@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        (None, 401, "unauthorized"),
        ("events", 401, "unauthorized"),
        ("reader", 403, "forbidden"),
        ("publisher", 201, None),
        ("admin", 201, None),
    ],
)
async def test_who_may_publish(spine: SpineSurface, key: str | None, status: int, code: str | None) -> None:
    answer = await spine.publish(body(), key=key)
    assert answer.status == status
    assert code is None or answer.code == code


@pytest.mark.requirement("S-010")
async def test_a_late_verdict_is_answered_with_what_the_gateway_sees(tmp_path: Path) -> None:
    async with spine_surface(tmp_path, verdict_timeout_seconds=0.3) as spine:
        subscription = {"eventTypes": ["*"], "webhookUrl": "https://acme.example.com/", "secret": "whsec_xxxxxxxx"}
        await spine.request("POST", "/v1/events/subscriptions", json.dumps(subscription).encode())
        await spine.publish(body())
        spine.log.answers = False
        answer = await spine.publish(body())
        assert (answer.status, answer.json["workflowsTriggered"]) == (201, 1)
        assert answer.headers["Atlas-Decision"] == "pending"


@pytest.mark.requirement("F5")
async def test_what_is_not_stored_is_not_answered_as_published(spine: SpineSurface) -> None:
    await spine.publish(body())
    spine.log.refuses = LogUnavailable("the broker is away")
    answer = await spine.publish(body())
    assert (answer.status, answer.code) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


async def test_a_spine_that_cant_be_made_ready_says_so(spine: SpineSurface) -> None:
    spine.commands.refuses = LogUnavailable("the control process is away")
    answer = await spine.publish(body())
    assert (answer.status, answer.code) == (503, "unavailable")
    assert not spine.log.records


@pytest.mark.requirement("S-001")
async def test_the_stream_is_made_once_and_with_the_first_event(spine: SpineSurface) -> None:
    for _ in range(3):
        assert (await spine.publish(body())).status == 201
    kinds = [command.kind for command in spine.commands.commands]
    assert kinds.count("stream.create") == 1
