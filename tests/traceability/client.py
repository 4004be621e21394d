"""Writes what the TypeScript client knows of the work API, from its OpenAPI document. `make docs` runs it.

`create_task` of the tag `Tasks` is `tasks.create`, `rotate_webhook_secret` of `Webhooks` is `webhooks.rotateSecret`:
the words of the operation's id without the tag's. tests/contract/test_typescript_client.py fails while the files differ
from what would be written. Types of bodies and answers are openapi-typescript's: openapi.d.ts, `make client-types`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ingest_gateway.surfaces.documents.operations import Operation, operations_of
from ingest_gateway.surfaces.shared.contract import load_document
from tests.traceability.catalogue import ROOT

SURFACE = "work"
FOLDER = ROOT / "clients" / "typescript"
_HEADING = f"// Written by `make docs` from schemas/openapi/{SURFACE}.yaml: edit that.\n"
_TYPES = """\
import type { operations } from "./openapi.js";

type Content<T> = T extends { content: { "application/json": infer C } } ? C : null;
type Body<Id extends keyof operations> = Content<NonNullable<operations[Id]["requestBody"]>>;
type Query<Id extends keyof operations> = NonNullable<operations[Id]["parameters"]["query"]>;
type Good<R> = R[keyof R & (200 | 201 | 202 | 204)];
type Answer<Id extends keyof operations> = Promise<Content<Good<operations[Id]["responses"]>>>;
"""


def files() -> dict[str, str]:
    """What stands in each file, by name."""
    document = load_document(SURFACE)
    resources: dict[str, dict[str, Operation]] = {}
    for operation in operations_of(document):
        resource, method = name_of(operation)
        resources.setdefault(resource, {})[method] = operation
    return {"operations.js": "\n".join(_table(resources)), "operations.d.ts": "\n".join(_declarations(resources))}


def name_of(operation: Operation) -> tuple[str, str]:
    """`tasks`, `create`."""
    (tag,) = operation.node["tags"]
    resource = tag.lower()
    words = operation.node["operationId"].split("_")
    first, *others = [word for word in words if word not in (resource, resource.removesuffix("s"))]
    return resource, first + "".join(word.capitalize() for word in others)


def _table(resources: dict[str, dict[str, Operation]]) -> Iterator[str]:
    yield _HEADING + "export const operations = {"
    for resource, methods in resources.items():
        yield f"  {resource}: {{"
        for name, operation in methods.items():
            yield f"    {name}: {json.dumps(_row(operation))},"
        yield "  },"
    yield "};\n"


def _row(operation: Operation) -> dict[str, Any]:
    ids = [parameter["name"] for parameter in operation.in_path]
    return {"method": operation.method.upper(), "path": operation.path, "ids": ids, "content": _content(operation)}


def _content(operation: Operation) -> str | None:
    if "requestBody" in operation.node:
        return "body"
    return "query" if any(parameter["in"] == "query" for parameter in operation.parameters) else None


def _declarations(resources: dict[str, dict[str, Operation]]) -> Iterator[str]:
    yield _HEADING + _TYPES
    yield "export interface Operations<Options> {"
    for resource, methods in resources.items():
        yield f"  {resource}: {{"
        for name, operation in methods.items():
            yield f"    /** {operation.node['summary']}. */"
            yield f'    {name}({", ".join(_arguments(operation))}): Answer<"{operation.node["operationId"]}">;'
        yield "  };"
    yield "}\n"


def _arguments(operation: Operation) -> Iterator[str]:
    named = operation.node["operationId"]
    yield from (f"{parameter['name']}: string" for parameter in operation.in_path)
    match _content(operation):
        case "body":
            optional = "" if operation.node["requestBody"].get("required") else "?"
            yield f'body{optional}: Body<"{named}">'
        case "query":
            yield f'query?: Query<"{named}">'
    yield "options?: Options"


def install_client(folder: Path) -> None:
    """As npm would, for a program in `folder`."""
    scope = folder / "node_modules" / "@atlas"
    scope.mkdir(parents=True)
    (scope / "client").symlink_to(FOLDER)


def main() -> None:
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
