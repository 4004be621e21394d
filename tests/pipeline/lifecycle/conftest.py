"""One whole installation for this folder's tests, every process and the broker real; each test has its own part."""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.system import System
from deploy.local.spawn import wait_until
from tests.support.api import Answer, EventsApi
from tests.support.ports import free_port_base
from tests.support.receiver import Receiver, Request

OCCURRED_AT = "2026-05-18T14:22:11Z"
WAIT_SECONDS = 60.0


@dataclass
class Tenant:
    """One test's own paths, workflows and stream on the shared installation."""

    api: EventsApi
    receiver: Receiver
    name: str
    workspace: str
    kafka: str

    def post(self, status: int, path: str, body: object = None) -> Any:
        made = self.api.call("POST", path) if body is None else self.api.post(path, body)
        assert made.status == status, made.body
        return made.json if made.body else None

    def path(self, what: str) -> str:
        return f"/{self.name}/{what}"

    def workflow(self, what: str) -> tuple[str, str]:
        """Its id and secret; it gets its events at `path(what)`."""
        workflow_id = f"wf_{self.name}_{what}"
        body = {"id": workflow_id, "name": what, "url": self.receiver.url + self.path(what)}
        return workflow_id, self.post(201, "/v1/workflows", body)["signing_secret"]

    def endpoint(self, *events: str) -> dict[str, Any]:
        body: dict[str, Any] = {"url": self.receiver.url + self.path("notified")}
        made: dict[str, Any] = self.post(201, "/v1/webhook-endpoints", body | ({"events": events} if events else {}))
        return made

    def stream(self, *routes: str) -> None:
        self.post(201, "/v1/event-streams", {"name": self.name, "default_routes": routes})

    def send(self, number: int = 1) -> str:
        event = {"stream": self.name, "type": "order.fulfilled", "occurred_at": OCCURRED_AT, "data": {"n": number}}
        event_id: str = self.post(202, "/v1/events", event)["id"]
        return event_id

    def requests(self, what: str) -> list[Request]:
        return [request for request in self.receiver.requests if request.path == self.path(what)]

    def wait_for(self, what: str, count: int) -> list[Request]:
        assert wait_until(lambda: len(self.requests(what)) >= count, WAIT_SECONDS), (
            f"{len(self.requests(what))} of {count} at {what}"
        )
        return self.requests(what)

    def notified(self, event_id: str) -> list[dict[str, Any]]:
        bodies = [json.loads(request.body) for request in self.requests("notified")]
        return [body for body in bodies if body["data"].get("event_id") == event_id]

    def wait_until_notified(self, event_id: str, *types: str) -> list[dict[str, Any]]:
        wanted = sorted(types)
        arrived: Callable[[], bool] = lambda: sorted(body["type"] for body in self.notified(event_id)) == wanted  # noqa: E731
        assert wait_until(arrived, WAIT_SECONDS), self.notified(event_id)
        return self.notified(event_id)

    def get(self, path: str) -> Answer:
        return self.api.call("GET", path)


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Receiver]]:
    home: Path = tmp_path_factory.mktemp("atlas") / "home"
    schedule = {"ATLAS_RETRY_LADDER": "events:300ms,300ms", "ATLAS_REPLAYS_PER_SECOND": "20"}
    with Receiver() as receiver, System(home, free_port_base(), schedule) as atlas:
        yield atlas, receiver


@pytest.fixture
def tenant(installation: tuple[System, Receiver]) -> Iterator[Tenant]:
    atlas, receiver = installation
    events = atlas.dev["events"]
    api = EventsApi(events["url"], events["live_key"])
    tenant = Tenant(api, receiver, f"t{secrets.token_hex(4)}", events["workspace_id"], atlas.dev["kafka"])
    yield tenant
    for endpoint in tenant.get("/v1/webhook-endpoints").json["data"]:
        assert tenant.api.call("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}").status == 204
