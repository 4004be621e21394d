"""Holds values to the schemas of an OpenAPI 3.1 document: the part of JSON Schema that our documents use, and no more.

A keyword that is not known here raises, so that no document grows past what its tests check.
"""

import re
from collections.abc import Iterator
from typing import Any

from ingest_gateway.surfaces.documents.operations import resolved

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_WORDS_ONLY = frozenset({"description", "default", "format", "example", "title"})


def breaches(document: dict[str, Any], schema: dict[str, Any], value: Any, path: str = "$") -> Iterator[str]:
    """Where the value differs from the schema, in words; nothing when it fits."""
    for keyword, bound in schema.items():
        if keyword in _WORDS_ONLY:
            continue
        check = _CHECKS.get(keyword)
        if check is None:
            raise NotImplementedError(f"the keyword {keyword} at {path}")
        yield from check(document, schema, bound, value, path)


def _ref(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    yield from breaches(document, resolved(document, {"$ref": bound}), value, path)


def _type(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    names = [bound] if isinstance(bound, str) else bound
    if isinstance(value, bool):
        fits = "boolean" in names
    else:
        fits = any(isinstance(value, _TYPES[name]) for name in names)
    if not fits:
        yield f"{path}: {value!r} is not {bound}"


def _properties(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in bound.keys() & value.keys():
            yield from breaches(document, bound[name], value[name], f"{path}.{name}")


def _additional(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value.keys() - schema.get("properties", {}).keys():
            if bound is False:
                yield f"{path}.{name} is not in the schema"
            else:
                yield from breaches(document, bound, value[name], f"{path}.{name}")


def _required(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{path}.{name} is missing" for name in bound if name not in value)


def _items(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from breaches(document, bound, item, f"{path}[{index}]")


def _names(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value:
            yield from breaches(document, bound, name, f"{path}.{name}")


def _all_of(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    for part in bound:
        yield from breaches(document, part, value, path)


def _any_of(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
    if not any(not list(breaches(document, part, value, path)) for part in bound):
        yield f"{path}: {value!r} fits none of the forms"


def _simple(kind: type | tuple[type, ...], fits: Any) -> Any:
    def check(document: Any, schema: Any, bound: Any, value: Any, path: str) -> Iterator[str]:
        if isinstance(value, kind) and not fits(value, bound):
            yield f"{path}: {value!r} against {bound!r}"

    return check


_CHECKS: dict[str, Any] = {
    "$ref": _ref,
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "propertyNames": _names,
    "allOf": _all_of,
    "anyOf": _any_of,
    "const": _simple(object, lambda value, bound: value == bound),
    "enum": _simple(object, lambda value, bound: value in bound),
    "pattern": _simple(str, lambda value, bound: re.search(bound, value) is not None),
    "minLength": _simple(str, lambda value, bound: len(value) >= bound),
    "maxLength": _simple(str, lambda value, bound: len(value) <= bound),
    "minimum": _simple((int, float), lambda value, bound: value >= bound),
    "maximum": _simple((int, float), lambda value, bound: value <= bound),
    "minItems": _simple(list, lambda value, bound: len(value) >= bound),
    "maxItems": _simple(list, lambda value, bound: len(value) <= bound),
    "maxProperties": _simple(dict, lambda value, bound: len(value) <= bound),
    "uniqueItems": _simple(list, lambda value, bound: len({str(item) for item in value}) == len(value)),
}
