"""schemas/openapi/spine.yaml is whole: every operation says who may use it, and every example fits its schema."""

from collections.abc import Iterator
from typing import Any

import pytest

from domain.entities.patterns import is_pattern
from domain.events.spine_events import is_type
from ingest_gateway.surfaces.documents.operations import resolved
from ingest_gateway.surfaces.shared.contract import METHODS, hold_to, load_document
from ingest_gateway.surfaces.spine import errors
from ingest_gateway.surfaces.spine.app import ROUTES
from tests.support.openapi import breaches
from tests.traceability.error_codes import error_codes

DOCUMENT = load_document("spine")
SCOPES = {"events:read", "events:write", "subscriptions:write", "admin"}
RATE_HEADERS = {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for item in DOCUMENT["paths"].values():
        for method in sorted(METHODS & item.keys()):
            yield item[method]["operationId"], item[method]


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body that the document shows: where, and its media type object."""
    for name, operation in operations():
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} {kind}", media
        for status, response in operation["responses"].items():
            for media in resolved(DOCUMENT, response).get("content", {}).values():
                yield f"{name} {status}", media


@pytest.mark.requirement("S-046", "S-052")
@pytest.mark.parametrize(("name", "operation"), list(operations()))
def test_an_operation_says_who_may_use_it_and_how_often(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert len(operation["x-required-scopes"]) == 1 and set(operation["x-required-scopes"]) <= SCOPES
    assert operation["x-ratelimit-class"] in DOCUMENT["x-rate-limits"]
    assert {"401", "403", "429"} <= operation["responses"].keys()
    for response in operation["responses"].values():
        assert resolved(DOCUMENT, response)["headers"].keys() >= RATE_HEADERS


@pytest.mark.requirement("S-009", "S-022", "S-047", "S-048")
@pytest.mark.parametrize(("where", "media"), list(contents()))
def test_an_example_fits_its_schema(where: str, media: dict[str, Any]) -> None:
    assert list(breaches(DOCUMENT, media["schema"], media["example"])) == []


def test_the_routes_are_the_documents_operations() -> None:
    assert len(hold_to(DOCUMENT, ROUTES)) == len(ROUTES) == len(list(operations()))


def test_every_error_code_in_the_document_is_one_that_is_answered() -> None:
    known = set(error_codes()) | set(errors.CODES.values())
    shown = {
        media["example"]["error"]["code"]
        for _, media in contents()
        if isinstance(media["example"], dict) and "error" in media["example"]
    }
    assert shown <= known
    assert shown >= {
        *("invalid_event_type", "unauthorized", "forbidden", "rate_limit_exceeded", "payload_too_large"),
        *("duplicate_event", "subscription_limit_reached", "invalid_webhook_url", "incompatible_schema"),
    }


@pytest.mark.requirement("S-005", "S-016", "S-038", "S3")
@pytest.mark.parametrize(
    "text", ["code.analysis.complete", "scaling.node-added", "a", "A.b", "a..b", ".a", "a b.c", "*", "code.*", "a.**"]
)
def test_types_and_patterns_are_the_same_in_document_and_code(text: str) -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert (not list(breaches(DOCUMENT, schemas["EventType"], text))) is is_type(text)
    assert (not list(breaches(DOCUMENT, schemas["Pattern"], text))) is is_pattern(text)
