"""A whole installation on three real brokers while each of them is killed in turn, under 50 events a second: every
group's coordinator, the controller and every partition's leader is among them. Nobody starts a process again.

Once with Kafka's own time-outs (a dead broker is replaced after 9 s) and the shortest sessions of workers (6 s), so
that every coordinator's end costs a lease; and once as docs/production.md says. A checker with books of its own says
what must have come of it.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from deploy.local.spawn import wait_until
from schemas.records import Decision
from schemas.topics import Topic
from tests.support.books import Books
from tests.support.coming_back import Installation, come_back
from tests.support.kafka_topics import read_all
from tests.support.plain_installation import GROUPS, PlainInstallation
from tests.support.probes import Probes
from tests.support.receiver import Receiver
from tests.support.three_brokers import NODES, ThreeBrokers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STREAM = "orders"
PROBED = "probes"
"""A stream beside the books'."""
EVENTS_A_SECOND = 50
WITHOUT_IT_SECONDS = 40.0
"""How long a broker may be missing until all is right without it: 9 s until it is replaced, then the groups."""
DELIVERED_SECONDS = 120.0
QUIET_SECONDS = 5.0
"""Between one broker and the next."""


class Setup(NamedTuple):
    """`refused_seconds_max`: for how long one client, or one kind of request, may get nothing but 503."""

    properties: dict[str, str]
    environment: dict[str, str]
    refused_seconds_max: float


AS_KAFKA_COMES = Setup({}, {}, 9.0 + 5.0)
AS_THE_GUIDE_SAYS = Setup(
    {
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "1000",
        "controller.quorum.fetch.timeout.ms": "1000",
        "controller.quorum.election.timeout.ms": "500",
    },
    {"ATLAS_SESSION_SECONDS": "20"},
    5.0,
)


@dataclass(repr=False)
class Run:
    """What came of it; each test looks at one side."""

    setup: Setup
    books: Books
    probes: Probes
    delivered: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By event id: the ids of its deliveries."""
    attempts: int = 0
    admitted: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    ended: list[str] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=lambda: {"workers": [], "whole": []})
    took: list[str] = field(default_factory=list)

    def look(self, side: str, when: str, installation: Installation, within_seconds: float) -> None:
        try:
            self.took.append(f"{when}, {side}: {come_back(installation, within_seconds):.1f} s")
        except AssertionError as wrong:
            self.wrong[side].append(f"{when}: {wrong}")


@pytest.fixture(scope="module", params=[AS_KAFKA_COMES, AS_THE_GUIDE_SAYS], ids=["as Kafka comes", "as the guide says"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    setup, home = request.param, tmp_path_factory.mktemp("three")
    brokers = ThreeBrokers(home / "brokers", setup.properties)
    atlas = PlainInstallation(brokers.bootstrap, home / "atlas", **setup.environment)
    try:
        with Receiver() as receiver:
            brokers.start_all()
            yield run_of(setup, brokers, atlas, receiver)
    finally:
        atlas.kill()
        brokers.kill_all()


def run_of(setup: Setup, brokers: ThreeBrokers, atlas: PlainInstallation, receiver: Receiver) -> Run:
    atlas.start()
    apis = atlas.apis()
    made = apis[0].post("/v1/workflows", {"id": "wf_all", "name": "All", "url": receiver.url + "/hook"})
    assert made.status == 201, made.body
    assert apis[0].post("/v1/event-streams", {"name": STREAM, "default_routes": ["wf_all"]}).status == 201
    assert apis[0].post("/v1/event-streams", {"name": PROBED}).status == 201
    books = Books(apis, STREAM, events_a_second=EVENTS_A_SECOND)
    run = Run(setup, books, Probes(atlas.whole(PROBED)))
    try:
        for broker in range(NODES):
            kill_and_return(brokers, broker, atlas, run)
    finally:
        run.probes.close()
        books.close()
    seen = lambda: {json.loads(request.body)["id"] for request in list(receiver.requests)}  # noqa: E731
    wait_until(lambda: set(books.ids.values()) <= seen(), DELIVERED_SECONDS, 1.0)
    for request in receiver.requests:
        run.delivered[json.loads(request.body)["id"]].add(request.headers["x-atlas-delivery"])
    run.attempts = len(receiver.requests)
    for record in read_all(brokers.bootstrap, Topic.DECISIONS):
        decision = Decision.decode(record.value)
        if decision.outcome == "admitted":
            run.admitted[decision.event_id].add(record.value or b"")
    run.ended += atlas.ended()
    return run


def kill_and_return(brokers: ThreeBrokers, broker: int, atlas: PlainInstallation, run: Run) -> None:
    roles = [group for group in GROUPS if brokers.coordinator_of(group) == broker]
    roles += ["controller"] if brokers.controller() == broker else []
    name = f"broker {broker} ({', '.join(roles) or 'leaders alone'})"
    brokers.kill(broker)
    run.look("workers", f"{name} away", atlas.only_workers(PROBED), WITHOUT_IT_SECONDS)
    run.look("whole", f"{name} away", atlas.whole(PROBED), WITHOUT_IT_SECONDS)
    brokers.start(broker)
    run.look("workers", f"{name} back", atlas.only_workers(PROBED), 15.0)
    run.look("whole", f"{name} back", atlas.whole(PROBED), 15.0)
    assert wait_until(brokers.in_sync, 90, 1.0)
    brokers.elect_preferred()
    run.look("whole", f"{name} leads again", atlas.whole(PROBED), 15.0)
    time.sleep(QUIET_SECONDS)


@pytest.mark.requirement("F1", "A-002")
def test_nothing_acknowledged_is_lost_or_doubled(run: Run) -> None:
    books = run.books
    kind, wrong_seconds = max(run.probes.longest_wrong.items(), key=lambda one: one[1], default=("none", 0.0))
    print(
        f"{len(books.ids)} events, {run.attempts} attempts, errors {dict(books.errors)}",
        f"longest wait of one {books.longest_wait_seconds:.1f} s, of all {books.longest_silence():.1f} s",
        f"one client's 503 for {books.longest_refused_seconds:.1f} s",
        f"{run.probes.asked} other requests, the longest wrong for {wrong_seconds:.1f} s: {kind}",
        *run.took,
        sep="\n",
    )
    acknowledged = set(books.ids.values())
    assert not books.faults
    assert len(acknowledged) == len(books.ids), "each event has an id of its own"
    assert acknowledged <= run.admitted.keys()
    assert acknowledged <= run.delivered.keys()
    assert {len(versions) for versions in run.admitted.values()} == {1}, "each is admitted in one way"
    assert {len(ids) for ids in run.delivered.values()} == {1}, "each is one delivery, however often it was sent"


@pytest.mark.requirement("F1", "F2")
def test_no_process_ends_and_every_worker_is_ready_again(run: Run) -> None:
    assert run.ended == []
    assert run.wrong["workers"] == []


def test_every_kind_of_request_is_right_again_at_every_gateway(run: Run) -> None:
    assert run.wrong["whole"] == []


def test_no_client_is_refused_for_long(run: Run) -> None:
    assert run.books.longest_refused_seconds <= run.setup.refused_seconds_max
    probes, longest = run.probes, run.setup.refused_seconds_max
    assert {kind: probes.said[kind] for kind, seconds in probes.longest_wrong.items() if seconds > longest} == {}
