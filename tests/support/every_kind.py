"""One request of every kind at a running installation, and `/readyz` of each of its processes: is it all right?"""

import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPException
from urllib.request import urlopen

from bench.system import System
from tests.support.api import Answer, EventsApi

STREAM = "every-kind"
RIGHT_SECONDS = 15.0
Ask = Callable[[], Answer]


class EveryKind:
    def __init__(self, atlas: System) -> None:
        self._atlas = atlas
        dev = atlas.dev
        self._events = EventsApi(dev["events"]["url"], dev["events"]["live_key"])
        self._work = EventsApi(dev["work"]["url"], dev["work"]["pat"])
        self._spine = EventsApi(dev["spine"]["url"], dev["spine"]["key"])
        self._burn = EventsApi(dev["burn"]["url"], dev["burn"]["key"])
        self._project = dev["work"]["project_id"]
        self._numbers = itertools.count(1)
        made = self._events.post("/v1/event-streams", {"name": STREAM})
        assert made.status == 201, made.body
        self._event_id = self._events.post("/v1/events", self._event()).json["id"]

    def comes_right(self, give_up_seconds: float = RIGHT_SECONDS) -> float:
        """Returns when nothing is wrong any more, and after how long. Raises AssertionError with what still is."""
        started = time.monotonic()
        while wrong := self.wrong():
            assert time.monotonic() - started < give_up_seconds, wrong
            time.sleep(0.2)
        return time.monotonic() - started

    def wrong(self) -> list[str]:
        return [*self._unready(), *(said for name, right, ask in self._kinds() if (said := _fault(name, right, ask)))]

    def _unready(self) -> Iterator[str]:
        for metrics_url in self._atlas.dev["metrics"]:
            url = metrics_url.removesuffix("/metrics") + "/readyz"
            try:
                with urlopen(url, timeout=5) as answer:
                    said = json.load(answer)
            except (OSError, HTTPException) as error:
                yield f"{url}: {error}"
            else:
                if said != {"status": "ready"}:
                    yield f"{url}: {said}"

    def _kinds(self) -> Iterator[tuple[str, int, Ask]]:
        number = next(self._numbers)
        events, work, spine, burn = self._events, self._work, self._spine, self._burn
        task = {"projectId": self._project, "title": f"Task {number}"}
        told = {"type": "code.analysis.complete", "source": "tests", "data": {"n": number}}
        yield "a key made", 201, lambda: events.post("/v1/keys", {"name": f"key {number}"})
        yield (
            "a setting changed",
            200,
            lambda: events.call("PATCH", f"/v1/event-streams/{STREAM}", b'{"retention_days": 7}'),
        )
        yield (
            "an event with a key",
            202,
            lambda: events.post("/v1/events", self._event(), Idempotency_Key=f"key-{number}"),
        )
        yield "an event without", 202, lambda: events.post("/v1/events", self._event())
        yield "an event to no stream", 404, lambda: events.post("/v1/events", self._event("nowhere"))
        yield "an event read", 200, lambda: events.call("GET", f"/v1/events/{self._event_id}")
        yield "events listed", 200, lambda: events.call("GET", f"/v1/events?stream={STREAM}&limit=1")
        yield "keys listed", 200, lambda: events.call("GET", "/v1/keys")
        yield "a task made", 201, lambda: work.post("/v1/tasks", task)
        yield "tasks listed", 200, lambda: work.call("GET", "/v1/tasks?limit=1")
        yield "an event on the spine", 201, lambda: spine.post("/v1/events", told)
        yield "the spine queried", 200, lambda: spine.call("GET", "/v1/events?type=code.*&limit=1")
        yield "a model call told", 200, lambda: burn.post("/api/ingest", {"events": [a_call()]}, **self._burns())
        yield "guardrails asked", 200, lambda: burn.call("GET", "/api/guardrails/status", **self._burns())

    def _burns(self) -> dict[str, str]:
        return {"AtlasBurn_API_Key": self._atlas.dev["burn"]["key"]}

    def _event(self, stream: str = STREAM) -> dict[str, object]:
        made_by = {"n": str(uuid.uuid4())}
        return {"stream": stream, "type": "order.paid", "occurred_at": "2026-05-18T14:22:11Z", "data": made_by}


def a_call() -> dict[str, object]:
    """Unlike any other, or the guardrails would stop it."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    used = {"provider": "openai", "model": "gpt-4o-mini", "tokens_in": 1, "tokens_out": 1, "cost_usd": 0.000001}
    return {"ts": now, "status": 200, "fingerprint": f"sha256:{uuid.uuid4().hex}", **used}


def _fault(name: str, right: int, ask: Ask) -> str | None:
    try:
        answer = ask()
    except (OSError, HTTPException) as error:
        return f"{name}: {error!r}"
    return None if answer.status == right else f"{name}: {answer.status} {answer.body[:300]!r}"
