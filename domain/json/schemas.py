"""The part of JSON Schema (2020-12) that event types may use, and whether a change of one is backward compatible.

The keywords are a closed set: none runs a caller's regular expression, follows a reference or costs more than the data
is long, and for each it is decidable whether a change still accepts what was accepted before. `backward`: all that was
valid before is valid now, so that readers with the new schema can read old events.
"""

import operator
from collections.abc import Iterator
from typing import Any

DEPTH_MAX = 16
SCHEMA_BYTES_MAX = 32_768
TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
WORDS = frozenset({"$schema", "title", "description", "default", "examples", "deprecated", "format", "$comment"})
LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
KEYWORDS = WORDS | {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", *LOWER_BOUNDS),
    *UPPER_BOUNDS,
}
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})


def schema_errors(schema: object) -> list[tuple[str, str]]:
    """Path and message of what is wrong with a schema; it must be of an object at the top."""
    errors = list(_errors(schema, "", 1))
    if not errors and isinstance(schema, dict) and schema.get("type") != "object":
        errors.append(("type", 'The schema of an event\'s data has the type "object".'))
    return errors


def incompatibilities(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """What was valid under `old` and may not be under `new`, in words; empty where `new` is backward compatible."""
    return list(_narrower(old, new, path or "data"))


def _errors(schema: object, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if not isinstance(schema, dict):
        yield path, "Expected a schema, which is an object."
        return
    if depth > DEPTH_MAX:
        yield path, f"The schema is nested more than {DEPTH_MAX} levels deep."
        return
    for keyword, value in schema.items():
        where = f"{path}.{keyword}" if path else keyword
        if keyword not in KEYWORDS:
            yield where, "The keyword is not among those that can be used here."
        elif keyword not in WORDS:
            yield from _keyword_errors(keyword, value, where, depth)


def _keyword_errors(keyword: str, value: Any, where: str, depth: int) -> Iterator[tuple[str, str]]:
    match keyword:
        case "type":
            names = value if isinstance(value, list) else [value]
            if not names or not _texts(names) or any(name not in TYPES for name in names):
                yield where, f"Expected one or more of {', '.join(TYPES)}."
        case "properties":
            if not isinstance(value, dict):
                yield where, "Expected an object of schemas."
                return
            for name, inner in value.items():
                yield from _errors(inner, f"{where}.{name}", depth + 1)
        case "required":
            if not isinstance(value, list) or not _texts(value):
                yield where, "Expected an array of names."
        case "additionalProperties":
            if not isinstance(value, bool):
                yield where, "Expected true or false."
        case "items":
            yield from _errors(value, where, depth + 1)
        case "anyOf":
            if not isinstance(value, list) or not value:
                yield where, "Expected an array of schemas."
                return
            for index, inner in enumerate(value):
                yield from _errors(inner, f"{where}[{index}]", depth + 1)
        case "enum":
            if not isinstance(value, list) or not value:
                yield where, "Expected an array of values."
        case "const":
            return
        case _:
            is_count = keyword in _COUNTS
            if isinstance(value, bool) or not isinstance(value, int if is_count else (int, float)):
                yield where, "Expected a whole number." if is_count else "Expected a number."


def _texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _narrower(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    if old.get("anyOf") != new.get("anyOf") and "anyOf" in new:
        yield f"{path}: anyOf is new or another; only taking it away can be judged"
    yield from _narrower_types(old, new, path)
    yield from _narrower_values(old, new, path)
    yield from _narrower_bounds(old, new, path)
    yield from _narrower_objects(old, new, path)
    if "items" in new:
        if "items" not in old:
            yield f"{path}: items are restricted, which they were not"
        else:
            yield from _narrower(old["items"], new["items"], f"{path}[]")


def _types(schema: dict[str, Any]) -> set[str]:
    named = schema.get("type", list(TYPES))
    found = {named} if isinstance(named, str) else set(named)
    return found | {"integer"} if "number" in found else found


def _narrower_types(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    gone = _types(old) - _types(new)
    if gone:
        yield f"{path}: {', '.join(sorted(gone))} is taken no more"


def _narrower_values(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    allowed = _allowed(new)
    if allowed is None:
        return
    before = _allowed(old)
    if before is None:
        yield f"{path}: only some values are taken, where all were"
    elif any(value not in allowed for value in before):
        yield f"{path}: values were taken away"


def _allowed(schema: dict[str, Any]) -> list[Any] | None:
    """None: all. A boolean is not the number that Python takes it for."""
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    return None if values is None else [(type(value).__name__, value) for value in values]


def _narrower_bounds(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    for names, is_wider in ((LOWER_BOUNDS, operator.le), (UPPER_BOUNDS, operator.ge)):
        for name in names:
            if name in new and not (name in old and is_wider(new[name], old[name])):
                yield f"{path}: {name} is new or narrower"


def _narrower_objects(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    needed = sorted(set(new.get("required", ())) - set(old.get("required", ())))
    if needed:
        yield f"{path}: {', '.join(needed)} is required, which it was not"
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before.keys() & after.keys():
        yield from _narrower(before[name], after[name], f"{path}.{name}")
    if new.get("additionalProperties", True) is False:
        if old.get("additionalProperties", True) is not False:
            yield f"{path}: other properties are taken no more"
        gone = sorted(before.keys() - after.keys())
        if gone:
            yield f"{path}: {', '.join(gone)} is taken no more"
