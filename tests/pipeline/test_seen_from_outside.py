"""A whole run as those see it who watch it: operations ports, logs, Prometheus with the shipped dashboard.

One installation for all of it. Traffic of every kind goes through it: new, repeated, conflicting and bad events,
batches, records straight to Kafka, an endpoint that fails, what is no HTTP, and secrets where people paste them.
"""

import json
import socket
import stat
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.system import System
from deploy.local.spawn import wait_until
from operations.settings import PROCESSES
from schemas.records import DeadLetter
from schemas.topics import Topic, stream_topic
from tests.support import dashboard
from tests.support.api import Answer, EventsApi
from tests.support.events import an_event
from tests.support.ports import free_port_base
from tests.support.prometheus import PROGRAM, Prometheus
from tests.support.receiver import Receiver, answer

SECRET = "hunter2-s3cret-9f1b"
PAYLOAD = "payload-of-a-customer"
STREAM = "orders-seen"
ROUTES = ["wf_good", "wf_bad"]
ROUNDS_MAX = 40
COMPLETION = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": PAYLOAD}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
    }
).encode()

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("seen from outside")]


class Watched:
    """The running installation, and what was answered to whom."""

    def __init__(self, atlas: System, receiver: Receiver) -> None:
        self.atlas = atlas
        self.receiver = receiver
        self.dev = atlas.dev["events"]
        self.api = EventsApi(self.dev["url"], self.dev["live_key"])
        self.answers: list[Answer] = []
        self.secrets = {SECRET, PAYLOAD, self.dev["live_key"], self.dev["test_key"], self.dev["publishable_key"]}
        self.secrets.add(atlas.dev["burn"]["key"])
        self.secrets.add((atlas.home / "master.key").read_text().strip())
        self.rounds = 0

    def prepare(self) -> None:
        self.receiver.script("/bad", answer(503, SECRET.encode()))
        self.receiver.script("/v1/chat/completions", answer(200, COMPLETION, "Content-Type: application/json"))
        for workflow in ROUTES:
            url = f"{self.receiver.url}/{workflow.removeprefix('wf_')}?token={SECRET}"
            made = self._post(201, "/v1/workflows", {"id": workflow, "name": workflow, "url": url})
            self.secrets.add(made.json["signing_secret"])
        self._post(400, "/v1/workflows", {"name": "x", "url": f"http://user:{SECRET}@example.com/"})
        self._post(201, "/v1/event-streams", {"name": STREAM, "default_routes": ROUTES})

    def send_a_round(self) -> None:
        """Some of everything. Each round makes new events and one new stream."""
        self.rounds += 1
        self._send_good_events()
        self._send_bad_requests()
        self._send_to_kafka()
        self._ask_a_model()
        self._post(201, "/v1/event-streams", {"name": f"seen-{self.rounds}"})

    def process(self, name: str, path: str) -> Answer:
        metrics_url = self.atlas.dev["metrics"][PROCESSES.index(name)]
        return EventsApi(metrics_url.removesuffix("/metrics"), "none").call("GET", path)

    def _send_good_events(self) -> None:
        key = str(uuid.uuid4())
        first = self._post(202, "/v1/events", self._event(), Idempotency_Key=key, User_Agent=f'x" {SECRET[:3]}\t')
        again = json.loads(self._last_body)
        assert self._post(202, "/v1/events", again, Idempotency_Key=key).json["id"] == first.json["id"]
        self._post(409, "/v1/events", self._event(), Idempotency_Key=key)
        self._post(202, "/v1/events", self._event())
        self._post(200, "/v1/events/batch", {"events": [self._event(), {"stream": STREAM, "data": SECRET}]})
        self._keep(200, self.api.call("GET", f"/v1/events/{first.json['id']}"))

    def _send_bad_requests(self) -> None:
        self._post(400, "/v1/events", self._event(occurred_at=SECRET))
        self._keep(400, self.api.call("POST", "/v1/events", f'{{"{PAYLOAD}'.encode()))
        self._keep(400, self.api.call("GET", f"/v1/event-streams?api_key={SECRET}"))
        self._keep(401, EventsApi(self.dev["url"], f"atlas_live_sk_{SECRET}").call("GET", "/v1/workflows"))
        self._keep(404, self.api.call("GET", f"/nowhere/{SECRET}"))
        address = urlsplit(self.dev["url"])
        with socket.create_connection((address.hostname, address.port), 10) as wire:
            wire.sendall(f"\x16\x03{SECRET}\r\n\r\n".encode())
            wire.recv(1_000)

    def _send_to_kafka(self) -> None:
        topic = stream_topic(self.dev["workspace_id"], "live", STREAM)
        producer = Producer({"bootstrap.servers": self.atlas.dev["kafka"]})
        for value in (b"\xff" + SECRET.encode(), f'{{"type":"{SECRET}","token":"{SECRET}"}}'.encode(), b""):
            producer.produce(topic, value, SECRET.encode())
        for partition in range(4):  # at most one of them is its key's own
            producer.produce(topic, json.dumps(self._event()).encode(), f"{uuid.uuid4()}".encode(), partition)
        assert producer.flush(30) == 0

    def _ask_a_model(self) -> None:
        """Through the edge proxy; the provider is this test's own receiver."""
        burn = self.atlas.dev["burn"]
        question = {"model": "gpt-4o", "messages": [{"role": "user", "content": f"{PAYLOAD} {uuid.uuid4()}"}]}
        edge = EventsApi(burn["edge_url"], f"sk-{SECRET}")
        self._keep(200, edge.post("/openai/v1/chat/completions", question, AtlasBurn_API_Key=burn["key"]))

    def _event(self, **changes: Any) -> dict[str, Any]:
        data = {"number": str(uuid.uuid4()), "card": PAYLOAD, "token": SECRET}
        actor = {"type": "user", "id": "usr_1", "user_agent": f"\r\n\x1b[31m{SECRET}"}
        return an_event(stream=STREAM, data=data, actor=actor, metadata={"password": SECRET}, **changes)

    def _post(self, status: int, path: str, body: object, **headers: str) -> Answer:
        self._last_body = json.dumps(body)
        return self._keep(status, self.api.post(path, body, **headers))

    def _keep(self, status: int, answered: Answer) -> Answer:
        assert answered.status == status, answered.body
        self.answers.append(answered)
        return answered


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Receiver() as receiver:
        providers = json.dumps({"openai": f"{receiver.url}/v1"})
        env = {"ATLAS_EDGE_PROVIDERS": providers}
        with System(tmp_path_factory.mktemp("seen"), free_port_base(), env) as atlas:
            run = Watched(atlas, receiver)
            run.prepare()
            run.send_a_round()
            yield run


@pytest.fixture
def logs(watched: Watched) -> dict[str, str]:
    """What each process has logged, once the first round's bad records were set aside and told of, and each answer of
    all rounds until now: other tests send more, and a line may come after its answer.
    """
    assert wait_until(lambda: watched.atlas.log("admission").count("record.dead") > 0, 30)
    assert len(dead_letters(watched.atlas.dev["kafka"])) >= 3
    ids = [answered.headers[request_id_header(answered)] for answered in watched.answers]
    assert wait_until(lambda: all(one in watched.atlas.log("gateway") for one in ids), 30)
    return {name: watched.atlas.log(name) for name in PROCESSES}


def request_id_header(answered: Answer) -> str:
    return "AtlasBurn-Request-Id" if "AtlasBurn-Request-Id" in answered.headers else "X-Request-Id"


def is_ready(watched: Watched, name: str) -> bool:
    return bool(watched.process(name, "/readyz").json == {"status": "ready"})


def test_every_process_lives_is_ready_and_shows_its_metrics(watched: Watched) -> None:
    for name in PROCESSES:
        assert watched.process(name, "/healthz").json == {"status": "alive"}
        # A worker that has just taken up a new stream says for a moment that it has not read it to the end.
        assert wait_until(partial(is_ready, watched, name), 30), watched.process(name, "/readyz").body
        metrics = watched.process(name, "/metrics")
        assert metrics.headers["Content-Type"].startswith("text/plain") and b"\natlas_ready 1.0\n" in metrics.body


@pytest.mark.requirement("S13")
def test_every_log_line_is_one_json_object(logs: dict[str, str]) -> None:
    for name, text in logs.items():
        lines = [json.loads(line) for line in text.splitlines()]
        assert lines, name
        assert all({"time", "level", "process", "logger", "message"} <= line.keys() for line in lines)
        assert {line["process"] for line in lines} == {name}


@pytest.mark.requirement("A-071")
def test_every_answer_is_found_in_the_gateways_log_by_its_request_id(watched: Watched, logs: dict[str, str]) -> None:
    lines = [json.loads(line) for line in logs["gateway"].splitlines()]
    by_id = {line["request_id"]: line for line in lines if line["message"] == "request.answered"}
    assert watched.answers
    for answered in watched.answers:
        own_name = request_id_header(answered)
        line = by_id[answered.headers[own_name]]
        surface = "burn" if own_name != "X-Request-Id" else "events"
        assert (line["status"], line["surface"]) == (answered.status, surface)
        if line["operation"] == "publish_event" and answered.status == 202:
            assert line["event_id"] == answered.json["id"] and line["workspace"] == watched.dev["workspace_id"]


def test_a_repeat_without_a_key_is_known_by_when_its_event_was_received(watched: Watched) -> None:
    """What the document says at both operations; the two records never have one millisecond for long."""
    event = an_event(stream=STREAM, data={"number": str(uuid.uuid4())})
    first = watched.api.post("/v1/events", event).json
    again = dict(first)

    def is_later() -> bool:
        again.update(watched.api.post("/v1/events", event).json)
        return bool(again["received_at"] > first["received_at"])

    assert wait_until(is_later, 30)
    stored = watched.api.call("GET", f"/v1/events/{first['id']}").json
    assert (again["id"], stored["received_at"]) == (first["id"], first["received_at"])


@pytest.mark.requirement("A10")
def test_no_secret_and_no_payload_is_in_logs_metrics_or_dead_letter_reasons(
    watched: Watched, logs: dict[str, str]
) -> None:
    told = {f"log of {name}": text for name, text in logs.items()}
    told["atlas up"] = watched.atlas.output.read_text()
    told |= {f"metrics of {name}": watched.process(name, "/metrics").body.decode() for name in PROCESSES}
    told["reasons"] = repr([(letter.reason, letter.message) for letter in dead_letters(watched.atlas.dev["kafka"])])
    found = {(where, secret) for where, text in told.items() for secret in watched.secrets if secret in text}
    assert not found


def test_nothing_of_the_installation_is_open_to_other_users(watched: Watched, logs: dict[str, str]) -> None:
    """Whoever made it: a process of ours, RocksDB, SQLite, the broker's JVM."""
    home = watched.atlas.home
    ours = [path for path in (home, *home.rglob("*")) if path != watched.atlas.output]  # that file is this test's own
    assert {path.name for path in ours if stat.S_IMODE(path.lstat().st_mode) & 0o077} == set()
    names = {path.name for path in ours}
    assert {"master.key", "dev.json", "read-model.sqlite", "read-model.sqlite-wal", "CURRENT", "gateway.log"} <= names
    assert {"server.properties", "meta.properties", "00000000000000000000.log"} <= names


@pytest.mark.requirement("S14")
def test_no_metric_has_a_label_value_that_somebody_sent(watched: Watched, logs: dict[str, str]) -> None:
    sent = {STREAM, "seen-1", *ROUTES, watched.dev["workspace_id"], "nowhere", "order.fulfilled", "evt_", "usr_1"}
    for name in PROCESSES:
        metrics = watched.process(name, "/metrics").body.decode()
        assert not {word for word in sent if word in metrics}, name


@pytest.mark.skipif(PROGRAM is None, reason="prometheus (Debian: prometheus) is not installed")
def test_every_query_of_the_dashboard_returns_data(watched: Watched, tmp_path: Path) -> None:
    configuration = watched.atlas.home / "prometheus" / "prometheus.yml"
    with Prometheus(configuration, tmp_path) as prometheus:
        assert wait_until(lambda: prometheus.targets_up() == len(PROCESSES), 30)
        left = dashboard.queries()
        for _ in range(ROUNDS_MAX):
            watched.send_a_round()
            wait_until(lambda: False, 2)  # scrapes come every five seconds; rates need two of them
            left = [query for query in left if not prometheus.values(query.expr)]
            if not left:
                break
        assert not left
        assert not prometheus.rules_failing()


def dead_letters(bootstrap: str) -> list[DeadLetter]:
    """All that were set aside so far; at least the bad records of the first round."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"seen-{uuid.uuid4()}"})
    partitions = sorted(consumer.list_topics(Topic.DEAD_LETTERS, timeout=30).topics[Topic.DEAD_LETTERS].partitions)
    consumer.assign([TopicPartition(Topic.DEAD_LETTERS, partition, 0) for partition in partitions])
    letters: list[DeadLetter] = []
    while (message := consumer.poll(1.0)) is not None or len(letters) < 3:
        if message is not None and message.error() is None:
            letters.append(DeadLetter.decode(message.value()))
    consumer.close()
    return letters
