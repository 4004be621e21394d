"""The whole installation under load over HTTP while the broker, the gateway and processors are killed, again and again.

Clients do what clients do: they send again until they have a 202, with their key or with the same content. A checker
with books of its own then asks whether all that was acknowledged is one event, one delivery, and nothing else is.
After each kill everything must be right within 15 s of the return, for every kind of request, at a second gateway too.
`CHAOS_ROUNDS` and `CHAOS_SEED` as in test_kills.py.
"""

import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.system import NO_LIMIT_IN_SIGHT, System
from deploy.local.spawn import wait_until
from tests.chaos.test_kills import ROUNDS, SEED
from tests.support.api import EventsApi
from tests.support.books import Books
from tests.support.coming_back import Installation, WorkProject, come_back
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port_base
from tests.support.receiver import Receiver, Request
from tests.support.victims import VICTIMS, kill, ready_urls, wait_for_return

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 60 * ROUNDS)]

EVENTS_A_SECOND = 50.0
KILLS = max(3, ROUNDS // 10)
GO_ON_SECONDS = 90.0
PROBED = "probes"
"""A stream beside the books'."""
UNDELIVERED = ("accepted", "processing", "retried", "failed")


@pytest.mark.requirement("F1", "F34", "A-002", "A-004")
def test_everything_acknowledged_is_delivered_whoever_is_killed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    processors = [name for name in VICTIMS if name not in ("broker", "gateway")]
    with Receiver() as receiver, System(tmp_path / "home", free_port_base()) as atlas, second_gateway(atlas) as other:
        api = EventsApi(atlas.dev["events"]["url"], atlas.dev["events"]["live_key"])
        api.post("/v1/workflows", {"id": "wf_all", "name": "All", "url": receiver.url + "/hook"})
        api.post("/v1/event-streams", {"name": "orders", "default_routes": ["wf_all"]})
        api.post("/v1/event-streams", {"name": PROBED})
        burn, spine = (EventsApi(atlas.dev[one]["url"], atlas.dev[one]["key"]) for one in ("burn", "spine"))
        work = WorkProject(
            EventsApi(atlas.dev["work"]["url"], atlas.dev["work"]["pat"]), atlas.dev["work"]["project_id"]
        )
        second = EventsApi(other.url, atlas.dev["events"]["live_key"])
        urls = ready_urls(atlas) | {"second gateway": other.ready_url}
        whole = Installation(urls, [api, second], PROBED, [burn], [work], [spine])
        books = Books([api], "orders", events_a_second=EVENTS_A_SECOND)
        try:
            for _ in range(KILLS):
                for victim in ("broker", "gateway", chance.choice(processors)):
                    acknowledged = len(books.ids)
                    assert wait_until(lambda: len(books.ids) >= acknowledged + 20, GO_ON_SECONDS), "nobody came back"  # noqa: B023
                    time.sleep(chance.uniform(0, 1))
                    kill(atlas, victim)
                    wait_for_return(atlas, victim)
                    took_seconds = come_back(whole)
                    print(f"{victim}: all is right {took_seconds:.1f} s after its return")
            acknowledged = len(books.ids)
            assert wait_until(lambda: len(books.ids) >= acknowledged + 20, GO_ON_SECONDS), "nobody came back"
        finally:
            books.close()
        assert not books.faults
        assert wait_until(lambda: not undelivered(api), GO_ON_SECONDS), undelivered(api)
        check(books, receiver.requests)


@contextmanager
def second_gateway(atlas: System) -> Iterator[GatewayProcess]:
    """Beside the one that is killed, and never started again."""
    gateway = GatewayProcess(atlas.dev["kafka"], atlas.home, ATLAS_RATE_OVERRIDES=NO_LIMIT_IN_SIGHT)
    try:
        gateway.start_until_ready()
        yield gateway
    finally:
        gateway.kill()


def undelivered(api: EventsApi) -> list[str]:
    """Some of the events that stand anywhere but at `delivered`, with where."""
    found = []
    for status in UNDELIVERED:
        answer = api.call("GET", f"/v1/events?stream=orders&status={status}&limit=5")
        assert answer.status in (200, 503), answer.body
        found += [f"{answer.status}"] if answer.status == 503 else [f"{e['id']} {status}" for e in answer.json["data"]]
    return found


def check(books: Books, arrived: list[Request]) -> None:
    names: dict[str, set[str]] = defaultdict(set)
    deliveries: dict[str, set[str]] = defaultdict(set)
    for request in arrived:
        event = json.loads(request.body)
        names[event["id"]].add(event["data"]["n"])
        deliveries[event["id"]].add(request.headers["x-atlas-delivery"])
    assert len(set(books.ids.values())) == len(books.ids), "each event has an id of its own"
    assert names == {event_id: {name} for name, event_id in books.ids.items()}, "all that was sent, and nothing else"
    assert {len(one) for one in deliveries.values()} == {1}, "each is one delivery, however often it was sent"
    in_doubt = len(books.in_doubt)
    again = len(arrived) - len(books.ids)
    figures = f"{len(books.ids)} events, {in_doubt} of them in doubt on the way, {again} attempts made twice"
    print(f"{3 * KILLS} kills (seed {SEED}): {figures}")
    assert in_doubt, "no kill met a request: nothing was shown"
