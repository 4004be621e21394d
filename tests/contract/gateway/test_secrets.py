"""Secrets of callers stay out of what Atlas writes about them: logs, topics, metrics, errors (A10)."""

import io
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka.admin import AdminClient
from prometheus_client import generate_latest

from domain.security.api_tokens import mint_token
from schemas.topics import Topic
from tests.contract.gateway.conftest import MASTER_KEY, Gateway, a_gateway
from tests.support.kafka_topics import read_all

PASTED = "hunter2hunter2hunter2"
WORKFLOW = {"id": "wf_pasted", "name": "Pasted", "url": f"https://example.com/in?token={PASTED}"}
JWT = f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.{PASTED}"


async def use_and_paste(gateway: Gateway) -> list[str]:
    """A day with keys: made, rotated, revoked, misspelt, and pasted where they don't belong. The answers to
    requests without a body, whose callers may be others than who wrote the secret there."""
    made = await gateway.ask("POST", "/v1/keys", {"name": "made"}, headers={"Idempotency-Key": "made"})
    rotated = await gateway.ask("POST", f"/v1/keys/{made.json['id']}/rotate", {"overlap_seconds": 60})
    gateway.keys |= {"made": made.json["secret"], "rotated": rotated.json["secret"]}
    assert (await gateway.ask("POST", "/v1/workflows", WORKFLOW)).status == 201
    # (method, path, body, headers)
    pasted: list[tuple[str, str, Any, dict[str, str]]] = []
    for secret in (*gateway.keys.values(), PASTED, JWT):
        pasted += [
            ("GET", f"/v1/event-streams/{secret}", None, {}),
            ("GET", f"/v1/event-streams?key={secret}", None, {}),
            ("GET", f"/v1/{secret}", None, {}),
            ("GET", "/v1/event-streams", None, {"Authorization": secret}),
            ("GET", "/v1/event-streams", None, {"Authorization": f"Bearer {secret}x"}),
            ("GET", "/v1/event-streams", None, {"Authorization": f"Basic {secret}"}),
            ("GET", "/v1/event-streams", None, {"AtlasBurn-API-Key": secret, "Cookie": secret}),
            ("POST", "/v1/event-streams", {"name": secret, "description": 7}, {}),
            ("POST", "/v1/workflows", {"name": "x", "url": f"https://user:{secret}@example.com/"}, {}),
            ("POST", "/v1/workflows", {"name": "x", "url": f"ftp://example.com/?k={secret}"}, {}),
            ("POST", "/v1/events", {"stream": "nowhere", secret: secret}, {}),
            ("POST", "/v1/events", secret.encode(), {}),
        ]
    answers = [await gateway.ask(*row[:3], key=None, headers=row[3]) for row in pasted]
    answers += [await gateway.ask(*row[:3], headers=row[3]) for row in pasted]
    answers += [await gateway.ask("GET", "/v1/keys"), await gateway.ask("DELETE", f"/v1/keys/{rotated.json['id']}")]
    assert {answer.status for answer in answers} >= {200, 204, 400, 401, 404}
    return [answer.body.decode() for answer, row in zip(answers, [*pasted, *pasted], strict=False) if row[2] is None]


@pytest.mark.requirement("A10")
async def test_what_atlas_writes_holds_no_secret(bootstrap: str, tmp_path: Path, written: io.StringIO) -> None:
    async with a_gateway(bootstrap, tmp_path, ATLAS_VERDICT_TIMEOUT_SECONDS="30") as gateway:
        answers = await use_and_paste(gateway)
        keys = {name: token[-20:] for name, token in gateway.keys.items()}
        assert mint_token(MASTER_KEY, "sk", "live", "key_x")[-20:] not in keys.values()
    there = AdminClient({"bootstrap.servers": bootstrap}).list_topics().topics
    topics = [name for name in there if name in set(Topic) or gateway.workspace in name]
    records = {
        topic: [part for stored in read_all(bootstrap, topic) for part in stored_parts(stored)] for topic in topics
    }
    assert Topic.COMMANDS in records and records[Topic.COMMANDS] and records[Topic.CONTROL] and records[Topic.AUDIT]
    log, metrics = written.getvalue(), generate_latest().decode()
    assert "request.answered" in log
    for name, secret in keys.items():
        assert secret not in log, f"{name} in the log"
        assert secret not in metrics, f"{name} in a metric"
        on_topics = [topic for topic, parts in records.items() if any(secret.encode() in part for part in parts)]
        assert not on_topics, f"{name} on {on_topics}"
    assert PASTED not in log and PASTED not in metrics
    assert not any(PASTED.encode() in part for topic in (Topic.AUDIT, Topic.DEAD_LETTERS) for part in records[topic])
    assert MASTER_KEY.hex() not in log
    for answer in answers:
        assert not any(secret in answer for secret in keys.values())


@pytest.mark.requirement("S13", "A10")
async def test_a_header_forges_no_line(gateway: Gateway, written: io.StringIO) -> None:
    forged = 'x"}{"message":"request.answered","status":200,"key_id":"key_forged"}'
    answer = await gateway.ask("GET", "/v1/event-streams", headers={"User-Agent": forged, "X-Forwarded-For": forged})
    assert answer.status == 200
    with pytest.raises((ValueError, aiohttp.ClientError)):
        await gateway.ask("GET", "/v1/event-streams", headers={"User-Agent": "a\r\nX-Injected: 1"})
    lines = [line for line in written.getvalue().splitlines() if "key_forged" in line]
    assert len(lines) == 1 and answer.headers["X-Request-ID"] in lines[0]


def stored_parts(stored: Any) -> list[bytes]:
    return [part for part in (stored.key, stored.value, *(value for _, value in stored.headers)) if part]
