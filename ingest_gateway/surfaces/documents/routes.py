"""Serves a surface's documents without a key: they hold no secrets.

| address | what |
|---|---|
| `/` | the other addresses: browsers are redirected to `/v1/docs`, other clients get them as JSON |
| `/v1/openapi.json` | the OpenAPI document, its server is the address of the request |
| `/v1/docs` | the reference: Redoc, from this package |
| `/v1/<name>.openapi.json` | the same document, as a download |
| `/v1/<name>.postman_collection.json`, `/v1/<name>.postman_environment.json` | for Postman and newman, as downloads |

All are generated from the document that the routes are held to, so none is ever stale.
"""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from html import escape
from importlib import resources
from typing import Any

import orjson
from aiohttp import hdrs, web

from ingest_gateway.surfaces.documents.postman import collection, environment

ORIGINS_REMEMBERED_MAX = 64
BUNDLE = "redoc.standalone.js"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src blob:; child-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 0 }} a[href^="https://redocly.com"] img {{ display: none }}
nav {{ padding: 8px 16px; font: 14px sans-serif; border-bottom: 1px solid #ddd }} nav a {{ margin-right: 16px }}</style>
</head>
<body>
<nav>
<a href="openapi.json">OpenAPI document</a>
<a href="{name}.postman_collection.json">Postman collection</a>
<a href="{name}.postman_environment.json">Postman environment</a>
</nav>
<redoc spec-url="openapi.json" hide-hostname="false" native-scrollbars="true"></redoc>
<noscript>The document itself is <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/{bundle}"></script>
</body>
</html>
"""
_Handler = Callable[[web.Request], Any]


class Documents:
    """One surface's. `name`: of the downloads; `switches`: variables of the Postman environment and their values."""

    def __init__(self, document: Mapping[str, Any], name: str, switches: Mapping[str, str], base: str) -> None:
        self._document = document
        self._name = name
        self._base = base
        self._switches = switches
        self._openapi = lru_cache(ORIGINS_REMEMBERED_MAX)(self._openapi_at)
        self._collection = orjson.dumps(collection(document, name))
        self._page = PAGE.format(title=escape(document["info"]["title"]), name=name, bundle=BUNDLE).encode()
        folder = resources.files("ingest_gateway.surfaces.documents").joinpath("redoc")
        self._bundle = folder.joinpath(f"{BUNDLE}.gz").read_bytes()

    async def root(self, request: web.Request) -> web.Response:
        """The start for a person or a program that knows only the port."""
        if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
            headers = {hdrs.LOCATION: f"{self._base}/docs", hdrs.VARY: "Accept"}
            return web.Response(status=302, headers=headers)
        at = f"{origin(request)}{self._base}"
        addresses = {
            "name": self._document["info"]["title"],
            "docs": f"{at}/docs",
            "openapi": f"{at}/openapi.json",
            "postman_collection": f"{at}/{self._name}.postman_collection.json",
            "postman_environment": f"{at}/{self._name}.postman_environment.json",
        }
        response = answer(request, orjson.dumps(addresses), "application/json")
        response.headers[hdrs.VARY] = f"Accept, {response.headers[hdrs.VARY]}"
        return response

    async def openapi(self, request: web.Request) -> web.Response:
        return answer(request, self._openapi(origin(request)), "application/json")

    async def openapi_download(self, request: web.Request) -> web.Response:
        return self._download(request, self._openapi(origin(request)), "openapi")

    async def postman_collection(self, request: web.Request) -> web.Response:
        return self._download(request, self._collection, "postman_collection")

    async def postman_environment(self, request: web.Request) -> web.Response:
        made = environment(self._document, self._name, origin(request), self._switches)
        return self._download(request, orjson.dumps(made), "postman_environment")

    async def page(self, request: web.Request) -> web.Response:
        response = answer(request, self._page, "text/html")
        response.headers["Content-Security-Policy"] = CSP
        return response

    async def bundle(self, request: web.Request) -> web.Response:
        if "gzip" not in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            return answer(request, gzip.decompress(self._bundle), "text/javascript")
        response = answer(request, self._bundle, "text/javascript")
        if response.status == 200:
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        return response

    def _openapi_at(self, base_url: str) -> bytes:
        return orjson.dumps({**self._document, "servers": [{"url": base_url}]})

    def _download(self, request: web.Request, body: bytes, kind: str) -> web.Response:
        response = answer(request, body, "application/json")
        response.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{self._name}.{kind}.json"'
        return response


def add_documents(
    app: web.Application,
    document: Mapping[str, Any],
    name: str,
    switches: Mapping[str, str] | None = None,
    base: str = "/v1",
) -> None:
    """`name`: what the downloads are called, before `.openapi.json` and so on."""
    documents = Documents(document, name, switches or {}, base)
    handlers: dict[str, _Handler] = {
        "/": documents.root,
        f"{base}/openapi.json": documents.openapi,
        f"{base}/docs": documents.page,
        f"{base}/docs/{BUNDLE}": documents.bundle,
        f"{base}/{name}.openapi.json": documents.openapi_download,
        f"{base}/{name}.postman_collection.json": documents.postman_collection,
        f"{base}/{name}.postman_environment.json": documents.postman_environment,
    }
    for path, handler in handlers.items():
        app.router.add_get(path, handler, name=f"document_{handler.__name__}")


def answer(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """304 for a client that has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers: dict[str, str] = {
        hdrs.ETAG: tag,
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.VARY: "Accept-Encoding, Host",
        "X-Content-Type-Options": "nosniff",
    }
    if tag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
        return web.Response(status=304, headers=headers)
    charset = None if content_type == "application/json" else "utf-8"
    return web.Response(body=body, content_type=content_type, charset=charset, headers=headers)


def origin(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"
