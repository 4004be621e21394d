"""A second gateway beside a whole installation: what one has answered, the other finds at once, on every surface."""

import os
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from bench.system import ROOT, System
from deploy.local.spawn import end, spawn, wait_until
from tests.support.api import EventsApi
from tests.support.events import an_event
from tests.support.ports import free_port, free_port_base

TIMES = 20
PATIENCE = {"ATLAS_VERDICT_TIMEOUT_SECONDS": "30", "ATLAS_READ_TIMEOUT_SECONDS": "20"}
UNKNOWN = "01HX9YQK2T7V3M4ZB6F5N0WJ1A"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Pair:
    """By surface, the API at the first gateway and at the second."""

    def __init__(self, atlas: System, ports: dict[str, int]) -> None:
        dev = atlas.dev
        tokens = {"events": dev["events"]["live_key"], "work": dev["work"]["pat"], "spine": dev["spine"]["key"]}
        self.here = {surface: EventsApi(dev[surface]["url"], token) for surface, token in tokens.items()}
        urls = {surface: f"http://127.0.0.1:{port}" for surface, port in ports.items()}
        self.there = {surface: EventsApi(urls[surface], token) for surface, token in tokens.items()}

    def made(self, surface: str, path: str, body: object, **headers: str) -> Any:
        answer = self.here[surface].post(path, body, **headers)
        assert answer.status in (200, 201, 202), answer.body
        return answer.json

    def found(self, surface: str, path: str) -> int:
        return self.there[surface].call("GET", path).status


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    home = tmp_path_factory.mktemp("two-gateways")
    with System(home, free_port_base(), PATIENCE) as atlas:
        ports = {surface: free_port() for surface in ("events", "work", "spine")}
        env = {
            **os.environ,
            **PATIENCE,
            **{f"ATLAS_{surface.upper()}_PORT": str(port) for surface, port in ports.items()},
            "ATLAS_HOME": str(home),
            "ATLAS_KAFKA": atlas.dev["kafka"],
            "ATLAS_SURFACES": "events,work,spine",
            "ATLAS_METRICS_PORT": str(metrics := free_port()),
        }
        process = spawn([sys.executable, "-m", "ingest_gateway"], log=home / "second.log", env=env, cwd=ROOT)
        operations = EventsApi(f"http://127.0.0.1:{metrics}", "none")
        try:
            assert wait_until(lambda: _is_ready(operations), 60), (home / "second.log").read_text()
            yield Pair(atlas, ports)
        finally:
            end(process, 15)


def _is_ready(operations: EventsApi) -> bool:
    try:
        return operations.call("GET", "/readyz").status == 200
    except OSError:
        return False


def test_events(pair: Pair) -> None:
    pair.made("events", "/v1/event-streams", {"name": "two-gateways"})
    found = []
    for number in range(TIMES):
        key = {"Idempotency_Key": str(uuid.uuid4())} if number % 2 else {}
        event = pair.made("events", "/v1/events", an_event(stream="two-gateways", data={"n": number}), **key)
        found.append(pair.found("events", f"/v1/events/{event['id']}"))
    assert found == [200] * TIMES
    assert pair.found("events", f"/v1/events/evt_{UNKNOWN}") == 404


def test_a_stream_and_its_first_event(pair: Pair) -> None:
    for number in range(3):
        name = f"new-{number}"
        pair.made("events", "/v1/event-streams", {"name": name})
        event = pair.made("events", "/v1/events", an_event(stream=name, data={"n": number}))
        assert pair.found("events", f"/v1/events/{event['id']}") == 200
        assert pair.found("events", f"/v1/event-streams/{name}") == 200


def test_entities(pair: Pair) -> None:
    for number in range(TIMES):
        body = {"id": f"wf_{number}", "name": f"{number}", "url": f"https://example.com/{number}"}
        pair.made("events", "/v1/workflows", body)
        assert pair.found("events", f"/v1/workflows/wf_{number}") == 200
    assert pair.found("events", "/v1/workflows/wf_of_nobody") == 404


def test_projects_and_tasks(pair: Pair) -> None:
    found = []
    for number in range(TIMES):
        project = pair.made("work", "/v1/projects", {"name": f"project {number}"})
        task = pair.made("work", "/v1/tasks", {"projectId": project["id"], "title": f"task {number}"})
        found += [pair.found("work", f"/v1/projects/{project['id']}"), pair.found("work", f"/v1/tasks/{task['id']}")]
    assert found == [200] * 2 * TIMES
    assert pair.found("work", f"/v1/tasks/tsk_{UNKNOWN}") == 404


def test_correlations(pair: Pair) -> None:
    found = []
    for number in range(TIMES):
        correlation = f"run-{uuid.uuid4()}"
        event = {"type": "code.analysis.complete", "source": "two", "data": {"applicationId": f"a-{number}"}}
        pair.made("spine", "/v1/events", event | {"metadata": {"correlationId": correlation}})
        found.append(pair.found("spine", f"/v1/events/correlations/{correlation}"))
    assert found == [200] * TIMES
    assert pair.found("spine", "/v1/events/correlations/of-nobody") == 404
