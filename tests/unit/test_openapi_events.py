"""schemas/openapi/events.yaml is whole: every operation says who may use it, and every example fits its schema."""

from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from ingest_gateway.surfaces.documents.operations import resolved
from ingest_gateway.surfaces.events import errors
from ingest_gateway.surfaces.events.app import ROUTES
from ingest_gateway.surfaces.shared.contract import METHODS, ContractBroken, hold_to, load_document
from tests.support.events import ABSENT, an_event
from tests.support.openapi import breaches
from tests.traceability.error_codes import error_codes

DOCUMENT = load_document("events")
SCOPES = {f"{what}:{how}" for what in ("events", "streams", "workflows") for how in ("read", "write")} | {
    "admin",
    "audit:read",
}


@pytest.mark.requirement("A-077")
def test_a_failed_delivery_answers_no_request() -> None:
    """It is told by `event.failed` and the event's attempts, and so has no status of HTTP's."""
    assert "webhook_delivery_failed" not in error_codes()
    assert "webhook_delivery_failed" not in str(DOCUMENT["paths"])


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


@pytest.mark.parametrize(("name", "operation"), list(operations()))
def test_an_operation_says_who_may_use_it_and_how_often(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert len(operation["x-required-scopes"]) == 1
    assert set(operation["x-required-scopes"]) <= SCOPES
    assert operation["x-ratelimit-class"] in DOCUMENT["x-rate-limits"]
    assert {"401", "403", "429"} <= operation["responses"].keys()


@pytest.mark.requirement("A-022", "A-024", "A-039", "A-040", "A-047", "A-048", "A-049", "A-069")
@pytest.mark.parametrize(("where", "media"), list(contents()))
def test_an_example_fits_its_schema(where: str, media: dict[str, Any]) -> None:
    assert list(breaches(DOCUMENT, media["schema"], media["example"])) == []


def test_every_error_code_in_the_document_is_one_that_is_answered() -> None:
    known = set(error_codes()) | set(errors.CODES.values())
    shown = {
        media["example"]["error"]["code"]
        for _, media in contents()
        if isinstance(media["example"], dict) and "error" in media["example"]
    }
    assert shown <= known
    assert shown >= {"invalid_request", "authentication_failed", "rate_limit_exceeded", "duplicate_event"}


# The schema of an event and the rules in code agree: (change, fits)
@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"actor": ABSENT, "metadata": ABSENT}, True),
        ({"actor": None, "metadata": None}, True),
        ({"stream": "ab"}, False),
        ({"type": "a"}, False),
        ({"data": []}, False),
        ({"data": ABSENT}, False),
        ({"extra": 1}, False),
        ({"actor": {"type": "user"}}, False),
        ({"metadata": {"k": [1]}}, False),
        ({"metadata": {"a.b": 1}}, False),
        ({"metadata": {f"k{n}": n for n in range(21)}}, False),
    ],
)
def test_the_schema_of_an_event(change: dict[str, Any], fits: bool) -> None:
    schema = {"$ref": "#/components/schemas/NewEvent"}
    assert (not list(breaches(DOCUMENT, schema, an_event(**change)))) is fits


CREDENTIALS: dict[str, Any] = {
    "security": [{"key": []}],
    "components": {"securitySchemes": {"key": {"x-credentials": {"sk": ["a:b"]}}}},
}


class TestRoutesAreHeldToTheDocument:
    def test_they_agree(self) -> None:
        assert len(hold_to(DOCUMENT, ROUTES)) == len(ROUTES) == len(list(operations()))

    @pytest.mark.parametrize(
        ("document", "message"),
        [
            ({"operationId": "other", "x-required-scopes": ["a:b"]}, "POST /x is other in the document, not send"),
            ({"operationId": "send"}, "POST /x has no x-required-scopes"),
            ({"operationId": "send", "x-required-scopes": []}, "POST /x has no x-required-scopes"),
            ({"operationId": "send", "x-required-scopes": ["a:c"]}, "POST /x requires scopes that no credential has"),
            (
                {"operationId": "send", "x-required-scopes": ["a:b"], "security": [{"session": []}]},
                "POST /x requires scopes that no credential has",
            ),
            ({"operationId": "send", "x-required-scopes": ["a:b"]}, "POST /x has no x-ratelimit-class that there is"),
            (
                {"operationId": "send", "x-required-scopes": ["a:b"], "x-ratelimit-class": "often"},
                "POST /x has no x-ratelimit-class that there is",
            ),
        ],
    )
    def test_an_operation_that_differs_does_not_start(self, document: dict[str, Any], message: str) -> None:
        with pytest.raises(ContractBroken, match=message):
            hold_to({**CREDENTIALS, "paths": {"/x": {"post": document}}}, [web.post("/x", _handler, name="send")])

    def test_a_route_or_an_operation_of_its_own_does_not_start(self) -> None:
        operation = {
            "operationId": "look",
            "x-required-scopes": ["a:b"],
            "x-ratelimit-class": "events",
            "x-reach": "asked",
        }
        with pytest.raises(ContractBroken, match="GET /y has no route; POST /x is not in the document"):
            hold_to({**CREDENTIALS, "paths": {"/y": {"get": operation}}}, [web.post("/x", _handler, name="send")])


async def _handler(request: web.Request) -> web.Response:
    return web.Response()
