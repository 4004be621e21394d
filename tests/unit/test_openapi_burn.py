"""schemas/openapi/burn.yaml is whole: every operation says who may use it, every example fits, the policy's bounds are
the code's.
"""

from typing import Any

import jsonschema
import msgspec
import pytest

from ingest_gateway.surfaces.burn import errors
from ingest_gateway.surfaces.burn.app import ROUTES
from ingest_gateway.surfaces.shared.contract import METHODS, hold_to, load_document
from schemas.guardrail_policy import DEFAULT_POLICY, GuardrailPolicy, Layer

DOCUMENT = load_document("burn")
OPERATIONS = [
    (item[method]["operationId"], item[method])
    for item in DOCUMENT["paths"].values()
    for method in sorted(METHODS & item.keys())
]


def fits(schema: dict[str, Any], value: Any) -> bool:
    whole = schema | {"components": DOCUMENT["components"]}
    return jsonschema.Draft202012Validator(whole).is_valid(value)


def contents() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, operation in OPERATIONS:
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            found.append((f"{name} {kind}", media))
        for status, response in operation["responses"].items():
            if "$ref" in response:
                response = DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
            found += [(f"{name} {status} {kind}", media) for kind, media in response.get("content", {}).items()]
    return found


def test_routes_and_document_agree() -> None:
    assert len(hold_to(DOCUMENT, ROUTES)) == len(ROUTES) == len(OPERATIONS)


@pytest.mark.parametrize(("name", "operation"), OPERATIONS)
def test_an_operation_says_who_may_use_it_and_how_often(name: str, operation: dict[str, Any]) -> None:
    assert operation["summary"]
    assert operation["x-required-scopes"] in (["burn:read"], ["burn:write"])
    assert operation["x-ratelimit-class"] in DOCUMENT["x-rate-limits"]
    assert {"401", "403", "429"} <= operation["responses"].keys()


@pytest.mark.requirement("B-004", "B-015", "B-019", "B-024", "B-025")
@pytest.mark.parametrize(("where", "media"), contents())
def test_an_example_fits_its_schema(where: str, media: dict[str, Any]) -> None:
    assert fits(media["schema"], media["example"])


def test_every_error_code_in_the_document_is_one_that_is_answered() -> None:
    known = {*errors.CODES.values(), "read_model_behind", "budget_exceeded"}
    shown = {media["example"]["error"]["code"] for _, media in contents() if "error" in media["example"]}
    assert shown <= known


# The policy's schema and its form in code agree: (policy, fits)
@pytest.mark.requirement("B-081")
@pytest.mark.parametrize(
    ("policy", "is_one"),
    [
        ({}, True),
        (msgspec.to_builtins(DEFAULT_POLICY), True),
        ({"burst": {"per_minute": 10}}, True),
        ({"financial_limits": {"caps": [{"period": "day", "hard_usd": 5}]}}, True),
        ({"burst": {"per_minute": 0}}, False),
        ({"burst": {"per_minutes": 10}}, False),
        ({"brust": {}}, False),
        ({"dumb_loop": {"repeats": 1}}, False),
        *(({"dumb_loop": {"mode": mode}}, True) for mode in ("off", "warn", "enforce")),
        ({"dumb_loop": {"mode": "kill"}}, False),
        ({"smart_loop": {"fit_min": 1.1}}, False),
        ({"premium_concentration": {"spend_usd_min": 0}}, False),
        ({"financial_limits": {"caps": [{"period": "year", "hard_usd": 5}]}}, False),
        ({"financial_limits": {"caps": [{"period": "day", "hard_usd": -5}]}}, False),
        ({"ttl_seconds": -1}, False),
        ({"ttl_seconds": 10**12}, False),
        ({"budget_mode": "loose"}, False),
    ],
)
def test_the_schema_of_a_policy(policy: dict[str, Any], is_one: bool) -> None:
    schema = {"$ref": "#/components/schemas/Policy"}
    assert fits(schema, policy) is is_one
    try:
        msgspec.convert(policy, GuardrailPolicy)
    except msgspec.ValidationError:
        assert not is_one
    else:
        assert is_one


def test_every_layer_is_in_the_document() -> None:
    assert DOCUMENT["components"]["schemas"]["Layer"]["enum"] == list(Layer)
    assert {"mode"} <= DOCUMENT["components"]["schemas"]["Policy"]["properties"]["burst"]["properties"].keys()
