"""What a gateway makes of the log's trouble, in virtual time: degraded soon, out of the pool late or never."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from ingest_gateway.health import Dependency, Watch
from ingest_gateway.surfaces.served import goes_on_without_the_log
from operations.operations_port import Readiness, operations_app
from operations.settings import Settings
from tests.support.metrics import sample


@dataclass
class Broker:
    """One that is away for so long, or of which a part is."""

    away_seconds: float = 0.0
    a_part_away_seconds: float = 0.0

    def watched(self, *, leaves_the_pool: bool = True) -> Watch:
        worse = lambda: max(self.away_seconds, self.a_part_away_seconds)  # noqa: E731
        why = lambda: f"away for {worse():.0f} s"  # noqa: E731
        dependency = Dependency("appends", worse, lambda: self.away_seconds, why)
        return Watch(dependency, leaves_the_pool=leaves_the_pool)


def states(watch: Watch, broker: Broker, away: Iterator[float]) -> str:
    """A letter a second: `.` as it should be, `d` degraded, `N` not ready."""
    seen = ""
    for now_seconds, broker.away_seconds in enumerate(away):
        watch.look(float(now_seconds))
        seen += "N" if watch.missing() else "d" if watch.degraded() else "."
    return seen


def away_for(seconds: int, then: int = 10) -> Iterator[float]:
    return iter([*map(float, range(seconds)), *[0.0] * then])


@pytest.mark.requirement("F39")
@pytest.mark.parametrize(
    ("seconds", "seen"),
    [
        (4, "." * 14),
        (6, "......" + "." * 10),
        (8, "......" + "dd" + "ddddd" + "....."),  # told at once, and over 5 s after its return
        (29, "......" + "d" * 23 + "ddddd" + "....."),  # an election, a broker's restart: nobody leaves
        (40, "......" + "d" * 25 + "N" * 9 + "NNNNN" + "....."),  # it may be this gateway's own
    ],
)
def test_short_trouble_degrades_and_lasting_trouble_leaves_the_pool(seconds: int, seen: str) -> None:
    broker = Broker()
    assert states(broker.watched(), broker, away_for(seconds)) == seen


def test_a_broker_that_comes_and_goes_flaps_nothing() -> None:
    broker = Broker()
    comes_and_goes = iter([float(second % 7) for second in range(100)])
    assert states(broker.watched(), broker, comes_and_goes) == "." * 6 + "d" * 94


def test_a_gateway_that_goes_on_without_the_log_never_leaves() -> None:
    broker = Broker()
    seen = states(broker.watched(leaves_the_pool=False), broker, away_for(600))
    assert "N" not in seen and seen.count("d") == 594 + 5


def test_a_part_of_the_log_that_is_away_degrades_however_long() -> None:
    broker = Broker()
    watch = broker.watched()
    for now_seconds in range(600):
        broker.a_part_away_seconds = float(now_seconds)
        watch.look(float(now_seconds))
    assert watch.degraded() == "away for 599 s" and watch.missing() is None


def test_it_is_told_once_with_its_reason_and_once_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    with caplog.at_level(logging.INFO, "atlas.gateway"):
        states(broker.watched(), broker, away_for(20))
    told = [(line.getMessage(), line.levelname, line.facts) for line in caplog.records]  # type: ignore[attr-defined]
    assert told == [
        ("gateway.degraded", "WARNING", {"what": "appends", "reason": "away for 6 s"}),
        ("gateway.recovered", "INFO", {"what": "appends"}),
    ]


def test_the_metric_says_what_readyz_says() -> None:
    broker = Broker()
    watch = broker.watched()
    states(watch, broker, away_for(8, then=0))
    assert sample("atlas_degraded", what="appends") == 1
    states(watch, broker, away_for(0, then=20))
    assert sample("atlas_degraded", what="appends") == 0


async def test_readyz_names_what_is_missing_and_what_is_degraded() -> None:
    readiness = Readiness()
    said: dict[str, str | None] = {"listener": None, "appends": None}
    readiness.require("listener", lambda: said["listener"])
    readiness.degrade("appends", lambda: said["appends"])
    async with TestClient(TestServer(operations_app(readiness))) as client:

        async def readyz() -> tuple[int, object]:
            answer = await client.get("/readyz")
            return answer.status, json.loads(await answer.read())

        assert await readyz() == (200, {"status": "ready"})
        said["appends"] = "waits"
        assert await readyz() == (200, {"status": "ready", "degraded": {"appends": "waits"}})
        said["listener"] = "stopping"
        degraded = {"degraded": {"appends": "waits"}}
        assert await readyz() == (503, {"status": "not ready", "missing": {"listener": "stopping"}} | degraded)


@pytest.mark.parametrize(
    ("surfaces", "goes_on"),
    [
        ("events,work,spine,burn", True),
        ("burn", True),
        ("events,burn", True),
        ("events", False),
        ("events,work,spine", False),
    ],
)
def test_the_edge_proxy_goes_on_without_the_log(surfaces: str, goes_on: bool, tmp_path: Path) -> None:
    env = {"ATLAS_HOME": str(tmp_path), "ATLAS_MASTER_KEY": "ab" * 32, "ATLAS_SURFACES": surfaces}
    assert goes_on_without_the_log(Settings.from_env(env)) is goes_on
