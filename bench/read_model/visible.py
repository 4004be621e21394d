"""From the 202 to being there for readers: a whole Atlas, a steady rate, and a reader that looks every few ms.

The rate is offered in three ways: 20 events in a request of the batch route, as a producer of a thousand a second would
send them, to a stream without routes and to one whose events go to an endpoint on the same machine; and one request an
event, which on two cores that the sender shares is more than the gateway takes.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import text

from bench.figures import figures_of
from bench.latency import STREAM, post, prepare
from bench.read_model.databases import database
from bench.receiver import receiver
from bench.sender import Sent, send_batches, send_steadily
from bench.system import System
from deploy.local.spawn import wait_until
from operations.read_model_engine import ReadModelReader
from tests.support.ports import free_port_base

LOOK_SECONDS = 0.005
WARM_UP_SECONDS = 3.0
ARRIVE_SECONDS = 30.0
BATCH_EVENTS = 20
UNROUTED = "orders-unrouted"
_NEW = text("SELECT number, id FROM events WHERE number > :last ORDER BY number")


class Looking(threading.Thread):
    """Notes when each event is first seen, on the machine's one monotonic clock."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, int] = {}
        self._reader = ReadModelReader(url, 1)
        self._ended = threading.Event()

    def run(self) -> None:
        last = 0
        while not self._ended.is_set():
            with self._reader.connect() as connection:
                rows = connection.execute(_NEW, {"last": last}).all()
            now_ns = time.monotonic_ns()
            for number, event_id in rows:
                self.seen.setdefault(event_id, now_ns)
                last = number
            time.sleep(LOOK_SECONDS)
        self._reader.close()

    def end(self) -> None:
        self._ended.set()
        self.join()


def visible(name: str, home: Path, rate: float, seconds: float) -> dict[str, Any]:
    """Rate limits are off: a gateway takes what it can."""
    found: dict[str, Any] = {"rate": rate, "seconds": seconds, "batch_events": BATCH_EVENTS}
    with database(name, home) as url, receiver() as endpoint:
        environment = {"ATLAS_RATE_LIMITS": "off", "DATABASE_URL": url}
        with System(home / "atlas", free_port_base(), environment) as atlas:
            surface = atlas.dev["events"]
            prepare(surface, endpoint)
            post(surface, "/v1/event-streams", {"name": UNROUTED})
            looking = Looking(url)
            looking.start()
            for way, send in WAYS.items():
                found[way] = _told(uvloop.run(_send(send, surface, rate, seconds, looking)), looking)
            looking.end()
    return found


def _told(sent: list[Sent], looking: Looking) -> dict[str, Any]:
    accepted = [one for one in sent if one.status == 202]
    times = [looking.seen[one.event_id] - one.answered_ns for one in accepted if one.event_id in looking.seen]
    lasted_ns = max(one.answered_ns for one in accepted) - min(one.due_ns for one in accepted)
    since_due = [looking.seen[one.event_id] - one.due_ns for one in accepted if one.event_id in looking.seen]
    return {
        "sent": len(sent),
        "not_accepted": len(sent) - len(accepted),
        "not_seen": len(accepted) - len(times),
        "taken_per_second": round(len(accepted) / lasted_ns * 1e9),
        "accepted_to_visible": figures_of(times).as_json(),
        "request_to_visible": figures_of(since_due).as_json(),
        "request_to_202": figures_of([one.answered_ns - one.due_ns for one in accepted]).as_json(),
    }


async def _send(send: "Send", surface: Any, rate: float, seconds: float, looking: Looking) -> list[Sent]:
    await send(surface, rate, WARM_UP_SECONDS)
    sent = await send(surface, rate, seconds)
    wanted = {one.event_id for one in sent if one.status == 202}
    await asyncio.to_thread(wait_until, lambda: wanted <= looking.seen.keys(), ARRIVE_SECONDS)
    return sent


async def _to_nobody(surface: Any, rate: float, seconds: float) -> list[Sent]:
    return await send_batches(surface, UNROUTED, rate, seconds, BATCH_EVENTS)


async def _in_batches(surface: Any, rate: float, seconds: float) -> list[Sent]:
    return await send_batches(surface, STREAM, rate, seconds, BATCH_EVENTS)


async def _one_a_request(surface: Any, rate: float, seconds: float) -> list[Sent]:
    return await send_steadily(surface, STREAM, rate, seconds)


Send = Callable[[Any, float, float], Awaitable[list[Sent]]]
WAYS: dict[str, Send] = {
    "in batches, no route": _to_nobody,
    "in batches": _in_batches,
    "one a request": _one_a_request,
}
