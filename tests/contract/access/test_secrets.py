"""Secrets stay out of what Atlas writes of them, on every surface: logs, topics, metrics, errors, files (A10).

Those that Atlas gave out (keys, signing secrets), those that callers use (their sessions, their providers' keys, their
own signing secrets), and what somebody pastes where it does not belong. Operations come from the documents.
"""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from domain.entities.organizations import org_of
from schemas.topics import Topic
from tests.contract.access.test_tenants_apart import NOBODYS, live_a_day
from tests.support.access import MASTER_KEY, DocumentedOperation
from tests.support.whole_gateway import Answer, WholeGateway, whole_gateway

PASTED = "hunter2hunter2hunter2"
PROVIDERS_KEY = "sk-proj-p3rhapsth1sisreal"
OWN_SECRET = "whsec_of-the-callers-own"
HEADERS = ("Idempotency_Key", "If_Match", "Atlas_After", "Last_Event_ID", "Cookie", "X_Api_Key")
"""The first is kept, as it has to be recognized."""
CALL = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PASTED}]}


async def use(gateway: WholeGateway) -> dict[str, str]:
    """A day with everything that has a secret; the secrets by what they are."""
    one = gateway.one
    await live_a_day(gateway, one)
    secrets = {f"the key of {surface}": token for surface, token in one.tokens.items()} | {"a session": one.session}
    made = await gateway.made(one, "events", "/v1/keys", {"name": "made"}, Idempotency_Key="made")
    rotated = await gateway.made(one, "events", f"/v1/keys/{made['id']}/rotate", {"overlap_seconds": 60})
    token = await gateway.made(one, "work", "/v1/tokens", {"name": "made", "scopes": ["tasks:read"]})
    again = await gateway.made(one, "work", f"/v1/tokens/{token['id']}/rotate", {"overlapSeconds": 60})
    secrets |= {"a key": made["secret"], "its successor": rotated["secret"]}
    secrets |= {"a token": token["token"], "a successor": again["token"]}
    hook = {"url": "https://hook.example.com/", "events": ["task.created"]}
    secrets["a webhook's"] = (await gateway.made(one, "work", "/v1/webhooks", hook))["secret"]
    endpoint = await gateway.made(one, "events", "/v1/webhook-endpoints", {"url": "https://told.example.com/"})
    secrets["an endpoint's"] = endpoint["signing_secret"]
    flow = {"id": "wf_secret", "name": "x", "url": "https://flow.example.com/"}
    secrets["a workflow's"] = (await gateway.made(one, "events", "/v1/workflows", flow))["signing_secret"]
    own = {"eventTypes": ["*"], "webhookUrl": "https://own.example.com/", "secret": OWN_SECRET}
    await gateway.made(one, "spine", "/v1/events/subscriptions", own)
    resumption = {"org_id": org_of(one.workspace), "reason": "done"}
    assert (await gateway.ask(one, "burn", "DELETE", "/api/guardrails/enforce", resumption)).status == 200
    for line in ({"Authorization": f"Bearer {PROVIDERS_KEY}"}, {"x_api_key": PROVIDERS_KEY}):
        for path in ("/openai/v1/chat/completions", "/anthropic/v1/messages"):
            answer = await gateway.ask(one, "burn", "POST", f"{path}?key={PROVIDERS_KEY}", CALL, **line)
            assert answer.status == 502
    return secrets | {"a provider's key": PROVIDERS_KEY, "a caller's own secret": OWN_SECRET}


async def paste(gateway: WholeGateway, secret: str, *, in_bodies: bool) -> list[Answer]:
    """Where it does not belong, in every operation. The answers to requests without a body, whose readers may be
    others than who wrote the secret there."""
    answers = []
    for surface, contract in gateway.contracts.items():
        for operation in contract.operations:
            path, body = operation.path.format(**NOBODYS[surface]), pasted(operation, secret) if in_bodies else None
            elsewhere = re.sub(r"{\w+}", secret, operation.path)
            for target in (elsewhere, f"{path}?pasted={secret}", f"{path}?cursor={secret}", f"{path}/{secret}"):
                if not target.endswith("/stream"):
                    answers.append(await gateway.ask(gateway.other, surface, operation.method, target, body))
            for name in HEADERS[0 if in_bodies else 1 :]:
                if not path.endswith("/stream"):
                    await gateway.ask(gateway.other, surface, operation.method, path, body, **{name: secret})
    return [] if in_bodies else answers


def pasted(operation: DocumentedOperation, secret: str) -> object:
    """The document's example with the secret for each text, and a member by its name."""
    media = operation.node.get("requestBody", {}).get("content", {}).get("application/json", {})
    return replaced(media.get("example"), secret)


def replaced(value: Any, secret: str) -> Any:
    if isinstance(value, dict):
        return {name: replaced(one, secret) for name, one in value.items()} | {secret: secret}
    if isinstance(value, list):
        return [replaced(one, secret) for one in value]
    return f"https://user:{secret}@example.com/?k={secret}" if "://" in str(value) else secret


@pytest.mark.requirement("A10", "B-057", "W-015")
async def test_what_atlas_writes_holds_no_secret(tmp_path: Path, written: io.StringIO) -> None:
    async with whole_gateway(tmp_path) as gateway:
        secrets = await use(gateway)
        answers = await paste(gateway, secrets["a token"], in_bodies=False)
        await paste(gateway, PASTED, in_bodies=True)
        records = gateway.log.everything()
    log, metrics = written.getvalue(), generate_latest().decode()
    assert log.count("request.answered") > 500 and {topic for topic, _ in records} >= {Topic.COMMANDS, Topic.CONTROL}
    files = contents_of(tmp_path)
    for what, secret in secrets.items():
        tail = secret[-16:]
        assert tail not in log, f"{what} in the log"
        assert tail not in metrics, f"{what} in a metric"
        assert tail.encode() not in files, f"{what} in a file"
        topics = {topic for topic, content in records if tail.encode() in content}
        assert not topics, (what, topics, [c for t, c in records if tail.encode() in c][:3])
        assert not [answer for answer in answers if tail in answer.body.decode()], f"{what} in an answer"
    assert PASTED not in log and PASTED not in metrics and MASTER_KEY.hex() not in log
    told = b"".join(content for topic, content in gateway.log.told if topic in (Topic.AUDIT, Topic.DEAD_LETTERS))
    assert PASTED.encode() not in told


def contents_of(home: Path) -> bytes:
    """Of all files that the process has written."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    return b"".join(path.read_bytes() for path in files)
