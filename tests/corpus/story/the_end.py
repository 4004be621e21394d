"""Keys and limits, and what is not finished when the installation stops."""

import asyncio
from typing import Any

from tests.corpus.story.client import EVENT, Story


async def limits_and_keys(story: Story) -> None:
    keys = "/v1/keys"
    limited = await story.made(
        "events", keys, {"name": "orders only", "streams": ["orders"], "scopes": ["events:write"]}
    )
    story.keys["limited"] = limited["secret"]
    await story.made("events", "/v1/events", EVENT | {"data": {"by": "limited"}}, key="limited")
    forbidden = await story.ask("events", "POST", "/v1/events", EVENT | {"stream": "slow", "data": {}}, key="limited")
    assert forbidden.status in (403, 404), forbidden.body
    page = {"kind": "publishable", "name": "shop", "streams": ["orders"], "origins": ["https://shop.example.com"]}
    story.keys["page"] = (await story.made("events", keys, page))["secret"]
    await story.made("events", "/v1/events", EVENT | {"data": {"by": "a page"}}, key="page")
    rotated = await story.made("events", keys, {"name": "old"})
    await story.made("events", f"{keys}/{rotated['id']}/rotate", {"overlap_seconds": 3600})
    revoked = await story.made("events", keys, {"name": "lost"})
    await story.good("events", "DELETE", f"{keys}/{revoked['id']}")
    counts = ("--per-minute", "100000", "--burst", "100000")
    for arguments in (
        ("set", story.workspace, *counts),
        ("set", story.workspace, *counts, "--class", "work.ai"),
        ("clear", story.workspace, "--class", "work.ai"),
    ):
        await asyncio.to_thread(story.command_line, "limits", *arguments)


async def what_waits(story: Story) -> None:
    for number in range(3):  # two of one ordering key: the second waits behind the first
        metadata = {"ordering_key": f"o-{number // 2}"}
        event = EVENT | {"stream": "slow", "data": {"n": number}, "metadata": metadata}
        told = await story.made("events", "/v1/events", event)
        if number != 1:
            await story.until("events", f"/v1/events/{told['id']}", _tried_twice)
    running = {"stream": "orders", "from": "2026-05-18T00:00:00Z", "type": "order.fulfilled"}
    cancelled = await story.made("events", "/v1/replays", running)
    await story.good("events", "DELETE", f"/v1/replays/{cancelled['id']}")


async def what_comes_by_itself(story: Story) -> None:
    """Gateways tell about once a minute when keys were used."""
    await story.until("events", "/v1/keys", lambda told: any(one.get("last_used_at") for one in _items(told)))
    lists = ("events", "/v1/events?limit=5"), ("events", "/v1/audit?limit=5"), ("work", "/v1/activity?limit=2")
    for surface, path in lists:
        page = await story.good(surface, "GET", path)
        cursor = page.get("next_cursor") or page["nextCursor"]
        story.reads += [(surface, path), (surface, f"{path}&cursor={cursor}")]


def _tried_twice(event: Any) -> bool:
    return any(attempt["attempt"] > 2 for attempt in event["attempts"])


def _items(told: Any) -> list[Any]:
    """Of a page of any surface."""
    lists = [value for value in told.values() if isinstance(value, list)]
    return lists[0] if lists else []
