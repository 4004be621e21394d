"""`/v1/event-types`: the platforms' types, the org's own, versions that stay compatible, and the strict catalog."""

import json
from pathlib import Path
from typing import Any

import pytest

from domain.events.catalog import CATALOG
from tests.support.events_surface import Answer
from tests.support.spine_surface import SpineSurface, spine_surface

INVOICE: dict[str, Any] = {
    "type": "object",
    "required": ["invoiceId"],
    "properties": {"invoiceId": {"type": "string"}, "cents": {"type": "integer", "minimum": 0}},
}


async def register(spine: SpineSurface, schema: Any, kind: str = "invoice.paid", **more: Any) -> Answer:
    how = {name: more.pop(name) for name in ("key",) if name in more}
    body = json.dumps({"schema": schema, **more}).encode()
    return await spine.request("PUT", f"/v1/event-types/{kind}", body, **how)


async def publish(spine: SpineSurface, kind: str, data: Any) -> Answer:
    return await spine.publish(json.dumps({"type": kind, "source": "tests", "data": data}).encode())


@pytest.mark.requirement("S-039", "S-040", "S-041")
async def test_the_platforms_types_are_the_documents(spine: SpineSurface) -> None:
    shown = (await spine.request("GET", "/v1/event-types")).json["eventTypes"]
    assert [one["type"] for one in shown] == list(CATALOG)
    by_type = {one["type"]: one for one in shown}
    assert by_type["readiness.scored"] == {
        "type": "readiness.scored",
        "platform": "MeshOS",
        "description": "Readiness assessment complete",
        "version": None,
        "schema": None,
    }
    assert by_type["code.analysis.complete"]["schema"]["properties"].keys() == {
        *("applicationId", "repository", "score", "issueCount"),
    }


@pytest.mark.requirement("S-042")
async def test_a_type_is_registered_and_its_versions_stay_compatible(spine: SpineSurface) -> None:
    first = await register(spine, INVOICE, description="An invoice was paid")
    assert (first.status, first.json["version"], first.json["platform"]) == (201, 1, None)
    same = await register(spine, INVOICE)
    assert (same.status, same.json) == (200, first.json)
    narrower = await register(spine, INVOICE | {"required": ["invoiceId", "cents"]})
    assert (narrower.status, narrower.code, narrower.json["error"]["field"]) == (409, "incompatible_schema", "schema")
    assert "cents is required" in narrower.json["error"]["message"]
    wider = {**INVOICE, "required": [], "properties": {**INVOICE["properties"], "currency": {"type": "string"}}}
    assert (await register(spine, wider)).json["version"] == 2
    shown = (await spine.request("GET", "/v1/event-types/invoice.paid")).json
    assert [one["version"] for one in shown["versions"]] == [1, 2]
    assert (shown["schema"], shown["description"]) == (wider, "An invoice was paid")


@pytest.mark.requirement("S-042")
async def test_a_platforms_type_can_be_widened_and_not_narrowed(spine: SpineSurface) -> None:
    theirs = CATALOG["code.analysis.complete"].schema
    assert theirs is not None
    assert (await register(spine, theirs | {"required": ["score"]}, "code.analysis.complete")).status == 409
    wider = await register(spine, theirs | {"properties": {}}, "code.analysis.complete")
    assert (wider.status, wider.json["version"], wider.json["platform"]) == (201, 2, "MeshOS")


async def test_each_org_and_environment_has_its_own(spine: SpineSurface) -> None:
    assert (await register(spine, INVOICE)).status == 201
    for key in ("other", "test"):
        unknown = await spine.request("GET", "/v1/event-types/invoice.paid", key=key)
        assert (unknown.status, unknown.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("kind", "body", "code", "field"),
    [
        ("Invoice", {"schema": INVOICE}, "invalid_event_type", "type"),
        ("a.b", {}, "invalid_request", "schema"),
        ("a.b", {"schema": []}, "invalid_request", "schema"),
        ("a.b", {"schema": INVOICE | {"pattern": "(a+)+$"}}, "invalid_request", "schema.pattern"),
        ("a.b", {"schema": INVOICE, "more": 1}, "invalid_request", "more"),
        ("a.b", {"schema": INVOICE | {"description": "x" * 40_000}}, "invalid_request", "schema"),
    ],
)
async def test_what_is_no_registration(spine: SpineSurface, kind: str, body: Any, code: str, field: str) -> None:
    answer = await spine.request("PUT", f"/v1/event-types/{kind}", json.dumps(body).encode())
    assert (answer.status, answer.code, answer.json["error"]["field"]) == (400, code, field)


@pytest.mark.requirement("S-052")
async def test_registering_is_the_admins(spine: SpineSurface) -> None:
    assert (await register(spine, INVOICE, key="publisher")).status == 403
    assert (await register(spine, INVOICE, key="admin")).status == 201


@pytest.mark.requirement("S-042")
async def test_an_open_catalog_takes_every_type_and_all_data(spine: SpineSurface) -> None:
    assert (await publish(spine, "anything.goes", {})).status == 201
    assert (await publish(spine, "code.analysis.complete", {"score": "high"})).status == 201


@pytest.mark.requirement("S-042", "S-048")
async def test_a_strict_catalog_takes_known_types_and_what_fits_them(tmp_path: Path) -> None:
    async with spine_surface(tmp_path, catalog="strict") as spine:
        unknown = await publish(spine, "invoice.paid", {})
        assert (unknown.status, unknown.code) == (400, "invalid_event_type")
        await register(spine, INVOICE)
        bad = await publish(spine, "invoice.paid", {"invoiceId": "1", "cents": -1})
        assert (bad.status, bad.code, bad.json["error"]["field"]) == (400, "invalid_request", "data.cents")
        assert (await publish(spine, "invoice.paid", {"cents": 1})).json["error"]["field"] == "data"
        assert (await publish(spine, "invoice.paid", {"invoiceId": "1"})).status == 201
        assert (await publish(spine, "code.analysis.complete", {"score": "high"})).status == 400
        assert (await publish(spine, "readiness.scored", {"anything": 1})).status == 201
        assert (await spine.publish(b'{"type":"invoice.paid","source":"x","data":{}}', key="test")).status == 400
