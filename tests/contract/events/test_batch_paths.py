"""A batch handled in bulk has the answers, and leaves the records, that its items have one by one."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ingest_gateway.surfaces.events import publish_batch
from schemas.replies import REPLY_HEADER
from tests.support.events import ABSENT, a_body, a_body_with
from tests.support.events_surface import Surface, events_surface

ITEMS = 60
SOME_KEYS = ("k1", "k2", "k3")


def an_item(chance: random.Random) -> bytes:
    """Mostly usual ones, on two streams; now and then one of each kind that is not."""
    data = {"n": chance.randrange(30), "text": chance.choice(["plain", 'a "quote"', "ü", "a:b\\c"])}
    usual = {
        "stream": chance.choice(["orders-prod", "orders-prod", "audit-prod"]),
        "data": data,
        "metadata": chance.choice([ABSENT, {"region": "eu"}]),
        "actor": ABSENT,
        "occurred_at": chance.choice(["2024-05-18T14:22:11Z", "2024-05-18T14:22:11.123456Z"]),
    }
    unusual = [
        a_body(**usual | {"idempotency_key": chance.choice(SOME_KEYS)}),
        a_body(**usual | {"stream": "nowhere"}),
        a_body(**usual | {"type": "x", "extra": 1}),
        a_body(**usual | {"idempotency_key": None}),
        a_body(**usual | {"actor": None}),
        a_body_with("type", '"a.b","type":"c.d"'),
        a_body_with("data", '{"a":1e400}') if chance.random() < 0.3 else a_body(data={"a": "x" * 70_000}),
        b"7",
    ]
    return a_body(**usual) if chance.random() < 0.8 else chance.choice(unusual)


async def outcome(surface: Surface, form: str, items: list[bytes]) -> tuple[Any, list[Any]]:
    """The answer without what is random in it, and the records in their order."""
    if form == "json":
        answer = await surface.publish_batch(b'{"events":[' + b",".join(items) + b"]}")
    else:
        answer = await surface.publish_lines(b"\n".join(items))
    said = answer.json
    for result in said.get("results", [said]):
        result.get("error", {}).pop("request_id", None)
    records = [
        (one.appended, one.key, one.value, {name: value for name, value in one.headers.items() if name != REPLY_HEADER})
        for one in surface.log.records
    ]
    return (answer.status, json.dumps(said)), records


@pytest.mark.requirement("A-083", "J17")
@pytest.mark.parametrize("form", ["json", "ndjson"])
@pytest.mark.parametrize("seed", range(6))
async def test_answers_records_and_their_order_are_the_same(
    seed: int, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    items = [an_item(chance) for _ in range(ITEMS)]
    if form == "json":
        items = [item for item in items if b"1e400" not in item]  # else the whole body is no JSON
    (tmp_path / "one").mkdir()
    async with events_surface(tmp_path) as surface:
        in_bulk = await outcome(surface, form, items)
    monkeypatch.setattr(publish_batch, "usual_events", lambda texts, _now_ms: [None] * len(texts))
    async with events_surface(tmp_path / "one") as surface:
        assert await outcome(surface, form, items) == in_bulk
    assert in_bulk[0][0] == 200 and len(in_bulk[1]) > ITEMS / 2


async def test_a_log_that_is_full_half_way_refuses_the_rest(surface: Surface) -> None:
    """NDJSON is sent as it comes, so that nobody can look before whether there is room for all of it."""
    surface.log.room = 5
    lines = [a_body(data={"n": number}) for number in range(8)]
    answer = await surface.publish_lines(b"\n".join(lines))
    assert [result["status"] for result in answer.json["results"]] == [202] * 5 + [503] * 3
    assert {result["error"]["code"] for result in answer.json["results"][5:]} == {"unavailable"}
    assert len(surface.log.records) == 5
