"""What each OpenAPI document promises its clients, a line a promise, in promises.txt; `make docs` writes them.

| line | broken when |
|---|---|
| `events POST /v1/events takes stream` | it is gone: clients that send it are refused |
| `events POST /v1/events needs stream` | it is new: clients that don't send it are refused |
| `events POST /v1/events 202 tells id` | it is gone: clients that read it find nothing |

A break raises the document's `info.version` (W-009); without that they are not written anew.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest_gateway.surfaces.documents.operations import Operation, operations_of, resolved
from ingest_gateway.surfaces.shared.contract import load_document

WRITTEN = Path(__file__).with_name("promises.txt")
SURFACES = ("events", "work", "spine", "burn")


def promises_of(surface: str, document: dict[str, Any]) -> list[str]:
    version = f"{surface} version {document['info']['version']}"
    lines = {line for one in operations_of(document) for line in _of_operation(document, one)}
    return [version, *sorted(f"{surface} {line}" for line in lines)]


def broken(before: list[str], after: list[str]) -> list[str]:
    """Lines of promises that are not kept. None where the version was raised."""
    if before[0] != after[0]:
        return []
    gone = [line for line in before if " needs " not in line and line not in after]
    known = {_operation(line) for line in before}
    return gone + [line for line in after if " needs " in line and line not in before and _operation(line) in known]


def kept(surface: str) -> list[str]:
    """The lines that are written."""
    return [line for line in WRITTEN.read_text(encoding="utf-8").splitlines() if line.startswith(f"{surface} ")]


def _operation(line: str) -> tuple[str, ...]:
    return tuple(line.split()[1:3])


def _of_operation(document: dict[str, Any], one: Operation) -> Iterator[str]:
    name = f"{one.method.upper()} {one.path}"
    for parameter in one.parameters:
        yield f"{name} takes {parameter['name']} in its {parameter['in']}"
        if parameter.get("required") and parameter["in"] != "path":
            yield f"{name} needs {parameter['name']} in its {parameter['in']}"
    body = resolved(document, one.node.get("requestBody", {}))
    for kind, media in body.get("content", {}).items():
        yield f"{name} takes {kind}"
        for schema in _objects(document, media.get("schema", {})):
            yield from (f"{name} takes {field}" for field in schema.get("properties", ()))
            yield from (f"{name} needs {field}" for field in schema.get("required", ()))
    for status, written in one.node["responses"].items():
        if status.startswith("2"):
            yield f"{name} {status}"
            for kind, media in resolved(document, written).get("content", {}).items():
                yield f"{name} {status} as {kind}"
                for schema in _objects(document, media.get("schema", {})):
                    yield from (f"{name} {status} tells {field}" for field in schema.get("required", ()))


def _objects(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema, and what it is put together from."""
    schema = resolved(document, schema)
    yield schema
    for part in schema.get("allOf", ()):
        yield from _objects(document, part)


def main() -> None:
    promises = {surface: promises_of(surface, load_document(surface)) for surface in SURFACES}
    breaks = [line for surface, lines in promises.items() for line in broken(kept(surface), lines)]
    if breaks:
        raise SystemExit(
            "\n".join(["These promises are broken; raise info.version and say it in CHANGELOG.md:", *breaks])
        )
    lines = [line for surface in SURFACES for line in promises[surface]]
    WRITTEN.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
