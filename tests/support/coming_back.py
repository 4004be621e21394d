"""What must be right again within 15 s of a killed part's return, whatever it was: every process is ready, and one
request of every kind is answered as if nothing had been, at every gateway.
"""

import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from typing import NamedTuple

from deploy.local.child import http_not_ready
from tests.support.api import Answer, EventsApi
from tests.support.events import an_event

BACK_SECONDS = 15.0
AGAIN_SECONDS = 0.25
NO_SUCH_STREAM = "nobody-made-this"


class WorkProject(NamedTuple):
    api: EventsApi
    project_id: str


@dataclass(frozen=True)
class Installation:
    """`ready_urls`: by process, its /readyz. `gateways`: the events API of each; `ingests`, `works`, `spines`: the
    other surfaces' of each, where they are served. `stream` exists.
    """

    ready_urls: Mapping[str, str]
    gateways: Sequence[EventsApi]
    stream: str
    ingests: Sequence[EventsApi] = ()
    works: Sequence[WorkProject] = ()
    spines: Sequence[EventsApi] = ()


Check = Callable[[], str | None]
"""None when it is right, else what was said instead."""


def come_back(installation: Installation, within_seconds: float = BACK_SECONDS) -> float:
    """Returns how long it took until each check was right once. Raises AssertionError with those that were not.

    All are asked side by side: one that waits for its answer must not keep the others from being asked again.
    """
    began = time.monotonic()
    checks = checks_of(installation)
    with ThreadPoolExecutor(len(checks)) as threads:
        asked = {name: threads.submit(_once_right, check, began + within_seconds) for name, check in checks.items()}
    wrong = {name: said for name, one in asked.items() if (said := one.result()) is not None}
    took_seconds = time.monotonic() - began
    assert not wrong, f"not right {took_seconds:.0f} s after the return: {wrong}"
    return took_seconds


def _once_right(check: Check, deadline: float) -> str | None:
    """None, or what was said last. What was asked before the deadline may be answered after it."""
    while (said := check()) is not None and time.monotonic() < deadline:
        time.sleep(AGAIN_SECONDS)
    return said


Request = tuple[set[int], Callable[[], Answer]]
"""The statuses that are right, and how to ask."""


def checks_of(installation: Installation) -> dict[str, Check]:
    ready = {f"{name} is ready": partial(http_not_ready, url) for name, url in installation.ready_urls.items()}
    return ready | requests_of(installation)


def requests_of(installation: Installation) -> dict[str, Check]:
    """One of every kind at every gateway."""
    checks: dict[str, Check] = {}
    for number, api in enumerate(installation.gateways):
        other = installation.gateways[(number + 1) % len(installation.gateways)]
        requests = _event_requests(api, other, installation.stream)
        checks |= {f"gateway {number}: {name}": partial(_said, *request) for name, request in requests.items()}
    others = {
        **{f"burn {n}: {name}": one for n, api in enumerate(installation.ingests) for name, one in _burn(api).items()},
        **{f"work {n}: {name}": one for n, work in enumerate(installation.works) for name, one in _work(work).items()},
        **{f"spine {n}: {name}": one for n, api in enumerate(installation.spines) for name, one in _spine(api).items()},
    }
    return checks | {name: partial(_said, *request) for name, request in others.items()}


def _event_requests(api: EventsApi, other: EventsApi, stream: str) -> dict[str, Request]:
    event = an_event(stream=stream)
    headers = {"Idempotency_Key": f"back-{secrets.token_hex(6)}"}
    workflow = {"id": f"wf_{secrets.token_hex(5)}", "name": "Back", "url": "https://example.com/hook"}
    return {
        "management": ({201, 409}, lambda: api.post("/v1/workflows", workflow)),
        "a keyed event": ({202}, lambda: api.post("/v1/events", event, **headers)),
        "the same at another gateway": ({202}, lambda: other.post("/v1/events", event, **headers)),
        "an event": ({202}, lambda: api.post("/v1/events", an_event(stream=stream))),
        "an unknown stream": ({404}, lambda: api.post("/v1/events", an_event(stream=NO_SUCH_STREAM))),
        "a list": ({200}, lambda: api.call("GET", f"/v1/events?stream={stream}&limit=1")),
        "a read of what was just written": ({200}, lambda: _read_back(api, api, stream)),
        "a read at another gateway": ({200}, lambda: _read_back(api, other, stream)),
    }


def _burn(api: EventsApi) -> dict[str, Request]:
    return {
        "a model call": ({200}, lambda: api.post("/api/ingest", {"events": [_model_call()]})),
        "guardrails": ({200}, lambda: api.call("GET", "/api/guardrails/status")),
    }


def _model_call() -> dict[str, object]:
    """Unlike any other, or the guardrails would stop it."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    used = {"provider": "openai", "model": "gpt-4o-mini", "tokens_in": 1, "tokens_out": 1, "cost_usd": 0.000001}
    return {"ts": now, "status": 200, "fingerprint": f"sha256:{uuid.uuid4().hex}", **used}


def _work(work: WorkProject) -> dict[str, Request]:
    return {
        "a task": ({201}, lambda: work.api.post("/v1/tasks", {"projectId": work.project_id, "title": "Back"})),
        "a list": ({200}, lambda: work.api.call("GET", "/v1/tasks?limit=1")),
    }


def _spine(api: EventsApi) -> dict[str, Request]:
    event = {"type": "code.analysis.complete", "source": "tests", "data": {"n": secrets.token_hex(6)}}
    return {
        "an event": ({201}, lambda: api.post("/v1/events", event)),
        "a query": ({200}, lambda: api.call("GET", "/v1/events?type=code.*&limit=1")),
    }


def _read_back(writer: EventsApi, reader: EventsApi, stream: str) -> Answer:
    made = writer.post("/v1/events", an_event(stream=stream, data={"n": secrets.token_hex(6)}))
    return reader.call("GET", f"/v1/events/{made.json['id']}") if made.status == 202 else made


def _said(statuses: set[int], ask: Callable[[], Answer]) -> str | None:
    try:
        answer = ask()
    except (OSError, HTTPException) as error:
        return repr(error)
    return None if answer.status in statuses else f"{answer.status} {answer.body[:200]!r}"
