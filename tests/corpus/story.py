"""A day in the life of an installation: all four APIs, Kafka producers, endpoints that fail, guardrails that trip.

It speaks HTTP, Kafka and the command line only, as users do, so that it says the same to every release. What it makes
is recorded by tests/corpus/installation.py; which record types it must make is checked by tests/unit/test_corpus.py.
"""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from confluent_kafka import Producer

from bench.system import ROOT, System
from tests.corpus import adapter
from tests.support.openai_server import OpenAiServer
from tests.support.provider_stub import ProviderStub
from tests.support.receiver import Receiver, answer

ISSUER, AUDIENCE, SESSION_SECRET = "https://id.example.com", "atlas", "0123456789abcdef" * 4
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOWHERE = "http://127.0.0.1:62999"
"""Nobody listens there, beyond the ports that tests and systems give out: what goes there waits, also later."""
PARTITIONS = 2
WAIT_SECONDS = 90.0
ENV = {
    "ATLAS_PARTITIONS": str(PARTITIONS),
    "ATLAS_JWT_ISSUER": ISSUER,
    "ATLAS_JWT_AUDIENCE": AUDIENCE,
    "ATLAS_JWT_SECRET": SESSION_SECRET,
    "ATLAS_RETRY_LADDER": "events:300ms,12h;work:300ms..1s",
    "ATLAS_VERDICT_TIMEOUT_SECONDS": "30",
    "ATLAS_READ_TIMEOUT_SECONDS": "30",
}
EVENT = {"stream": "orders", "type": "order.fulfilled", "occurred_at": "2026-05-18T14:22:11.5+02:00"}
CALL = {"provider": "openai", "model": "gpt-4o", "status": 200, "tokens_in": 142, "tokens_out": 318}
PLAN = json.dumps({"tasks": [{"title": "Collect"}, {"title": "Write", "dependsOn": [0]}]})


@dataclass
class Told:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Story:
    """`reads`: GET requests (surface, path) whose answers do not change any more when the story is over. `positions`:
    values of `Atlas-Position`, of an event and of a command.
    """

    def __init__(
        self,
        atlas: System,
        session: aiohttp.ClientSession,
        receiver: Receiver,
        provider: ProviderStub,
        llm: OpenAiServer,
    ) -> None:
        self._atlas, self._session = atlas, session
        self.receiver, self.provider, self.llm = receiver, provider, llm
        self.reads: list[tuple[str, str]] = []
        self.positions: list[str] = []
        dev = atlas.dev
        self.workspace: str = dev["events"]["workspace_id"]
        self.org: str = dev["burn"]["org_id"]
        self.urls: dict[str, str] = {name: dev[name]["url"] for name in ("events", "work", "spine", "burn")}
        self.keys: dict[str, str] = {
            "events": dev["events"]["live_key"],
            "test": dev["events"]["test_key"],
            "publishable": dev["events"]["publishable_key"],
            "work": dev["work"]["pat"],
            "read_only": dev["work"]["read_only_pat"],
            "spine": dev["spine"]["key"],
            "burn": dev["burn"]["key"],
            "session": a_session(self.workspace),
        }
        self.producer = Producer({"bootstrap.servers": dev["kafka"], "partitioner": "murmur2_random", "linger.ms": 0})

    async def ask(
        self, surface: str, method: str, path: str, body: object = None, *, key: str | None = None, **headers: str
    ) -> Told:
        """`body`: an object, or bytes as they are; `headers` with `_` for `-`."""
        sent = {"Authorization": f"Bearer {self.keys[key or surface]}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        data = None if content is None else io.BytesIO(content)
        async with self._session.request(method, self.urls[surface] + path, data=data, headers=sent) as response:
            return Told(response.status, dict(response.headers), await response.read())

    async def good(self, surface: str, method: str, path: str, body: object = None, **more: Any) -> Any:
        told = await self.ask(surface, method, path, body, **more)
        assert 200 <= told.status < 300, (method, path, told.status, told.body)
        return told.json if told.body else None

    async def made(self, surface: str, path: str, body: object, **more: Any) -> Any:
        return await self.good(surface, "POST", path, body, **more)

    async def until(self, surface: str, path: str, enough: Callable[[Any], bool], **more: Any) -> Any:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            told = await self.ask(surface, "GET", path, **more)
            if told.status == 200 and enough(told.json):
                return told.json
            assert time.monotonic() < deadline, (path, told.status, told.body)
            await asyncio.sleep(0.1)

    def command_line(self, *arguments: str) -> None:
        """`atlas …` beside the installation."""
        env = {**os.environ, **ENV, "ATLAS_HOME": str(self._atlas.home), "ATLAS_KAFKA": self._atlas.dev["kafka"]}
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    async def whole(self) -> None:
        await self.events()
        await self.kafka_producers()
        await self.spine()
        await self.work()
        await self.burn()
        await self.limits_and_keys()
        await self.what_waits()
        await self.what_comes_by_itself()

    # The events API

    async def events(self) -> None:
        at = self.receiver.url
        for name in ("billing", "search"):
            await self.made(
                "events", "/v1/workflows", {"id": f"wf_{name}", "name": name.title(), "url": f"{at}/{name}"}
            )
        await self.made(
            "events",
            "/v1/workflows",
            {"id": "wf_slow", "name": "Slow", "url": f"{NOWHERE}/slow", "ordering": "per_key"},
        )
        topic = f"routes.{self.workspace}.live.lake"
        await self.made("events", "/v1/workflows", {"id": "wf_lake", "name": "Lake", "kind": "kafka", "topic": topic})
        await self.made("events", "/v1/workflows", {"id": "wf_gone", "name": "Gone", "url": f"{at}/gone"})
        await self.made("events", "/v1/webhook-endpoints", {"url": f"{at}/outcomes", "description": "All of them"})
        shy = await self.made(
            "events", "/v1/webhook-endpoints", {"url": f"{at}/shy", "events": ["event.failed"], "streams": ["orders"]}
        )
        await self.made(
            "events", "/v1/event-streams", {"name": "orders", "default_routes": ["wf_billing", "wf_search", "wf_lake"]}
        )
        await self.made("events", "/v1/event-streams", {"name": "slow", "default_routes": ["wf_slow"]})
        await self.made("events", "/v1/event-streams", {"name": "gone", "default_routes": ["wf_gone"]})
        await self.made("events", "/v1/event-streams", {"name": "brief", "retention_days": 1})
        await self.made("events", "/v1/event-streams", {"name": "orders"}, key="test")
        changes = {"description": "What was shipped", "retention_days": 30}
        changed = await self.ask("events", "PATCH", "/v1/event-streams/orders", changes)
        self.positions.append(changed.headers["Atlas-Position"])
        self.receiver.script("/search", answer(503, b"later", "Retry-After: 0"), answer(200, b"ok"))
        self.receiver.script("/gone", answer(410), answer(200))
        await self._publish()
        await self._webhooks(shy["id"])
        await self._deleted_streams()

    async def _publish(self) -> None:
        sent = await self.ask("events", "POST", "/v1/events", EVENT | {"data": {"n": 1, "price": 1.10, "name": "Zoë"}})
        first = sent.json
        self.positions.append(sent.headers["Atlas-Position"])
        keyed = EVENT | {
            "data": {"n": 2},
            "actor": {"id": "usr_1", "type": "user"},
            "metadata": {"trace": "t-1", "ordering_key": "order-2"},
        }
        second = await self.made("events", "/v1/events", keyed, Idempotency_Key="order-2")
        again = await self.made("events", "/v1/events", keyed, Idempotency_Key="order-2")
        assert again["id"] == second["id"]
        conflict = await self.ask("events", "POST", "/v1/events", keyed | {"data": {"n": 3}}, Idempotency_Key="order-2")
        assert conflict.status == 409, conflict.body
        batch = [EVENT | {"data": {"n": n}, "idempotency_key": f"batch-{n}"} for n in range(3)]
        await self.made("events", "/v1/events/batch", {"events": [*batch, batch[0]]})
        lines = "\n".join(json.dumps(EVENT | {"type": "order.line", "data": {"n": n}}) for n in range(3)).encode()
        await self.made("events", "/v1/events/batch", lines, Content_Type="application/x-ndjson")
        await self.made("events", "/v1/events", EVENT | {"data": {"in": "test"}}, key="test")
        for event in (first, second):
            await self.until("events", f"/v1/events/{event['id']}", lambda told: told["status"] == "delivered")
            self.reads.append(("events", f"/v1/events/{event['id']}"))
        replay = await self.made("events", f"/v1/events/{first['id']}/replay", {"workflows": ["wf_billing"]})
        whole = await self.made("events", "/v1/replays", {"stream": "orders", "from": "2026-05-18T00:00:00Z"})
        await self.until("events", f"/v1/replays/{whole['id']}", lambda told: told["status"] == "completed")
        self.reads += [("events", f"/v1/replays/{whole['id']}")]
        assert replay["id"]

    async def _webhooks(self, shy: str) -> None:
        await self.made("events", f"/v1/webhook-endpoints/{shy}/test", None)
        await self.made("events", f"/v1/webhook-endpoints/{shy}/rotate-secret", {"overlap_seconds": 3600})
        await self.made("events", f"/v1/webhook-endpoints/{shy}/reactivate", None)
        await self.made("events", "/v1/workflows/wf_billing/rotate-secret", {})
        gone = await self.made("events", "/v1/events", EVENT | {"stream": "gone", "data": {}})
        await self.until("events", "/v1/workflows/wf_gone", lambda told: told["status"] == "disabled")
        await self.made("events", "/v1/workflows/wf_gone/reactivate", None)
        await self.until("events", f"/v1/events/{gone['id']}", lambda told: told["status"] == "delivered")
        await self.good("events", "DELETE", f"/v1/webhook-endpoints/{shy}")
        self.reads += [("events", f"/v1/events/{gone['id']}"), ("events", "/v1/webhook-endpoints")]

    async def _deleted_streams(self) -> None:
        topic = f"routes.{self.workspace}.live.short"
        await self.made("events", "/v1/workflows", {"id": "wf_short", "name": "S", "kind": "kafka", "topic": topic})
        await self.good("events", "DELETE", "/v1/workflows/wf_short")
        stream = await self.good("events", "GET", "/v1/event-streams/brief")
        await self.good("events", "DELETE", "/v1/event-streams/brief")
        told = adapter.command("route_topic.expired", self.workspace, "live", {"topic": topic})
        for key, value in (
            told,
            adapter.command("stream.expired", self.workspace, "live", {"stream_id": stream["id"]}),
        ):
            self.producer.produce("commands", value, key)  # as control writes them when the time is over
        self.producer.flush(10)

    # Kafka producers

    async def kafka_producers(self) -> None:
        topic = f"events.{self.workspace}.live.orders"
        plain = json.dumps(EVENT | {"data": {"by": "kafka"}, "idempotency_key": "k-1"}).encode()
        other = json.dumps(EVENT | {"data": {"by": "another"}, "idempotency_key": "k-1"}).encode()
        avro = adapter.direct_event("order.fulfilled", "2026-05-18T14:22:11Z", b'{"by":"avro"}', "k-2")
        for key, value in (
            (b"k-1", plain),
            (b"k-1", plain),
            (b"k-1", other),
            (b"k-2", avro),
            (b"bad", b"\xff no event"),
        ):
            self.producer.produce(topic, value, key)
        strayed = json.dumps(EVENT | {"data": {"strayed": True}, "idempotency_key": "k-3"}).encode()
        for partition in range(PARTITIONS):  # on all but one it is not where its key belongs
            self.producer.produce(topic, strayed, b"k-3", partition=partition)
        cloudevent = {"ce_specversion": "1.0", "ce_id": "A-1", "ce_source": "/orders", "ce_type": "order.fulfilled"}
        self.producer.produce(
            topic,
            b'{"n": 1.0}',
            headers={**cloudevent, "content-type": "application/json"},  # type: ignore[arg-type]
        )
        self.producer.produce("commands", b"\x00 no command", self.workspace.encode())
        self.producer.produce("burn.telemetry", b"\x00 no telemetry", self.workspace.encode())
        assert self.producer.flush(30) == 0
        written = {"k-1", "k-2", "k-3"}
        listed = "/v1/events?stream=orders&limit=100"
        await self.until("events", listed, lambda told: written <= {one["idempotency_key"] for one in told["data"]})

    # The spine

    async def spine(self) -> None:
        at = self.receiver.url
        self.receiver.script("/spine", answer(503), answer(200))
        subscribed = {"eventTypes": ["code.*"], "webhookUrl": f"{at}/spine", "secret": SECRET, "description": "CI"}
        kept = await self.made("spine", "/v1/events/subscriptions", subscribed)
        cloudevents = {"eventTypes": ["code.*"], "webhookUrl": f"{at}/ce", "secret": SECRET, "format": "cloudevents"}
        await self.made("spine", "/v1/events/subscriptions", cloudevents)
        gone = await self.made("spine", "/v1/events/subscriptions", subscribed | {"eventTypes": ["*"]})
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        await self.good("spine", "PUT", "/v1/event-types/code.done", {"description": "Done", "schema": schema})
        wider = schema | {"properties": {"n": {"type": "integer"}, "m": {"type": "string"}}}
        await self.good("spine", "PUT", "/v1/event-types/code.done", {"description": "Done", "schema": wider})
        await self.good("spine", "DELETE", f"/v1/events/subscriptions/{gone['subscriptionId']}")
        for number in range(3):
            event = {
                "type": "code.done",
                "source": "ci",
                "data": {"n": number},
                "metadata": {"correlationId": "run-1"},
            }
            await self.made("spine", "/v1/events", event, Idempotency_Key=f"run-{number}")
        chain = "/v1/events/correlations/run-1"

        def reacted(told: Any) -> bool:
            deliveries = [one for event in told["events"] for one in event["deliveries"]]
            return bool(deliveries) and all(one["status"] == "delivered" for one in deliveries)

        await self.until("spine", chain, reacted)
        self.reads += [("spine", chain), ("spine", "/v1/events?type=code.*"), ("spine", "/v1/event-types/code.done")]
        assert kept["subscriptionId"]

    # The work API

    async def work(self) -> None:
        at = self.receiver.url
        self.receiver.script("/work", answer(503), answer(200))
        hook = await self.made(
            "work", "/v1/webhooks", {"url": f"{at}/work", "events": ["task.created", "task.updated"]}
        )
        await self.made("work", "/v1/webhooks", {"url": f"{at}/all", "events": ["project.created"]})
        await self.made("work", "/v1/webhooks", {"url": f"{NOWHERE}/dead", "events": ["task.created"]})
        await self.good("work", "PATCH", f"/v1/webhooks/{hook['id']}", {"events": ["task.created", "task.updated"]})
        project = await self.made("work", "/v1/projects", {"name": "Q3 forecast"}, Idempotency_Key="project-1")
        await self.good("work", "PATCH", f"/v1/projects/{project['id']}", {"description": "Of all regions"})
        first = await self.made("work", "/v1/tasks", {"projectId": project["id"], "title": "Collect"})
        form = {
            "projectId": project["id"],
            "title": "Write",
            "dependsOn": [first["id"]],
            "dueOn": "2026-12-24T12:00:00Z",
        }
        second = await self.made("work", "/v1/tasks", form)
        third = await self.made("work", "/v1/tasks", {"projectId": project["id"], "title": "Drop"})
        await self.good("work", "PATCH", f"/v1/tasks/{first['id']}", {"status": "DONE"}, If_Match='"1"')
        stale = await self.ask("work", "PATCH", f"/v1/tasks/{first['id']}", {"title": "Late"}, If_Match='"1"')
        assert stale.status == 409, stale.body
        await self.good("work", "DELETE", f"/v1/tasks/{third['id']}")
        await self.made("work", f"/v1/webhooks/{hook['id']}/test", None)
        await self.made("work", f"/v1/webhooks/{hook['id']}/rotate-secret", {})
        deliveries = f"/v1/webhooks/{hook['id']}/deliveries"
        listed = await self.until("work", deliveries, lambda told: len(told["items"]) >= 3)
        event = next(one for one in listed["items"] if one["event"] != "webhook.test")
        await self.made("work", f"{deliveries}/{event['id']}/replay", None)
        await self.made("work", f"/v1/webhooks/{hook['id']}/reactivate", None)
        self.llm.says = [PLAN, "All is well."]
        await self.made("work", "/v1/ai/plan", {"text": "Prepare the forecast"}, Idempotency_Key="plan-1")
        await self.made("work", "/v1/ai/summarize", {"projectId": project["id"]})
        self.llm.status = 500
        failed = await self.ask("work", "POST", "/v1/ai/plan", {"text": "Once more"}, Idempotency_Key="plan-2")
        assert failed.status >= 400, failed.body
        token = await self.made("work", "/v1/tokens", {"name": "CI", "scopes": ["tasks:read"]}, key="session")
        await self.made("work", f"/v1/tokens/{token['id']}/rotate", {}, key="session")
        await self.until("work", deliveries, lambda told: all(one["status"] == "delivered" for one in told["items"]))
        self.reads += [
            ("work", f"/v1/tasks/{second['id']}"),
            ("work", "/v1/tasks"),
            ("work", "/v1/projects"),
            ("work", "/v1/webhooks"),
            ("work", deliveries),
        ]

    # AtlasBurn and its edge proxy

    async def burn(self) -> None:
        caps = [
            {"period": "day", "hard_usd": 1_000, "soft_usd": 3, "scope": "project", "id": "shop"},
            {"period": "month", "hard_usd": 100_000},
        ]
        policy = {"financial_limits": {"caps": caps}, "budget_mode": "strict"}
        await self.good("burn", "PUT", "/api/guardrails/policy", policy)
        call = CALL | {"fingerprint": "sha256:b9c1", "cost_usd": 2.0, "project": "shop"}
        calls = [call | {"ts": _now(), "event_id": f"call-{n}", "fingerprint": f"sha256:{n}"} for n in range(2)]
        await self.made("burn", "/api/ingest", {"events": calls})
        again = await self.made("burn", "/api/ingest", {"events": calls})
        assert again, "told twice, counted once"
        edge = "/openai/v1/chat/completions"
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 12}
        for stream in (False, True):
            told = await self.ask("burn", "POST", edge, asked | {"stream": stream}, AtlasBurn_API_Key=self.keys["burn"])
            assert told.status == 200, told.body
        await self.made("burn", "/api/gate", {"projectId": "shop"})
        span = {
            "traceId": "5b8efff798038103d269b633813fc60c",
            "spanId": "eee19b7ec3c1b174",
            "name": "chat gpt-4o",
            "kind": 3,
            "startTimeUnixNano": str(time.time_ns() - 10**9),
            "endTimeUnixNano": str(time.time_ns()),
            "attributes": [
                {"key": "gen_ai.system", "value": {"stringValue": "openai"}},
                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "10"}},
                {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "20"}},
            ],
        }
        await self.made("burn", "/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
        loop = {"events": [call | {"ts": _now(), "session_id": "s-1", "cost_usd": 0.1} for _ in range(5)]}
        tripped = await self.made("burn", "/api/ingest", loop)
        assert tripped["guardrail_status"] == "suspended", tripped
        resume = {"org_id": self.org, "reason": "seen to"}
        await self.good("burn", "DELETE", "/api/guardrails/enforce", resume)
        flag = {"org_id": self.org, "action": "suspend", "layer": "manual", "reason": "drill"}
        await self.made("burn", "/api/guardrails/enforce", flag)
        await self.good("burn", "GET", "/api/guardrails/status")
        await self.good("burn", "DELETE", "/api/guardrails/enforce", resume)
        await self.made("burn", "/api/guardrails/enforce", flag | {"scope": "project", "scope_id": "shop"})
        await self.good("burn", "PUT", "/api/guardrails/policy", policy | {"budget_mode": "open"})
        self.reads += [("burn", "/api/guardrails/policy"), ("burn", "/api/guardrails/breaches")]

    # What the command line and limited keys do

    async def limits_and_keys(self) -> None:
        keys = "/v1/keys"
        limited = await self.made(
            "events", keys, {"name": "orders only", "streams": ["orders"], "scopes": ["events:write"]}
        )
        self.keys["limited"] = limited["secret"]
        await self.made("events", "/v1/events", EVENT | {"data": {"by": "limited"}}, key="limited")
        forbidden = await self.ask(
            "events", "POST", "/v1/events", EVENT | {"stream": "slow", "data": {}}, key="limited"
        )
        assert forbidden.status in (403, 404), forbidden.body
        page = {"kind": "publishable", "name": "shop", "streams": ["orders"], "origins": ["https://shop.example.com"]}
        self.keys["page"] = (await self.made("events", keys, page))["secret"]
        await self.made("events", "/v1/events", EVENT | {"data": {"by": "a page"}}, key="page")
        rotated = await self.made("events", keys, {"name": "old"})
        await self.made("events", f"{keys}/{rotated['id']}/rotate", {"overlap_seconds": 3600})
        revoked = await self.made("events", keys, {"name": "lost"})
        await self.good("events", "DELETE", f"{keys}/{revoked['id']}")
        await asyncio.to_thread(
            self.command_line, "limits", "set", self.workspace, "--per-minute", "100000", "--burst", "100000"
        )
        await asyncio.to_thread(
            self.command_line, *"limits set --class work.ai --per-minute 100 --burst 100".split(), self.workspace
        )
        await asyncio.to_thread(self.command_line, *"limits clear --class work.ai".split(), self.workspace)

    # What is not finished when the installation stops

    async def what_waits(self) -> None:
        for number in range(3):  # two of one ordering key: the second waits behind the first
            metadata = {"ordering_key": f"o-{number // 2}"}
            event = EVENT | {"stream": "slow", "data": {"n": number}, "metadata": metadata}
            told = await self.made("events", "/v1/events", event)
            if number != 1:
                await self.until(
                    "events",
                    f"/v1/events/{told['id']}",
                    lambda one: any(each["attempt"] >= 3 for each in one["attempts"]),
                )
        running = {"stream": "orders", "from": "2026-05-18T00:00:00Z", "type": "order.fulfilled"}
        cancelled = await self.made("events", "/v1/replays", running)
        await self.good("events", "DELETE", f"/v1/replays/{cancelled['id']}")

    async def what_comes_by_itself(self) -> None:
        """Gateways tell about once a minute when keys were used."""
        await self.until("events", "/v1/keys", lambda told: any(one.get("last_used_at") for one in _items(told)))
        lists = ("events", "/v1/events?limit=5"), ("events", "/v1/audit?limit=5"), ("work", "/v1/activity?limit=2")
        for surface, path in lists:
            page = await self.good(surface, "GET", path)
            cursor = page.get("next_cursor") or page["nextCursor"]
            self.reads += [(surface, path), (surface, f"{path}&cursor={cursor}")]

    async def while_the_broker_stands_still(self, pid: int) -> None:
        """Edge calls whose telemetry can't go to the log: the spool has it until the installation starts again."""
        os.killpg(pid, signal.SIGSTOP)
        edge = "/openai/v1/chat/completions"
        asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "spooled"}], "max_tokens": 12}
        await self.ask("burn", "POST", edge, asked, AtlasBurn_API_Key=self.keys["burn"])

    def let_go_on(self, pid: int) -> None:
        os.killpg(pid, signal.SIGCONT)


def a_session(workspace: str) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "usr_1", "workspace": workspace, "exp": 4_102_444_800}
    return jwt.encode(claims, SESSION_SECRET, algorithm="HS256")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _items(told: Any) -> list[Any]:
    """Of a page of any surface."""
    lists = [value for value in told.values() if isinstance(value, list)]
    return lists[0] if lists else []
