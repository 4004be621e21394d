"""Cross-origin requests from browsers, for the operations that the document marks `x-cors: true` (A-012).

A preflight carries no key, so it is answered for every origin; whether a page may use a key is decided when the key
comes. Then the page can read the answer, errors included, if the key is a publishable one that its origin may use.
Secret keys get no such headers: they don't belong in a browser. No cookies are involved.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from ingest_gateway.identity.authentication import PRINCIPAL
from ingest_gateway.surfaces.shared.contract import operations_of

MAX_AGE_SECONDS = 7_200  # the most that browsers keep
ALLOWED_HEADERS = "Authorization, Content-Type, Content-Encoding, Idempotency-Key"
EXPOSED_HEADERS = ", ".join(
    (
        *("X-Request-Id", "Retry-After", "Atlas-Decision", "Atlas-Position"),
        *("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "RateLimit-Policy"),
    )
)


def add_cors(app: web.Application, document: Mapping[str, Any]) -> None:
    """Preflights for the operations that are open to pages, and the headers on their answers."""
    open_names = set()
    for (method, path), operation in operations_of(document).items():
        if operation.cors:
            open_names.add(operation.name)
            app.router.add_options(path, _preflight_of(method), name=f"preflight_{operation.name}")

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or request.match_info.route.name not in open_names:
            return
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        principal = request.get(PRINCIPAL)
        if principal is None or principal.may_be_sent_by(origin):  # without a key there is nothing to keep from a page
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS

    app.on_response_prepare.append(add_headers)


def _preflight_of(method: str) -> Any:
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: method,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ALLOWED_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_SECONDS),
    }

    async def preflight(request: web.Request) -> web.Response:
        if hdrs.ORIGIN not in request.headers or hdrs.ACCESS_CONTROL_REQUEST_METHOD not in request.headers:
            raise web.HTTPMethodNotAllowed(request.method, [method])
        return web.Response(status=204, headers=headers)

    return preflight
