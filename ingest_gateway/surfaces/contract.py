"""Holds a surface to its OpenAPI document (schemas/openapi): its routes are the document's operations, no more and no
fewer, and the scopes that an operation requires there are required here. A surface that differs does not start.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from aiohttp import web

from ingest_gateway.identity.authentication import require_scope
from ingest_gateway.services import SERVICES

METHODS = frozenset({"get", "post", "put", "patch", "delete"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ContractBroken(Exception):
    """Routes and document differ; the message names each difference."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the document. `scopes` None: the document does not say (a fault)."""

    name: str
    scopes: tuple[str, ...] | None


def operations_of(document: Mapping[str, Any]) -> dict[tuple[str, str], Operation]:
    """By method and path."""
    found = {}
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            scopes = item[method].get("x-required-scopes")
            found[method.upper(), path] = Operation(item[method]["operationId"], scopes and tuple(scopes))
    return found


def load_document(surface: str) -> dict[str, Any]:
    text = resources.files("schemas").joinpath(f"openapi/{surface}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, yaml.CSafeLoader)  # type: ignore[no-any-return]


def hold_to(document: Mapping[str, Any], routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
    """The routes, each behind its operation's scopes. Raises ContractBroken."""
    operations = operations_of(document)
    by_place = {(route.method, route.path): route for route in routes}
    broken = [f"{method} {path} is not in the document" for method, path in by_place.keys() - operations.keys()]
    for (method, path), operation in operations.items():
        route = by_place.get((method, path))
        if route is None:
            broken.append(f"{method} {path} has no route")
        elif route.kwargs.get("name") != operation.name:
            broken.append(f"{method} {path} is {operation.name} in the document, not {route.kwargs.get('name')}")
        if not operation.scopes:
            broken.append(f"{method} {path} has no x-required-scopes")
    if broken:
        raise ContractBroken("; ".join(sorted(broken)))
    return [
        web.RouteDef(route.method, route.path, _behind(operations[place].scopes or (), route.handler), route.kwargs)
        for place, route in by_place.items()
    ]


def _behind(scopes: tuple[str, ...], handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        principal = request.app[SERVICES].authenticate(request)
        for scope in scopes:
            require_scope(principal, scope)
        return await handler(request)

    return handle
