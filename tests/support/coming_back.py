"""What must be right again within 15 s of a killed part's return, whatever it was: every process is ready, and one
request of every kind is answered as if nothing had been, at every gateway.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException

from deploy.local.child import http_not_ready
from tests.support.api import Answer, EventsApi
from tests.support.events import an_event

BACK_SECONDS = 15.0
AGAIN_SECONDS = 0.25
NO_SUCH_STREAM = "nobody-made-this"


@dataclass(frozen=True)
class Installation:
    """`ready_urls`: by process, its /readyz. `gateways`: the events API of each; `ingests`: `/api/ingest` of each,
    where it is served. `stream` exists.
    """

    ready_urls: Mapping[str, str]
    gateways: Sequence[EventsApi]
    stream: str
    ingests: Sequence[EventsApi] = ()


Check = Callable[[], str | None]
"""None when it is right, else what was said instead."""


def come_back(installation: Installation, within_seconds: float = BACK_SECONDS) -> float:
    """Returns how long it took until each check was right once. Raises AssertionError with those that were not."""
    began = time.monotonic()
    waiting = checks_of(installation)
    while True:
        wrong = {name: said for name, check in waiting.items() if (said := check()) is not None}
        waiting = {name: waiting[name] for name in wrong}
        took_seconds = time.monotonic() - began
        if not wrong:
            return took_seconds
        assert took_seconds < within_seconds, f"not right {took_seconds:.0f} s after the return: {wrong}"
        time.sleep(AGAIN_SECONDS)


def checks_of(installation: Installation) -> dict[str, Check]:
    checks: dict[str, Check] = {
        f"{name} is ready": lambda url=url: http_not_ready(url)  # type: ignore[misc]
        for name, url in installation.ready_urls.items()
    }
    for number, api in enumerate(installation.gateways):
        other = installation.gateways[(number + 1) % len(installation.gateways)]
        event = an_event(stream=installation.stream)
        headers = {"Idempotency_Key": f"back-{secrets.token_hex(6)}"}
        workflow = {"id": f"wf_{secrets.token_hex(5)}", "name": "Back", "url": "https://example.com/hook"}
        requests: dict[str, tuple[set[int], Callable[[], Answer]]] = {
            "management": ({201, 409}, lambda a=api, w=workflow: a.post("/v1/workflows", w)),  # type: ignore[misc]
            "a keyed event": ({202}, lambda a=api, e=event, h=headers: a.post("/v1/events", e, **h)),  # type: ignore[misc]
            "the same at another gateway": ({202}, lambda a=other, e=event, h=headers: a.post("/v1/events", e, **h)),  # type: ignore[misc]
            "an event": ({202}, lambda a=api: a.post("/v1/events", an_event(stream=installation.stream))),  # type: ignore[misc]
            "an unknown stream": ({404}, lambda a=api: a.post("/v1/events", an_event(stream=NO_SUCH_STREAM))),  # type: ignore[misc]
            "a list": ({200}, lambda a=api: a.call("GET", f"/v1/events?stream={installation.stream}&limit=1")),  # type: ignore[misc]
            "a read of what was just written": ({200}, lambda a=api: _read_back(a, a, installation.stream)),  # type: ignore[misc]
            "a read at another gateway": ({200}, lambda a=api, o=other: _read_back(a, o, installation.stream)),  # type: ignore[misc]
        }
        for name, (statuses, ask) in requests.items():
            checks[f"gateway {number}: {name}"] = lambda s=statuses, f=ask: _said(s, f)  # type: ignore[misc]
    for number, api in enumerate(installation.ingests):
        checks[f"gateway {number}: ingest"] = lambda a=api: _said({200}, lambda: a.post("/api/ingest", {"events": []}))  # type: ignore[misc]
    return checks


def _read_back(writer: EventsApi, reader: EventsApi, stream: str) -> Answer:
    made = writer.post("/v1/events", an_event(stream=stream, data={"n": secrets.token_hex(6)}))
    return reader.call("GET", f"/v1/events/{made.json['id']}") if made.status == 202 else made


def _said(statuses: set[int], ask: Callable[[], Answer]) -> str | None:
    try:
        answer = ask()
    except (OSError, HTTPException) as error:
        return repr(error)
    return None if answer.status in statuses else f"{answer.status} {answer.body[:200]!r}"
