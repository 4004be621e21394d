"""Holds a surface to its OpenAPI document (schemas/openapi): its routes are the document's operations, no more and no
fewer; an operation's rate class, the scopes that it requires there and the reach of limited keys hold here. A surface
that differs, or has an operation that no credential of the document may use, does not start.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml
from aiohttp import web

from domain.limits.quotas import RATE_CLASSES, RateClass
from ingest_gateway.identity.authentication import require_scope
from ingest_gateway.identity.freshness import is_privileged, require_current
from ingest_gateway.services import SERVICES
from ingest_gateway.surfaces.shared.reach import reach_error, require_reach

METHODS = frozenset({"get", "post", "put", "patch", "delete"})
RouteHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ContractBroken(Exception):
    """Routes and document differ; the message names each difference."""


@dataclass(frozen=True, slots=True)
class ContractOperation:
    """One operation of the document. `scopes`, `rate_class` None: the document does not say, which is an error.

    `cors`: pages of other origins may call it (surfaces/events/cors.py). `schemes`: its security schemes. `reach`: what
    a key that is limited to streams reaches with it (reach.py); the document's default where the operation has none.
    """

    name: str
    scopes: tuple[str, ...] | None
    rate_class: RateClass | None = None
    cors: bool = False
    schemes: tuple[str, ...] = ()
    reach: str = ""


def operations_of(document: Mapping[str, Any]) -> dict[tuple[str, str], ContractOperation]:
    """By method and path. A rate class is named in full, or without its surface, which `x-surface` then names."""
    found = {}
    surface = document.get("x-surface", "")
    for path, item in document["paths"].items():
        for method in sorted(METHODS & item.keys()):
            scopes = item[method].get("x-required-scopes")
            named = item[method].get("x-ratelimit-class")
            rate_class = RATE_CLASSES.get(named) or RATE_CLASSES.get(f"{surface}.{named}")
            cors = item[method].get("x-cors", False)
            schemes = tuple(name for one in item[method].get("security", document.get("security", ())) for name in one)
            reach = item[method].get("x-reach", document.get("x-reach", ""))
            name = item[method]["operationId"]
            found[method.upper(), path] = ContractOperation(
                name, scopes and tuple(scopes), rate_class, cors, schemes, reach
            )
    return found


def credentials_of(document: Mapping[str, Any]) -> dict[str, dict[str, frozenset[str]]]:
    """By security scheme: the kinds of credentials that it takes (`x-credentials`), with what each may do at most."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    return {
        name: {kind: frozenset(scopes) for kind, scopes in scheme.get("x-credentials", {}).items()}
        for name, scheme in schemes.items()
    }


@cache
def load_document(surface: str) -> dict[str, Any]:
    """Read once in a process. All callers get the same object; none changes it."""
    text = resources.files("schemas").joinpath(f"openapi/{surface}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, yaml.CSafeLoader)  # type: ignore[no-any-return]


def hold_to(document: Mapping[str, Any], routes: Iterable[web.RouteDef]) -> list[web.RouteDef]:
    """The routes, each behind its operation's limits and scopes. Raises ContractBroken."""
    operations, credentials = operations_of(document), credentials_of(document)
    by_route = {(route.method, route.path): route for route in routes}
    broken = [f"{method} {path} is not in the document" for method, path in by_route.keys() - operations.keys()]
    for (method, path), operation in operations.items():
        route = by_route.get((method, path))
        if route is None:
            broken.append(f"{method} {path} has no route")
        elif route.kwargs.get("name") != operation.name:
            broken.append(f"{method} {path} is {operation.name} in the document, not {route.kwargs.get('name')}")
        if not operation.scopes:
            broken.append(f"{method} {path} has no x-required-scopes")
        elif not _can_be_used(operation, credentials):
            broken.append(f"{method} {path} requires scopes that no credential has")
        if operation.rate_class is None:
            broken.append(f"{method} {path} has no x-ratelimit-class that there is")
        error = reach_error(operation.reach, path)
        if error is not None:
            broken.append(f"{method} {path} {error}")
    if broken:
        raise ContractBroken("; ".join(sorted(broken)))
    return [
        web.RouteDef(route.method, route.path, _behind(operations[key], route.handler), route.kwargs)
        for key, route in by_route.items()
    ]


def _can_be_used(operation: ContractOperation, credentials: Mapping[str, Mapping[str, frozenset[str]]]) -> bool:
    kinds = [scopes for scheme in operation.schemes for scopes in credentials.get(scheme, {}).values()]
    return any(scopes.issuperset(operation.scopes or ()) for scopes in kinds)


def _behind(operation: ContractOperation, handler: RouteHandler) -> RouteHandler:
    """In this order: the caller, its rate limit, its scopes; then the handler reads the body."""
    scopes, rate_class = operation.scopes or (), operation.rate_class
    assert rate_class is not None
    privileged = is_privileged(scopes)

    async def handle(request: web.Request) -> web.StreamResponse:
        services = request.app[SERVICES]
        principal = services.authenticate.known(request) or await services.authenticate.find(request)
        if services.limits is not None:
            services.limits.spend(request, principal, rate_class)
        for scope in scopes:
            require_scope(principal, scope)
        if privileged:
            require_current(services.control, services.settings.control_behind_seconds_max)
        if principal.is_limited:
            require_reach(request, principal, operation.reach)
        return await handler(request)

    return handle
