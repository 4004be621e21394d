"""A schema registry over HTTP, as much of Confluent's REST interface as Atlas and its serializers use.

Ids count from `first_id`; one schema text has one id under all subjects, as in the original. A test may make it answer
something else (`answers`), ask for a password (`credentials`), and see what was asked (`requests`).
"""

import asyncio
import base64
import json
import threading
import uuid
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from tests.support.ports import free_port

START_TIMEOUT_SECONDS = 20.0


class Registry:
    """Runs in a thread of its own while entered; `url` holds from the start."""

    def __init__(self, first_id: int = 100_000, credentials: str | None = None) -> None:
        self.port = free_port()
        user = "" if credentials is None else f"{credentials}@"
        self.url = f"http://{user}127.0.0.1:{self.port}"
        self.subjects: dict[str, list[int]] = {}
        self.requests: list[tuple[str, str]] = []
        self.answers: Callable[[str, str], web.Response | None] = lambda method, path: None
        self._schemas: list[dict[str, Any]] = []
        self._first_id = first_id
        self._credentials = credentials
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._serving.wait(START_TIMEOUT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_TIMEOUT_SECONDS)

    def add(self, schema: str, **more: Any) -> int:
        """As somebody else registered it; its id."""
        wanted = {"schema": schema, **more}
        if wanted not in self._schemas:
            self._schemas.append(wanted)
        return self._first_id + self._schemas.index(wanted)

    def guid_of(self, schema_id: int) -> uuid.UUID:
        """As in the original, made of the schema itself: it is the same in every registry."""
        return uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(self._schemas[schema_id - self._first_id], sort_keys=True))

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.post("/subjects/{subject}/versions", self._register),
                web.get("/subjects/{subject}/versions/latest", self._latest),
                web.get("/schemas/ids/{id}", self._schema),
                web.get("/schemas/guids/{guid}", self._schema_by_guid),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self._serving.set()
        await self._stop.wait()
        await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if self._credentials is not None:
            expected = "Basic " + base64.b64encode(self._credentials.encode()).decode()
            if request.headers.get("Authorization") != expected:
                return _fault(401, 40101, "Unauthorized")
        told = self.answers(request.method, request.path)
        return told if told is not None else await handler(request)

    async def _register(self, request: web.Request) -> web.Response:
        body = await request.json()
        schema_id = self.add(body["schema"])
        versions = self.subjects.setdefault(request.match_info["subject"], [])
        if schema_id not in versions:
            versions.append(schema_id)
        return web.json_response({"id": schema_id, "guid": str(self.guid_of(schema_id))})

    async def _latest(self, request: web.Request) -> web.Response:
        subject = request.match_info["subject"]
        versions = self.subjects.get(subject)
        if not versions:
            return _fault(404, 40401, "Subject not found.")
        schema = self._schemas[versions[-1] - self._first_id]
        return web.json_response({"subject": subject, "version": len(versions), "id": versions[-1], **schema})

    async def _schema(self, request: web.Request) -> web.Response:
        index = int(request.match_info["id"]) - self._first_id
        if not 0 <= index < len(self._schemas):
            return _fault(404, 40403, "Schema not found")
        return web.json_response(self._schemas[index])

    async def _schema_by_guid(self, request: web.Request) -> web.Response:
        for index, schema in enumerate(self._schemas):
            if str(self.guid_of(self._first_id + index)) == request.match_info["guid"]:
                return web.json_response(schema)
        return _fault(404, 40403, "Schema not found")


def _fault(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"error_code": code, "message": message}, status=status)
