"""Whether a gateway serves as it should: what is degraded, and when that is a reason to leave the pool.

What all gateways share fails for all of them at once, and a pool that every gateway leaves serves no request. So
trouble with the log is reported (`degraded` in `/readyz`, a metric, a log line when it begins and one when it ends),
and makes the gateway unready only once it has lasted so long that it may be this gateway's own. A gateway that serves a
surface which works without the log stays ready even then (docs/decisions/0017).
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from ingest_gateway.log.clients import LogClients
from operations import logs, metrics
from operations.operations_port import Readiness
from operations.trouble import Bounds, Trouble

log = logging.getLogger("atlas.gateway")
LOOK_SECONDS = 0.5
DEGRADED = Bounds(begins_seconds=5.0, ends_seconds=2.5, quiet_seconds=5.0)
UNREADY = Bounds(begins_seconds=30.0, ends_seconds=2.5, quiet_seconds=5.0)


class Dependency(NamedTuple):
    """What the gateway needs. `worse_seconds`: for how long it has not worked fully; `useless_seconds`: for how long it
    has not worked at all. `why`: the reason, in a sentence.
    """

    name: str
    worse_seconds: Callable[[], float]
    useless_seconds: Callable[[], float]
    why: Callable[[], str]


class Watch:
    """One dependency, looked at again and again."""

    def __init__(self, dependency: Dependency, *, leaves_the_pool: bool) -> None:
        self._dependency = dependency
        self._leaves_the_pool = leaves_the_pool
        self._degraded = self._unready = Trouble()
        self._reason = ""

    def look(self, now_seconds: float) -> None:
        """`now_seconds` by the monotonic clock."""
        need = self._dependency
        worse_seconds = need.worse_seconds()
        if worse_seconds >= DEGRADED.ends_seconds:
            self._reason = need.why()
        before = self._degraded.is_there
        self._degraded = self._degraded.after(worse_seconds, now_seconds, DEGRADED)
        self._unready = self._unready.after(need.useless_seconds(), now_seconds, UNREADY)
        metrics.DEGRADED.labels(need.name).set(self._degraded.is_there)
        if self._degraded.is_there and not before:
            logs.event(log, "gateway.degraded", logging.WARNING, what=need.name, reason=self._reason)
        elif before and not self._degraded.is_there:
            logs.event(log, "gateway.recovered", what=need.name)

    def degraded(self) -> str | None:
        return self._reason if self._degraded.is_there else None

    def missing(self) -> str | None:
        return self._reason if self._unready.is_there and self._leaves_the_pool else None


def dependencies(clients: LogClients) -> list[Dependency]:
    control, events, live = clients.control, clients.events, clients.live

    def behind_seconds() -> float:
        """Until it was read once, that is what `/readyz` says anyway."""
        return control.behind_seconds if control.ready else 0.0

    def why_behind() -> str:
        return f"control was last known to be current {control.behind_seconds:.0f} s ago: {control.why_behind}"

    def never_useless() -> float:
        """Live streams are one part of many, and start again with the next reader."""
        return 0.0

    def why_not_live() -> str:
        return f"live streams were cut off, and start again with their next readers: {live.failed}"

    return [
        Dependency("control", behind_seconds, behind_seconds, why_behind),
        Dependency("appends", events.oldest_waiting_seconds, events.unconfirmed_seconds, events.why_waiting),
        Dependency("live", live.failing_seconds, never_useless, why_not_live),
    ]


@asynccontextmanager
async def watching(readiness: Readiness, clients: LogClients, *, leaves_the_pool: bool) -> AsyncIterator[None]:
    """Keeps `readiness` up to date while entered."""
    watches = []
    for dependency in dependencies(clients):
        watch = Watch(dependency, leaves_the_pool=leaves_the_pool)
        readiness.degrade(dependency.name, watch.degraded)
        readiness.require(dependency.name, watch.missing)
        watches.append(watch)
    looking = asyncio.create_task(_look_on(watches))
    try:
        yield
    finally:
        looking.cancel()


async def _look_on(watches: list[Watch]) -> None:
    while True:
        for watch in watches:
            watch.look(time.monotonic())
        await asyncio.sleep(LOOK_SECONDS)
