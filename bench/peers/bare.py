"""The bare gateway: aiohttp, uvloop and confluent-kafka, and nothing between them that could be left out.

`POST /events`: one event, an array of events, or NDJSON lines. Each is appended with acks=all under its order's id, and
the answer, 202, comes when all are confirmed. No authentication, no limits, no validation, no ids, no log.
Environment: BOOTSTRAP, TOPIC, PORT.
"""

import asyncio
import os
import threading
from collections.abc import Callable

import orjson
import uvloop
from aiohttp import web
from confluent_kafka import KafkaError, Message, Producer

POLL_SECONDS = 0.1
BODY_BYTES_MAX = 32 * 1024 * 1024
QUEUE_MESSAGES_MAX = 1_000_000

Report = Callable[[KafkaError | None, Message], None]


class Bare:
    """One for each process; used on the running loop."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._topic = topic
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "linger.ms": 0,
                "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
            }
        )
        self._lock = threading.Lock()
        self._confirmed: list[tuple[asyncio.Future[bool], bool]] = []
        threading.Thread(target=self._poll, daemon=True).start()

    async def post(self, request: web.Request) -> web.Response:
        events = _events(await request.read(), request.content_type == "application/x-ndjson")
        stored: asyncio.Future[bool] = self._loop.create_future()
        report = self._report(len(events), stored)
        for key, value in events:
            self._producer.produce(self._topic, value, key, on_delivery=report)
        return web.Response(status=202 if await stored else 503)

    def _report(self, left: int, stored: asyncio.Future[bool]) -> Report:
        """Called in the poll thread, once for each event of a request."""
        good = True

        def report(error: KafkaError | None, _message: Message) -> None:
            nonlocal left, good
            left -= 1
            good = good and error is None
            if left == 0:
                self._tell(stored, good)

        return report

    def _tell(self, stored: asyncio.Future[bool], good: bool) -> None:
        """Wakes the loop once for all requests that are finished by then."""
        with self._lock:
            self._confirmed.append((stored, good))
            is_first = len(self._confirmed) == 1
        if is_first:
            self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        with self._lock:
            confirmed, self._confirmed = self._confirmed, []
        for stored, good in confirmed:
            if not stored.done():
                stored.set_result(good)

    def _poll(self) -> None:
        while True:
            self._producer.poll(POLL_SECONDS)


def _events(body: bytes, is_lines: bool) -> list[tuple[str, bytes]]:
    """Key and value of each."""
    if is_lines:
        return [(orjson.loads(line)["data"]["order_id"], line) for line in body.splitlines()]
    read = orjson.loads(body)
    events = read if isinstance(read, list) else [read]
    return [(event["data"]["order_id"], orjson.dumps(event)) for event in events]


async def application() -> web.Application:
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/events", Bare(os.environ["BOOTSTRAP"], os.environ["TOPIC"]).post)
    return app


if __name__ == "__main__":
    uvloop.install()
    web.run_app(application(), host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None)
