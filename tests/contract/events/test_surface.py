"""What holds for every operation of the events surface: error bodies and answers that fit the document."""

from typing import Any

import pytest

from ingest_gateway.surfaces.shared.contract import load_document
from schemas.ids import is_id
from tests.support.events import a_body
from tests.support.events_surface import Surface
from tests.support.openapi import breaches

DOCUMENT = load_document("events")


def schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


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
