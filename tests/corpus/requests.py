"""What is asked of the four APIs for the corpus: each operation with success, then each with what is wrong with it."""

import json
import re
from typing import Any

from tests.corpus.answers import Asked, Client, Exchange
from tests.support.access import DocumentedOperation

ULID = "01HX9Z0F8C5G3R8K2V1NQ7M4WP"
NOBODYS = {
    "stream": f"stm_{ULID}",
    "workflow": "wf_nobodys",
    "key": f"key_{ULID}",
    "endpoint": f"whe_{ULID}",
    "event_id": f"evt_{ULID}",
    "replay": f"rpl_{ULID}",
    "project": f"prj_{ULID}",
    "task": f"tsk_{ULID}",
    "webhook": f"whk_{ULID}",
    "delivery": f"dlv_{ULID}",
    "token": f"key_{ULID}",
    "correlationId": "nobodys-chain",
    "subscriptionId": f"sub_{ULID}",
    "type": "nobodys.type",
}
AT = "https://example.com"
EVENT = {"stream": "orders", "type": "order.fulfilled", "occurred_at": "2024-05-18T14:22:11.5+02:00"}
CALL = {
    "provider": "openai",
    "model": "gpt-4o",
    "status": 200,
    "tokens_in": 142,
    "tokens_out": 318,
    "fingerprint": "sha256:b9c1",
    "cost_usd": 3.5,
    "ts": "2024-05-18T14:24:00Z",
}
PLAN = json.dumps({"tasks": [{"title": "Collect"}, {"title": "Write", "dependsOn": [0], "dueOn": "soon"}]})
ENDLESS = frozenset({"stream_events"})
"""Operations whose answers do not end: of these only what they refuse."""


class Asking:
    """Keeps every exchange, in order."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.exchanges: list[Exchange] = []

    async def ask(
        self,
        surface: str,
        method: str,
        path: str,
        body: object = None,
        *,
        who: str = "one",
        before: Any = None,
        **headers: str,
    ) -> Exchange:
        text = body if isinstance(body, str) or body is None else json.dumps(body, ensure_ascii=False)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.exchanges.append(await self.client.ask(Asked(surface, method, path, text, who, sent, before or {})))
        return self.exchanges[-1]

    async def good(self, *what: Any, **more: Any) -> Any:
        """The body of an answer that is a good one."""
        told = await self.ask(*what, **more)
        assert told.status < 300, (told.asked, told.status, told.body)
        return json.loads(told.body) if told.body else None

    async def pages(self, surface: str, path: str, **more: Any) -> None:
        """The first two pages of a list, one entry each, and all of it."""
        told = await self.ask(surface, "GET", f"{path}?limit=1", **more)  # some lists are always whole, and say so
        page = json.loads(told.body)
        cursor = page.get("next_cursor") or page.get("nextCursor")
        if cursor:
            await self.good(surface, "GET", f"{path}?limit=1&cursor={cursor}", **more)
        await self.good(surface, "GET", path, **more)


async def everything(client: Client) -> list[Exchange]:
    asking = Asking(client)
    await events(asking)
    await spine(asking)
    await work(asking)
    await burn(asking)
    for surface, contract in client.gateway.contracts.items():
        for operation in contract.operations:
            await refused(asking, surface, operation)
    for surface in client.gateway.contracts:
        await wrong_with_any(asking, surface)
    return asking.exchanges


async def events(asking: Asking) -> None:
    async def made(path: str, body: object, **more: str) -> Any:
        return await asking.good("events", "POST", path, body, **more)

    workflow = {"id": "wf_billing", "name": "Billing", "url": f"{AT}/billing", "ordering": "per_key"}
    await made("/v1/workflows", workflow)
    again = await asking.ask("events", "POST", "/v1/workflows", workflow)
    assert again.status == 409, again.body
    lake = {"id": "wf_lake", "name": "Lake", "kind": "kafka", "topic": "routes.ws_C0RPVS0NE1.live.lake"}
    await made("/v1/workflows", lake)
    orders = {
        "name": "orders",
        "description": "What was shipped",
        "retention_days": 30,
        "default_routes": ["wf_billing"],
    }
    await made("/v1/event-streams", orders, Idempotency_Key="stream-1")
    await made("/v1/event-streams", orders, Idempotency_Key="stream-1")
    for body, key in ((orders, "stream-2"), (orders | {"name": "others"}, "stream-1")):
        conflict = await asking.ask("events", "POST", "/v1/event-streams", body, Idempotency_Key=key)
        assert conflict.status == 409, conflict.body
    await asking.good("events", "PATCH", "/v1/event-streams/orders", {"description": None, "retention_days": 7})
    await made("/v1/event-streams", {"name": "brief"})
    first = await made("/v1/events", EVENT | {"data": {"n": 1, "price": 1.10, "name": "Zoë"}})
    keyed = EVENT | {
        "data": {"n": 2},
        "actor": {"id": "usr_1", "type": "user"},
        "metadata": {"trace": "t-1", "ordering_key": "order-2"},
    }
    for _ in range(2):
        await made("/v1/events", keyed, Idempotency_Key="order-2")
    conflict = await asking.ask("events", "POST", "/v1/events", keyed | {"data": {"n": 3}}, Idempotency_Key="order-2")
    assert conflict.status == 409, conflict.body
    rows = [EVENT | {"data": {"n": n}, "idempotency_key": f"batch-{n}"} for n in range(2)]
    await made("/v1/events/batch", {"events": [*rows, rows[0], rows[1] | {"data": {}}, {"type": "?"}]})
    lines = "\n".join(json.dumps(EVENT | {"data": {"line": n}}) for n in range(2))
    await made("/v1/events/batch", lines, Content_Type="application/x-ndjson")
    await asking.good("events", "GET", f"/v1/events/{first['id']}")
    for query in (
        "type=order.fulfilled",
        "status=accepted",
        "idempotency_key=order-2",
        "metadata.trace=t-1",
        "nonsense=1",
    ):
        await asking.ask("events", "GET", f"/v1/events?{query}")
    await _events_entities(asking, first["id"])


async def _events_entities(asking: Asking, event: str) -> None:
    async def made(path: str, body: object = None, **more: str) -> Any:
        return await asking.good("events", "POST", path, body, **more)

    endpoint = await made("/v1/webhook-endpoints", {"url": f"{AT}/told", "description": "All"})
    some = {"url": f"{AT}/some", "events": ["event.failed"], "streams": ["orders"]}
    await made("/v1/webhook-endpoints", some)
    at = f"/v1/webhook-endpoints/{endpoint['id']}"
    for action in ("test", "reactivate", "rotate-secret"):
        await made(f"{at}/{action}")
    await asking.good("events", "GET", at)
    key = await made("/v1/keys", {"name": "orders only", "streams": ["orders"], "scopes": ["events:write"]})
    limited = f"key:{key['secret']}"
    await asking.ask("events", "POST", "/v1/events", EVENT | {"data": {"by": "limited"}}, who=limited)
    await asking.ask("events", "POST", "/v1/events", EVENT | {"stream": "brief", "data": {}}, who=limited)
    await asking.ask("events", "GET", "/v1/events", who=limited)
    page = {"kind": "publishable", "name": "shop", "streams": ["orders"], "origins": ["https://shop.example.com"]}
    await made("/v1/keys", page)
    await asking.good("events", "GET", f"/v1/keys/{key['id']}")
    await made(f"/v1/keys/{key['id']}/rotate", {"overlap_seconds": 3600})
    replay = await made(
        "/v1/replays", {"stream": "orders", "from": "2024-05-18T00:00:00Z", "workflows": ["wf_billing"]}
    )
    await asking.good("events", "GET", f"/v1/replays/{replay['id']}")
    await asking.good("events", "DELETE", f"/v1/replays/{replay['id']}")
    await made(f"/v1/events/{event}/replay", {"workflows": ["wf_billing"]})
    await made("/v1/workflows/wf_billing/rotate-secret", {"overlap_seconds": 60})
    await made("/v1/workflows/wf_billing/reactivate")
    for path in ("/v1/workflows/wf_billing", "/v1/event-streams/orders"):
        await asking.good("events", "GET", path)
    for path in ("workflows", "event-streams", "keys", "webhook-endpoints", "events", "audit"):
        await asking.pages("events", f"/v1/{path}")
    for path in (at, f"/v1/keys/{key['id']}", "/v1/workflows/wf_lake", "/v1/event-streams/brief"):
        await asking.good("events", "DELETE", path)


async def spine(asking: Asking) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    narrower = {"type": "object", "properties": {"n": {"type": "string"}}}
    for description, form in (("Done", schema), ("Done", schema), ("Narrower", narrower)):
        body = {"description": description, "schema": form}
        await asking.ask("spine", "PUT", "/v1/event-types/code.done", body)
    subscribed = {
        "eventTypes": ["code.*"],
        "webhookUrl": f"{AT}/spine",
        "secret": "whsec_xxxxxxxx",
        "description": "CI",
    }
    kept = await asking.good("spine", "POST", "/v1/events/subscriptions", subscribed, Idempotency_Key="sub-1")
    await asking.good("spine", "POST", "/v1/events/subscriptions", subscribed, Idempotency_Key="sub-1")
    gone = await asking.good("spine", "POST", "/v1/events/subscriptions", subscribed | {"format": "cloudevents"})
    for number in range(2):
        event = {"type": "code.done", "source": "ci", "data": {"n": number}, "metadata": {"correlationId": "run-1"}}
        for _ in range(2):
            await asking.good("spine", "POST", "/v1/events", event, Idempotency_Key=f"run-{number}")
    wrong = {"type": "code.done", "source": "ci", "data": {"n": "one"}}
    for body in (wrong, wrong | {"data": {"n": 9}}):
        await asking.ask("spine", "POST", "/v1/events", body, Idempotency_Key="run-0")
    cloudevent = {"specversion": "1.0", "id": "A-1", "source": "/ci", "type": "code.done", "data": {"n": 3}}
    await asking.ask("spine", "POST", "/v1/events", cloudevent, Content_Type="application/cloudevents+json")
    await asking.good("spine", "GET", "/v1/events/correlations/run-1")
    await asking.good("spine", "GET", "/v1/event-types/code.done")
    await asking.good("spine", "GET", "/v1/event-types")
    await asking.good("spine", "GET", "/v1/events/subscriptions")
    for query in ("", "?type=code.*", "?limit=1", "?source=ci&limit=1", "?correlationId=run-1", "?limit=nonsense"):
        await asking.ask("spine", "GET", f"/v1/events{query}")
    await asking.good("spine", "DELETE", f"/v1/events/subscriptions/{gone['subscriptionId']}")
    assert kept["subscriptionId"]


async def work(asking: Asking) -> None:
    async def made(path: str, body: object = None, **more: Any) -> Any:
        return await asking.good("work", "POST", path, body, **more)

    hook = await made("/v1/webhooks", {"url": f"{AT}/work", "events": ["task.created"]})
    at = f"/v1/webhooks/{hook['id']}"
    await asking.good("work", "PATCH", at, {"events": ["task.created", "task.updated"], "description": "All"})
    for _ in range(2):
        project = await made("/v1/projects", {"name": "Q3 forecast"}, Idempotency_Key="project-1")
    await asking.ask("work", "POST", "/v1/projects", {"name": "Q4"}, Idempotency_Key="project-1")
    await asking.good("work", "PATCH", f"/v1/projects/{project['id']}", {"description": "Of all regions"})
    first = await made("/v1/tasks", {"projectId": project["id"], "title": "Collect", "priority": "HIGH"})
    form = {"projectId": project["id"], "title": "Write", "dependsOn": [first["id"]], "dueOn": "2026-12-24T12:00:00Z"}
    second = await made("/v1/tasks", form)
    task = f"/v1/tasks/{first['id']}"
    await asking.ask("work", "PATCH", task, {"dependsOn": [second["id"]]})
    await asking.ask("work", "DELETE", task)
    await asking.good("work", "PATCH", task, {"status": "DONE", "assigneeId": "usr_2"}, If_Match='"1"')
    await asking.ask("work", "PATCH", task, {"title": "Late"}, If_Match='"1"')
    await asking.ask("work", "GET", task, If_None_Match='"2"')
    await asking.ask("work", "POST", "/v1/tasks", form | {"projectId": NOBODYS["project"]})
    for path in (task, f"/v1/projects/{project['id']}", at):
        await asking.good("work", "GET", path)
    tried = await made(f"{at}/test")
    arrived = {"delivered": f"{hook['id']} {tried['deliveryId']}"}
    await asking.good("work", "GET", f"{at}/deliveries", before=arrived)
    await asking.ask("work", "POST", f"{at}/deliveries/{tried['deliveryId']}/replay")
    for action in ("rotate-secret", "reactivate"):
        await made(f"{at}/{action}")
    for says in (PLAN, "another plan"):  # the second time nobody asks the model
        goal = {"text": "Prepare the forecast"}
        await made("/v1/ai/plan", goal, Idempotency_Key="plan-1", before={"model says": says})
    summary = {"projectId": project["id"]}
    await made("/v1/ai/summarize", summary, before={"model says": "All is well."})
    await asking.ask("work", "POST", "/v1/ai/plan", {"text": "Once more"}, before={"model says": "No plan at all."})
    await asking.ask("work", "POST", "/v1/ai/summarize", summary, before={"model fails": "yes"})
    token = await made("/v1/tokens", {"name": "CI", "scopes": ["tasks:read"]}, who="session")
    await asking.ask("work", "GET", "/v1/tasks", who=f"key:{token['token']}")
    await asking.ask("work", "POST", "/v1/projects", {"name": "No"}, who=f"key:{token['token']}")
    own = f"/v1/tokens/{token['id']}"
    await asking.good("work", "GET", own, who="session")
    await made(f"{own}/rotate", {}, who="session")
    await asking.pages("work", "/v1/tokens", who="session")
    await asking.good("work", "DELETE", own, who="session")
    for path in ("projects", "tasks", "webhooks", "activity"):
        await asking.pages("work", f"/v1/{path}")
    for query in ("status=DONE", "priority=HIGH", f"projectId={project['id']}", "status=nonsense"):
        await asking.ask("work", "GET", f"/v1/tasks?{query}")
    await asking.good("work", "DELETE", f"/v1/tasks/{second['id']}", If_Match="*")
    await asking.good("work", "DELETE", at)


async def burn(asking: Asking) -> None:
    org = asking.client.gateway.one.workspace.replace("ws_", "org_")
    caps = [
        {"period": "day", "hard_usd": 100_000, "scope": "project", "id": "shop"},
        {"period": "month", "soft_usd": 5},
    ]
    await asking.good("burn", "PUT", "/api/guardrails/policy", {"financial_limits": {"caps": caps}})
    calls = [CALL | {"event_id": f"call-{n}", "fingerprint": f"sha256:{n}", "project": "shop"} for n in range(2)]
    for _ in range(2):
        await asking.good("burn", "POST", "/api/ingest", {"events": calls})
    await asking.ask("burn", "POST", "/api/ingest", {"events": [{**CALL, "tokens_in": -1}, {}]})
    await asking.good("burn", "POST", "/api/gate", {"projectId": "shop"})
    await asking.good("burn", "GET", "/api/guardrails/status")
    await asking.good("burn", "POST", "/api/ingest", {"events": [CALL] * 4})
    await asking.good("burn", "POST", "/api/gate", {"projectId": "shop"})
    await asking.good("burn", "GET", "/api/guardrails/status")
    await asking.good("burn", "DELETE", "/api/guardrails/enforce", {"org_id": org, "reason": "seen to"})
    flag = {"org_id": org, "action": "suspend", "layer": "manual", "reason": "drill", "ttl_seconds": 60}
    await asking.good("burn", "POST", "/api/guardrails/enforce", flag)
    await asking.good("burn", "POST", "/api/guardrails/enforce", flag | {"scope": "project", "scope_id": "shop"})
    await asking.ask("burn", "POST", "/openai/v1/chat/completions", {"model": "gpt-4o", "messages": []})
    await asking.ask("burn", "POST", "/api/guardrails/enforce", flag | {"org_id": "org_another"})
    await asking.good("burn", "DELETE", "/api/guardrails/enforce", {"org_id": org, "reason": "seen to"})
    span = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": "1716042230000000000",
        "endTimeUnixNano": "1716042231000000000",
        "attributes": [
            {"key": "gen_ai.system", "value": {"stringValue": "openai"}},
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "10"}},
            {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "20"}},
        ],
    }
    await asking.good("burn", "POST", "/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    for path in ("/api/guardrails/policy", "/api/forecast", "/api/guardrails/status"):
        await asking.good("burn", "GET", path)
    await asking.pages("burn", "/api/guardrails/breaches")


async def refused(asking: Asking, surface: str, operation: DocumentedOperation) -> None:
    """An operation with everything that can be wrong with any: who asks, what for, in which form."""
    path = re.sub(r"{(\w+)}", lambda name: NOBODYS[name[1]], operation.path)
    changes = operation.method in ("POST", "PUT", "PATCH", "DELETE")
    has_body = "requestBody" in operation.node
    body = "{}" if has_body else None
    await asking.ask(surface, operation.method, path, body, who="nobody")
    wrong = asking.client.gateway.one.tokens["events" if surface != "events" else "work"]
    await asking.ask(surface, operation.method, path, body, who=f"key:{wrong}")
    if operation.name in ENDLESS:
        await asking.ask(surface, operation.method, f"{path}?nonsense=1")
    else:
        example = operation.node.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        if "{" in operation.path:
            who = "session" if path.startswith("/v1/tokens") else "one"
            if operation.method != "PUT":
                await asking.ask(surface, operation.method, path, example, who=who)
        elif not changes:
            await asking.ask(surface, operation.method, f"{path}?limit=0&cursor=cur_nonsense")
    if has_body:
        who = "session" if path.startswith("/v1/tokens") else "one"
        for text in ('{"unknown": 1, "name": 7}', '{"name": ', '"text"', "[]"):
            await asking.ask(surface, operation.method, path, text, who=who)
        await asking.ask(surface, operation.method, path, "{}", who=who, Content_Type="text/plain")
    if changes:
        await asking.ask(surface, operation.method, path, body, Idempotency_Key="ü" * 300)


ONE_A_MINUTE = {
    "events": ("events", "/v1/workflows"),
    "work": ("work.read", "/v1/tasks"),
    "spine": ("spine.read", "/v1/events"),
    "burn": ("burn.guardrails", "/api/guardrails/policy"),
}
"""By surface a class of requests and one of them."""


async def wrong_with_any(asking: Asking, surface: str) -> None:
    """What no operation answers: there is none, there is too much of it, or too many of them."""
    rate_class, path = ONE_A_MINUTE[surface]
    for method, wrong in (("GET", "/v1/nowhere"), ("DELETE", path), ("GET", "/v1/../etc"), ("GET", f"{path}?a=%zz")):
        await asking.ask(surface, method, wrong)
    preflight = {"Origin": "https://shop.example.com", "Access_Control_Request_Method": "POST"}
    await asking.ask(surface, "OPTIONS", path, who="nobody", **preflight)
    await asking.ask(surface, "GET", path, Atlas_After="nonsense")
    if surface == "burn":
        await asking.ask(surface, "POST", "/api/gate", {"projectId": "x" * 20_000})
    await asking.ask(surface, "GET", path, who="other", before={"limited": rate_class})
    too_many = await asking.ask(surface, "GET", path, who="other")
    assert too_many.status == 429, too_many.body
