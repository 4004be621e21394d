"""Schemas of event types: the keywords that can be used, and which changes are backward compatible."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from domain.events.catalog import CATALOG
from domain.json.schemas import incompatibilities, schema_errors


def an_object(**more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0}}, "required": ["a"], **more}


@pytest.mark.requirement("S-042")
@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ([], ""),
        ({}, "type"),
        ({"type": "array"}, "type"),
        ({"type": "objekt"}, "type"),
        ({"type": []}, "type"),
        (an_object(pattern="(a+)+$"), "pattern"),
        (an_object(patternProperties={}), "patternProperties"),
        (an_object(properties={"a": {"$ref": "http://elsewhere/"}}), "properties.a.$ref"),
        (an_object(uniqueItems=True), "uniqueItems"),
        (an_object(required="a"), "required"),
        (an_object(additionalProperties={}), "additionalProperties"),
        (an_object(properties={"a": {"minLength": "1"}}), "properties.a.minLength"),
        (an_object(enum=[]), "enum"),
        (an_object(anyOf=[]), "anyOf"),
        (an_object(properties={"a": {"items": 1}}), "properties.a.items"),
    ],
)
def test_what_is_no_schema_here(schema: Any, path: str) -> None:
    assert [fault[0] for fault in schema_errors(schema)] == [path]


@pytest.mark.requirement("S-039", "S-040", "S-041")
def test_the_platforms_own_schemas_are_some() -> None:
    assert len(CATALOG) == 8 + 8 + 7
    for known in CATALOG.values():
        assert known.schema is None or schema_errors(known.schema) == []
        if known.schema is not None:
            Draft202012Validator.check_schema(known.schema)


def test_a_schema_of_any_depth_is_judged() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(20):
        deep = {"type": "object", "properties": {"a": deep}}
    assert any("levels" in message for _, message in schema_errors(deep))


# A change of an_object(), and whether what fitted before fits now.
@pytest.mark.requirement("S-042")
@pytest.mark.parametrize(
    ("change", "is_compatible"),
    [
        ({}, True),
        ({"description": "words"}, True),
        ({"required": []}, True),
        ({"properties": {"a": {"type": "integer", "minimum": 0}, "b": {"type": "string"}}}, True),
        ({"properties": {"a": {"type": "number", "minimum": -1}}}, True),
        ({"properties": {"a": {"type": ["integer", "null"]}}}, True),
        ({"properties": {}}, True),
        ({"required": ["a", "b"]}, False),
        ({"properties": {"a": {"type": "integer", "minimum": 1}}}, False),
        ({"properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}}, False),
        ({"properties": {"a": {"type": "string"}}}, False),
        ({"properties": {"a": {"enum": [1, 2]}}}, False),
        ({"additionalProperties": False}, False),
        ({"type": "array"}, False),
        ({"anyOf": [{"type": "object"}]}, False),
    ],
)
def test_a_change_is_backward_compatible_or_not(change: dict[str, Any], is_compatible: bool) -> None:
    assert (incompatibilities(an_object(), an_object(**change)) == []) is is_compatible


LEAVES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", ["string", "null"], "boolean"]),
        "minimum": st.integers(-2, 2),
        "maximum": st.integers(-2, 2),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "enum": st.lists(st.sampled_from([0, 1, "a", True, None]), min_size=1, max_size=3),
    },
)
OBJECTS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.fixed_dictionaries({}, optional={"a": LEAVES, "b": LEAVES})},
    optional={
        "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
        "additionalProperties": st.booleans(),
    },
)
VALUES = st.sampled_from([0, 1, -2, 1.5, "", "a", "aaa", True, False, None])


@given(OBJECTS, OBJECTS, st.dictionaries(st.sampled_from(["a", "b"]), VALUES))
def test_what_is_called_compatible_is(old: dict[str, Any], new: dict[str, Any], data: dict[str, Any]) -> None:
    """But for a property that the old schema left open: it is taken to be new with the new schema."""
    if not incompatibilities(old, new) and data.keys() <= old["properties"].keys() and _fits(old, data):
        assert _fits(new, data)


def _fits(schema: dict[str, Any], data: dict[str, Any]) -> bool:
    return bool(Draft202012Validator(schema).is_valid(data))
