"""Law 4: whatever of ours is away, calls go through; what they cost is kept and told later, in order, once."""

import asyncio
import time
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ingest_gateway.surfaces.burn.edge.spool import Spool
from schemas.telemetry import ModelCall
from tests.support.edge_surface import KEY_ID, TOKEN, EdgeSurface, edge_surface
from tests.support.until import until

PATH = "/openai/v1/chat/completions"


def body(number: int) -> dict[str, object]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": f"question {number}"}]}


async def ask(edge: EdgeSurface, number: int = 0) -> int:
    async with edge.post(PATH, body(number), **{"AtlasBurn-Session-Id": str(number)}) as answer:
        await answer.read()
        return int(answer.status)


def sessions(calls: list[ModelCall]) -> list[int]:
    return [int(call.session_id) for call in calls]


def told(way: str) -> float:
    return REGISTRY.get_sample_value("atlas_edge_telemetry_records_total", {"way": way}) or 0.0


async def spooled(edge: EdgeSurface) -> int:
    """Bytes on disk, once there are any."""
    await until(lambda: on_disk(edge) > 0)
    return on_disk(edge)


def on_disk(edge: EdgeSurface) -> int:
    return sum(path.stat().st_size for path in edge.home.glob("edge-spool/*/*.seg"))


@pytest.mark.requirement("B-041", "F53")
async def test_with_the_log_away_calls_go_through_and_are_told_later(edge: EdgeSurface) -> None:
    """In the order they were made; /metrics shows the state meanwhile."""
    edge.log.unreachable = "the broker is away"
    for number in range(20):
        assert await ask(edge, number) == 200
        await asyncio.sleep(0.01)  # so that each is a record of its own
    await spooled(edge)
    assert edge.log.records == []
    assert REGISTRY.get_sample_value("atlas_edge_log_away") == 1.0
    assert (REGISTRY.get_sample_value("atlas_edge_spool_bytes") or 0) > 0
    edge.log.unreachable = None
    calls = await edge.wait_for_calls(20)
    assert sessions(calls) == list(range(20))
    assert REGISTRY.get_sample_value("atlas_edge_log_away") == 0.0


@pytest.mark.requirement("F53")
async def test_with_the_log_away_a_flag_holds_until_it_ends(edge: EdgeSurface) -> None:
    edge.suspend(seconds=1.5)
    ends = time.monotonic() + 1.5
    edge.log.unreachable = "the broker is away"
    assert await ask(edge) == 429
    await asyncio.sleep(max(0.0, ends + 0.1 - time.monotonic()))
    assert await ask(edge) == 200


@pytest.mark.requirement("B-041")
async def test_a_full_queue_is_no_reason_to_wait(edge: EdgeSurface) -> None:
    edge.log.busy = True
    assert await ask(edge) == 200
    await spooled(edge)
    edge.log.busy = False
    assert len(await edge.wait_for_calls(1)) == 1


@pytest.mark.requirement("B-041")
async def test_a_log_that_says_nothing_is_given_nothing_more(hurried: EdgeSurface) -> None:
    """What was not confirmed in time is kept; the same call may come twice then, under one id."""
    hurried.log.confirms = False
    assert await ask(hurried, 1) == 200
    await spooled(hurried)
    assert await ask(hurried, 2) == 200
    hurried.log.confirms = True
    hurried.log.fail_held()
    assert sorted(sessions(await hurried.wait_for_calls(2))) == [1, 2]


@pytest.mark.requirement("B-041")
async def test_a_gateway_that_never_read_control_forwards(edge: EdgeSurface) -> None:
    """It knows no key. Whose calls they were is found out once it has read `control`."""
    edge.control.ready = False
    known = edge.control.take_keys()
    assert await ask(edge, 1) == 200
    async with edge.client.post(edge.url + PATH, json=body(2)) as answer:
        assert answer.status == 401, "a key must be there"
    await spooled(edge)
    assert edge.log.records == []
    for key in known:
        edge.control.put(key)
    edge.control.ready = True
    [call] = await edge.wait_for_calls(1)
    assert (call.session_id, call.key_id) == ("1", KEY_ID)
    assert edge.log.records[0].workspace == known[0].workspace


async def test_a_key_that_nobody_knows_is_counted(edge: EdgeSurface) -> None:
    before = told("unattributed")
    edge.control.ready = False
    headers = {"AtlasBurn-API-Key": "abn_aaaaaaaaaaaaaaaaaaaa"}
    async with edge.client.post(edge.url + PATH, json=body(1), headers=headers) as answer:
        assert answer.status == 200
    await spooled(edge)
    edge.control.ready = True
    await until(lambda: told("unattributed") > before)
    assert edge.log.records == []


async def test_a_spool_that_is_full_drops_and_counts(tmp_path: Path) -> None:
    """The smallest spool, and calls with the longest labels."""
    async with edge_surface(tmp_path, ATLAS_EDGE_SPOOL_MIB="1") as edge:
        edge.log.unreachable = "the broker is away"
        before = told("dropped")
        # a megabyte, 300 bytes a call and more, 50 at once as one record: at most 3,500 calls fit
        headers = {"AtlasBurn-API-Key": TOKEN, "AtlasBurn-Session-Id": "s" * 128, "AtlasBurn-User": "u" * 128}
        headers |= {"AtlasBurn-Project": "p" * 128, "AtlasBurn-Trace-Id": "t" * 128}
        rounds = 0
        while told("dropped") == before and rounds < 120:
            await asyncio.gather(*(_post(edge, headers) for _ in range(50)))
            rounds += 1
        assert told("dropped") > before
        assert await spooled(edge) <= 1024 * 1024


@pytest.mark.requirement("B-041")
async def test_what_is_left_at_the_end_is_sent_by_the_next_process(tmp_path: Path) -> None:
    async with edge_surface(tmp_path) as first:
        first.log.unreachable = "the broker is away"
        assert await ask(first, 7) == 200
    async with edge_surface(tmp_path) as second:
        assert sessions(await second.wait_for_calls(1)) == [7]
        await until(lambda: on_disk(second) == 0)


async def test_what_nobody_can_read_is_in_nobodys_way(tmp_path: Path) -> None:
    """An entry of some other version, and one after it."""
    before = told("torn")
    left = Spool.create(tmp_path / "edge-spool", 1 << 20)
    left.append(b"of some other version")
    left.close()
    async with edge_surface(tmp_path) as edge:
        edge.log.unreachable = "the broker is away"
        assert await ask(edge, 3) == 200
        await spooled(edge)
        edge.log.unreachable = None
        assert sessions(await edge.wait_for_calls(1)) == [3]
        await until(lambda: told("torn") == before + 1)


async def _post(edge: EdgeSurface, headers: dict[str, str]) -> None:
    async with edge.client.post(edge.url + PATH, json=body(0), headers=headers) as answer:
        assert answer.status == 200
