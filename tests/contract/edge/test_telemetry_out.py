"""What is sent together fails apart: a record that can't be written is counted and given up, and no other with it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from prometheus_client import REGISTRY

from ingest_gateway.surfaces.burn.edge.spool import Spool
from ingest_gateway.surfaces.burn.edge.telemetry import Caller, Entry, TelemetryOut
from schemas.entities import Key, KeyKind
from schemas.telemetry import ModelCall, ModelCalls, Settle, decode_payload
from tests.support.edge_surface import EdgeControl, EdgeLog
from tests.support.events_surface import LocalVerdicts
from tests.support.guarded import a_call
from tests.support.until import until

MINE, OTHERS = Caller("ws_7Q2M9K4X1B", "key_1"), Caller("ws_1111111111", "key_2")
BAD = a_call(event_id="bad", user="\udce9")
"""No format on the log takes half a surrogate pair."""


@pytest.fixture
def log() -> EdgeLog:
    return EdgeLog(LocalVerdicts("", max_waiters=10))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool.create(tmp_path, 1 << 20)


@pytest.fixture
def control() -> EdgeControl:
    return EdgeControl()


@pytest.fixture
async def out(log: EdgeLog, spool: Spool, control: EdgeControl) -> AsyncIterator[TelemetryOut]:
    running = TelemetryOut(log, cast(Any, control), spool, confirm_seconds=5)
    running.start()
    yield running
    await running.close()


def unsendable() -> float:
    return REGISTRY.get_sample_value("atlas_edge_telemetry_records_total", {"way": "unsendable"}) or 0.0


def told(log: EdgeLog) -> list[str]:
    payloads = [decode_payload(record) for record in log.records]
    return sorted(call.event_id for payload in payloads if isinstance(payload, ModelCalls) for call in payload.calls)


async def test_of_calls_flushed_together(log: EdgeLog, out: TelemetryOut) -> None:
    """Another organization's arrive, and its own."""
    before = unsendable()
    made: list[tuple[Caller, ModelCall]] = [(MINE, a_call(event_id="1")), (MINE, BAD), (MINE, a_call(event_id="2"))]
    for caller, call in [*made, (OTHERS, a_call(event_id="3"))]:
        out.call_made(caller, call)
    await until(lambda: told(log) == ["1", "2", "3"])
    assert unsendable() == before + 1


async def test_of_a_settlement(log: EdgeLog, out: TelemetryOut) -> None:
    before = unsendable()
    out.settled(MINE, Settle(id="bad", call=BAD))
    out.settled(MINE, Settle(id="good"))
    assert [decode_payload(record) for record in log.records] == [Settle(id="good")]
    assert unsendable() == before + 1


@pytest.mark.requirement("B-041")
async def test_in_the_spool_nothing_waits_behind_it(
    log: EdgeLog, out: TelemetryOut, spool: Spool, control: EdgeControl
) -> None:
    """A payload that this version can't read, of a key known by its hash, lies before a good record."""
    before = unsendable()
    unreadable = Entry("tel_1", ModelCalls.kind, "", "hash", b"\xc1 of some other version")
    control.put(
        Key(
            **{"id": "key_1", "workspace": MINE.workspace, "created_ms": 0, "environment": "live"},
            **{"key_kind": KeyKind.ORG, "name": "edge", "token_hash": "hash"},
        )
    )
    spool.append(msgspec.msgpack.encode(unreadable))
    log.unreachable = "the broker is away"
    out.call_made(MINE, a_call(event_id="behind it"))
    await until(lambda: spool.size_bytes > 100)
    log.unreachable = None
    await until(lambda: told(log) == ["behind it"])
    await until(lambda: spool.empty)
    assert unsendable() == before + 1
