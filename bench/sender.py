"""Sends events over HTTP at a steady rate, whatever the answers do, and notes what became of each."""

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Sent:
    """One request. `status` is 0 when there was no answer. Times are monotonic nanoseconds.

    `due_ns` is when the schedule wanted it sent: a late start counts as latency, so that a stall is not left out.
    """

    keyed: bool
    due_ns: int
    answered_ns: int
    status: int
    event_id: str


async def send_steadily(surface: Mapping[str, Any], stream: str, rate: float, seconds: float) -> list[Sent]:
    """Every second event has an Idempotency-Key. Returns when all are answered."""
    return await _send_all(surface, stream, rate, seconds, keyed_each=2)


async def send_keyed(surface: Mapping[str, Any], stream: str, rate: float, seconds: float) -> list[Sent]:
    """Every event has an Idempotency-Key. Returns when all are answered."""
    return await _send_all(surface, stream, rate, seconds, keyed_each=1)


async def _send_all(
    surface: Mapping[str, Any], stream: str, rate: float, seconds: float, keyed_each: int
) -> list[Sent]:
    headers = {"Authorization": f"Bearer {surface['live_key']}", "Content-Type": "application/json"}
    url = f"{surface['url']}/v1/events"
    interval_ns = round(1e9 / rate)
    first_ns = time.monotonic_ns() + interval_ns
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session, asyncio.TaskGroup() as group:
        tasks = []
        for number in range(round(rate * seconds)):
            due_ns = first_ns + number * interval_ns
            await asyncio.sleep(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
            tasks.append(group.create_task(_send(session, url, stream, number, due_ns, number % keyed_each == 0)))
    return [task.result() for task in tasks]


async def send_batches(surface: Mapping[str, Any], stream: str, rate: float, seconds: float, size: int) -> list[Sent]:
    """The same rate of events by the batch route, `size` in a request; times are the request's. Returns when all are
    answered.
    """
    headers = {"Authorization": f"Bearer {surface['live_key']}", "Content-Type": "application/json"}
    url = f"{surface['url']}/v1/events/batch"
    interval_ns = round(1e9 * size / rate)
    first_ns = time.monotonic_ns() + interval_ns
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as group:
        tasks = []
        for number in range(round(rate * seconds / size)):
            due_ns = first_ns + number * interval_ns
            await asyncio.sleep(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
            events = [an_order(stream, number * size + place) for place in range(size)]
            tasks.append(group.create_task(_send_batch(session, url, events, due_ns)))
    return [sent for task in tasks for sent in task.result()]


async def _send_batch(session: aiohttp.ClientSession, url: str, events: list[bytes], due_ns: int) -> list[Sent]:
    try:
        async with session.post(url, data=b'{"events":[' + b",".join(events) + b"]}") as answer:
            body, answered_ns = await answer.read(), time.monotonic_ns()
            results = json.loads(body)["results"] if answer.status == 200 else []
    except aiohttp.ClientError:
        answered_ns, results = time.monotonic_ns(), []
    told = [(result["status"], result.get("event", {}).get("id", "")) for result in results]
    told += [(0, "")] * (len(events) - len(told))
    return [Sent(False, due_ns, answered_ns, status, event_id) for status, event_id in told]


async def _send(session: aiohttp.ClientSession, url: str, stream: str, number: int, due_ns: int, keyed: bool) -> Sent:
    headers = {"Idempotency-Key": str(uuid.uuid4())} if keyed else None
    event_id = ""
    try:
        async with session.post(url, data=an_order(stream, number), headers=headers) as answer:
            body = await answer.read()
            answered_ns, status = time.monotonic_ns(), answer.status
            if status == 202:
                event_id = json.loads(body)["id"]
    except aiohttp.ClientError:
        answered_ns, status = time.monotonic_ns(), 0
    return Sent(keyed, due_ns, answered_ns, status, event_id)


def an_order(stream: str, number: int) -> bytes:
    """An event of about 500 bytes; no two are alike."""
    return json.dumps(
        {
            "stream": stream,
            "type": "order.fulfilled",
            "occurred_at": "2026-05-18T14:22:11Z",
            "data": {
                "order_id": f"ord_{uuid.uuid4().hex}",
                "total_cents": 4299,
                "currency": "USD",
                "line_items": [{"sku": "BK-1042", "qty": 1, "unit_cents": 4299}],
                "number": number,
            },
            "actor": {"type": "user", "id": "usr_8842", "tenant_id": "tnt_119"},
            "metadata": {"region": "eu-west-1", "channel": "web", "experiment": "checkout-b"},
        }
    ).encode()
