"""A whole installation on three real brokers while each of them is killed in turn, under 50 events a second: every
group's coordinator, the controller and every partition's leader is among them. Nobody starts a process again.

Brokers keep Kafka's own time-outs (a dead one is replaced after 9 s) and workers the shortest session (6 s), so that
every coordinator's end costs a lease. A checker with books of its own says what must have come of it.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import pairwise

import pytest

from deploy.local.spawn import wait_until
from schemas.records import Decision
from schemas.topics import Topic
from tests.support.api import RETRY_SECONDS, EventsApi
from tests.support.coming_back import Installation, come_back
from tests.support.kafka_topics import read_all
from tests.support.plain_installation import GROUPS, PlainInstallation
from tests.support.receiver import Receiver
from tests.support.three_brokers import NODES, ThreeBrokers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STREAM = "orders"
PROBED = "probes"
"""A stream beside the books'."""
SENDERS = 10
EVENTS_A_SECOND = 50
WITHOUT_IT_SECONDS = 40.0
"""How long a broker may be missing until all is right without it: 9 s until it is replaced, then the groups."""
DELIVERED_SECONDS = 120.0
SILENT_SECONDS_MAX = 5.0


class Books:
    """What was sent, and the id that each event was acknowledged with. A client tries again at the other gateway."""

    def __init__(self, gateways: list[EventsApi]) -> None:
        self.ids: dict[str, str] = {}
        self.faults: list[str] = []
        self.acknowledged_at: list[float] = []
        self.longest_wait_seconds = 0.0
        self.errors: dict[int, int] = defaultdict(int)
        self._gateways = gateways
        self._ended = threading.Event()
        self._senders = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]
        for sender in self._senders:
            sender.start()

    def close(self) -> None:
        self._ended.set()
        for sender in self._senders:
            sender.join()

    def longest_silence(self) -> float:
        """The longest time in which nobody's event was acknowledged."""
        times = sorted(self.acknowledged_at)
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def _send(self, sender: int) -> None:
        number, due = 0, time.monotonic()
        while not self._ended.is_set():
            self._send_one(f"{sender}-{number}", sender + number)
            number += 1
            due = max(due + SENDERS / EVENTS_A_SECOND, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _send_one(self, name: str, number: int) -> None:
        """Until it is acknowledged, however long that takes."""
        event = {"stream": STREAM, "type": "order.paid", "occurred_at": "2026-05-18T14:22:11Z", "data": {"n": name}}
        headers = {"Idempotency_Key": name} if number % 2 == 0 else {}
        began = time.monotonic()
        while True:
            try:
                answer = self._gateways[number % len(self._gateways)].post("/v1/events", event, **headers)
            except (OSError, HTTPException):
                self.errors[0] += 1
            else:
                if answer.status == 202:
                    now = time.monotonic()
                    self.ids[name] = answer.json["id"]
                    self.acknowledged_at.append(now)
                    self.longest_wait_seconds = max(self.longest_wait_seconds, now - began)
                    return
                self.errors[answer.status] += 1
                if answer.status < 500:
                    self.faults.append(f"{name}: {answer.status} {answer.body!r}")
                    return
            number += 1
            time.sleep(RETRY_SECONDS)


@dataclass
class Run:
    """What came of it; each test looks at one side."""

    books: Books
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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    home = tmp_path_factory.mktemp("three")
    brokers = ThreeBrokers(home / "brokers")
    atlas = PlainInstallation(brokers.bootstrap, home / "atlas")
    try:
        with Receiver() as receiver:
            brokers.start_all()
            yield run_of(brokers, atlas, receiver)
    finally:
        atlas.kill()
        brokers.kill_all()


def run_of(brokers: ThreeBrokers, atlas: PlainInstallation, receiver: Receiver) -> Run:
    atlas.start()
    apis = atlas.apis()
    made = apis[0].post("/v1/workflows", {"id": "wf_all", "name": "All", "url": receiver.url + "/hook"})
    assert made.status == 201, made.body
    assert apis[0].post("/v1/event-streams", {"name": STREAM, "default_routes": ["wf_all"]}).status == 201
    assert apis[0].post("/v1/event-streams", {"name": PROBED}).status == 201
    books = Books(apis)
    run = Run(books)
    try:
        for broker in range(NODES):
            kill_and_return(brokers, broker, atlas, run)
    finally:
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


@pytest.mark.requirement("F1", "A-002")
def test_nothing_acknowledged_is_lost_or_doubled(run: Run) -> None:
    books = run.books
    waits = f"longest wait of one {books.longest_wait_seconds:.1f} s, of all {books.longest_silence():.1f} s"
    print(
        f"{len(books.ids)} events, {run.attempts} attempts, errors {dict(books.errors)}, {waits}\n"
        + "\n".join(run.took)
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


def test_clients_are_never_without_an_answer_for_long(run: Run) -> None:
    assert run.books.longest_silence() <= SILENT_SECONDS_MAX
