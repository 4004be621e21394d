"""What holds for every operation of the events surface: scopes, error bodies, answers that fit the document."""

import re
from typing import Any

import pytest

from ingest_gateway.surfaces.contract import load_document, operations_of
from schemas.ids import is_id
from tests.support.events import a_body
from tests.support.events_surface import Surface
from tests.support.openapi import breaches

DOCUMENT = load_document("events")
OPERATIONS = operations_of(DOCUMENT)
SENDING = {("POST", "/v1/events"), ("POST", "/v1/events/batch")}
ALL_SCOPES = {scope for operation in OPERATIONS.values() for scope in operation.scopes or ()}


IDS = {
    "stream": "orders-prod",
    "workflow": "wf_billing",
    "event_id": "evt_01JVHQJ8WRD5X7K2M9P4T6V0BN",
    "key": "key_01JVHQJ8WRD5X7K2M9P4T6V0BN",
}


def address(path: str) -> str:
    """The path with ids in it, of things that may not be there."""
    return re.sub(r"\{(\w+)\}", lambda place: IDS.get(place[1], "unknown_01JVHQJ8WRD5X7K2M9P4T6V0BN"), path)


def schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.requirement("A-006", "A-013")
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_every_operation_needs_a_key(surface: Surface, method: str, path: str) -> None:
    answer = await surface.request(method, address(path), key=None)
    assert (answer.status, answer.code) == (401, "authentication_failed")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_every_operation_needs_its_scope_and_no_other(surface: Surface, method: str, path: str) -> None:
    """What follows the scope differs (400, 404, 503 here), and is none of this test's business."""
    needed = set(OPERATIONS[method, path].scopes or ())
    surface.add_key("with", scopes=needed)
    surface.add_key("without", scopes=ALL_SCOPES - needed)
    refused = await surface.request(method, address(path), b"{}", key="without")
    assert (refused.status, refused.code) == (403, "forbidden")
    assert (await surface.request(method, address(path), b"{}", key="with")).status not in (401, 403, 500)


@pytest.mark.requirement("A-012")
@pytest.mark.parametrize(
    ("method", "path"), [place for place in OPERATIONS if OPERATIONS[place].scopes != ("events:write",)]
)
async def test_a_publishable_key_may_only_send(surface: Surface, method: str, path: str) -> None:
    answer = await surface.request(method, address(path), b"{}", key="publishable")
    assert (answer.status, answer.code) == (403, "forbidden")


# (method, path, headers, body, status, code)
FAULTS: list[tuple[str, str, dict[str, str], bytes | None, int, str]] = [
    ("GET", "/nowhere", {}, None, 404, "not_found"),
    ("GET", "/v1/events/a/b", {}, None, 404, "not_found"),
    ("PUT", "/v1/events/batch", {}, b"{}", 405, "method_not_allowed"),
    ("DELETE", "/v1/events", {}, None, 405, "method_not_allowed"),
    ("POST", "/v1/events", {"Content_Encoding": "zstd9"}, b"{}", 415, "unsupported_media_type"),
    ("POST", "/v1/events", {"Content_Encoding": "gzip"}, b"{}", 400, "invalid_request"),
    ("POST", "/v1/events", {"Host": "a b"}, b"{}", 400, "invalid_request"),
    ("POST", "/v1/events", {}, b"{", 400, "invalid_request"),
    ("POST", "/v1/events", {}, a_body(stream="nowhere"), 404, "stream_not_found"),
    ("POST", "/v1/events", {}, b" " * 1_048_577, 413, "payload_too_large"),
]


@pytest.mark.requirement("A-069", "A-070", "A-071", "H16", "H18", "H21")
@pytest.mark.parametrize(("method", "path", "headers", "body", "status", "code"), FAULTS)
async def test_errors_are_the_documents_error(
    surface: Surface, method: str, path: str, headers: dict[str, str], body: bytes | None, status: int, code: str
) -> None:
    answer = await surface.request(method, path, body, **headers)
    assert (answer.status, answer.code) == (status, code)
    assert list(breaches(DOCUMENT, schema("Error"), answer.json)) == []
    error = answer.json["error"]
    assert is_id(error["request_id"], "req_")
    assert answer.headers["X-Request-Id"] == error["request_id"]
    assert ("Allow" in answer.headers) is (status == 405)


@pytest.mark.requirement("A-039", "A-069", "A-072")
async def test_answers_fit_the_document(surface: Surface) -> None:
    conflict = a_body(idempotency_key="k", type="other.type")
    items = b",".join([a_body(idempotency_key="k"), conflict, b"7", a_body(stream="nowhere"), a_body()])
    batch = await surface.publish_batch(b'{"events":[%b]}' % items)
    # (answer, status, schema)
    rows = [
        (await surface.publish(a_body()), 202, "AcceptedEvent"),
        (await surface.publish(a_body(), "k"), 202, "AcceptedEvent"),
        (await surface.publish(a_body(type="other.type"), "k"), 409, "Error"),
        (await surface.publish(a_body(type="x", more=1)), 400, "Error"),
        (batch, 200, "BatchResult"),
    ]
    for answer, status, name in rows:
        assert answer.status == status
        assert list(breaches(DOCUMENT, schema(name), answer.json)) == []
