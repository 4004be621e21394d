"""A surface just large enough to see the HTTP layer at work, and what it counts of its own handlers."""

import asyncio
from dataclasses import dataclass, field

import orjson
from aiohttp import web

from ingest_gateway.http.bodies import BODY_SECONDS, content_type, read_body
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.guard import REQUEST_ID
from ingest_gateway.http.lines import LineTooLong, iter_lines
from ingest_gateway.http.queries import read_query, whole_number
from schemas.errors import FieldError

SURFACE = "small"
BODY_BYTES_MAX = 10_000
LINES_BYTES_MAX = 1_000_000
LINE_BYTES_MAX = 1_000
HUGE_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass
class Handled:
    """What the handlers saw. `gate`, when closed, holds `/wait` requests back."""

    started: int = 0
    finished: int = 0
    bodies: list[bytes] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)


def render(fault: Refused, request_id: str) -> web.Response:
    error: dict[str, object] = {
        "kind": fault.kind.name,
        "code": fault.code,
        "message": fault.message,
        "request_id": request_id,
    }
    error["fields"] = [[one.field, one.message] for one in fault.fields]
    body = orjson.dumps({"error": error, "details": fault.details})
    return web.Response(body=body, status=fault.status, headers=fault.headers, content_type="application/json")


def small_app(handled: Handled, body_seconds: float = BODY_SECONDS) -> web.Application:
    async def echo(request: web.Request) -> web.Response:
        content_type(request, "application/json", "application/x-ndjson")
        body = await read_body(request, BODY_BYTES_MAX, deadline_seconds=body_seconds)
        handled.bodies.append(body)
        return answer({"bytes": len(body), "key": request.headers.get("Idempotency-Key")})

    async def work(request: web.Request) -> web.Response:
        body = await read_body(request, BODY_BYTES_MAX)
        handled.started += 1
        await asyncio.sleep(0.01)  # as if a record were on its way to the broker
        handled.finished += 1
        return answer({"bytes": len(body), "id": request[REQUEST_ID]})

    async def lines(request: web.Request) -> web.Response:
        found: list[object] = []
        async for lines in iter_lines(request, limit_bytes=LINES_BYTES_MAX, line_bytes_max=LINE_BYTES_MAX):
            found += ["too long" if isinstance(line, LineTooLong) else line.decode() for line in lines]
        return answer(found)

    async def thing(request: web.Request) -> web.Response:
        return answer({"id": request.match_info["id"]})

    async def listing(request: web.Request) -> web.Response:
        parameters = read_query(request, ("limit", "a"))
        return answer({**parameters, "limit": whole_number(parameters, "limit", minimum=1, maximum=100, default=25)})

    async def wait(request: web.Request) -> web.Response:
        handled.started += 1
        await handled.gate.wait()
        handled.finished += 1
        return answer("waited")

    async def unread(request: web.Request) -> web.Response:
        raise Refused(ErrorKind.UNAUTHENTICATED)

    async def boom(request: web.Request) -> web.Response:
        raise RuntimeError("a secret of ours")

    async def faulty(request: web.Request) -> web.Response:
        fields = [FieldError(f"f{number}", "is wrong") for number in range(5_000)]
        raise Refused(ErrorKind.INVALID_FIELDS, fields=fields, details={"hint": 7}, headers={"Retry-After": "3"})

    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound("/things/1")

    async def huge(request: web.Request) -> web.Response:
        return web.Response(body=bytes(HUGE_ANSWER_BYTES))

    app = web.Application()
    app.add_routes(
        [
            web.post("/echo", echo, name="echo"),
            web.post("/work", work, name="work"),
            web.post("/lines", lines, name="lines"),
            web.get("/things/{id}", thing, name="thing"),
            web.delete("/things/{id}", thing, name="thing_delete"),
            web.get("/things", listing, name="listing"),
            web.get("/wait", wait, name="wait"),
            web.post("/unread", unread, name="unread"),
            web.get("/boom", boom, name="boom"),
            web.get("/faulty", faulty, name="faulty"),
            web.get("/redirect", redirect),
            web.get("/huge", huge, name="huge"),
        ]
    )
    return app


def answer(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
