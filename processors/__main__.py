"""`python -m processors <admission|control|delivery|projection|lifecycle>`: one worker process.

Starts the operations port first, so that `/readyz` answers from the beginning, then the reader of `control`, then
Faust. Exits with 0 after SIGTERM or SIGINT (running batches finish, offsets are committed) and with 1 when an agent
failed. A second signal ends it at once.
"""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

from domain.guardrails.prices import add_prices
from operations import logs
from operations.cluster_admin import ClusterAdmin
from operations.garbage import tune_garbage_collector
from operations.operations_port import serve_operations
from operations.private_files import keep_to_oneself, log_open_home
from operations.schema_registry import use_registry
from operations.session_limits import refuse_session
from operations.settings import Settings, SettingsInvalid
from operations.stop_signals import on_stop_signals
from operations.topic_admin import ensure_topics, once_answered
from processors.runtime.agent import AgentRuntime
from processors.runtime.lease import watch_lease
from processors.runtime.runtime import Runtime
from processors.runtime.watchdog import Watchdog
from schemas.topics import base_topics

log = logging.getLogger("processors")
GROUPS = ("admission", "control", "delivery", "projection", "lifecycle")


async def run(settings: Settings, group: str) -> int:
    runtime = Runtime(settings, group)
    stop = asyncio.Event()
    on_stop_signals(lambda _number: stop.set())
    runtime.readiness.require("stop", lambda: "stopping" if stop.is_set() else None)
    operations = None
    try:
        operations = await serve_operations(runtime.readiness, settings.host, settings.metrics_port)
        if not await _done_before(stop, _set_up(runtime)):
            return 0
        await runtime.start()
        watchdog = Watchdog(runtime)
        watching = asyncio.create_task(watchdog.run())
        holding = asyncio.create_task(watch_lease(runtime.consumer.lease, runtime.is_owner, runtime.fail))
        tune_garbage_collector()
        logs.event(log, "process.started", group=group)
        return await _until_ended(runtime, stop, watching, holding)
    except Exception as error:
        _log_ending(error, group)
        return 1
    finally:
        if operations is not None:
            await operations.cleanup()


async def _set_up(runtime: Runtime) -> None:
    """Prepares all that the app needs to start; waits for a broker that is not there yet."""
    settings = runtime.settings
    runtime.registry = await use_registry(settings)
    runtime.control.start()
    # The first process creates the topics: on a new cluster there is no `control` to read before that.
    await once_answered(ensure_topics, ClusterAdmin(settings.kafka), base_topics(settings.partitions))
    await asyncio.to_thread(refuse_session, settings.kafka, settings.session_seconds)
    await runtime.control.caught_up()
    agents: AgentRuntime = runtime
    importlib.import_module(f"processors.{runtime.group}.agent").build(agents)
    await runtime.tables.prepare(settings.partitions)
    runtime.app.conf.datadir.mkdir(parents=True, exist_ok=True)


async def _done_before(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done before the process had to stop. Raises what the work raises."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        return False
    await working
    return True


async def _until_ended(runtime: Runtime, stop: asyncio.Event, *watching: "asyncio.Task[None]") -> int:
    stopped = asyncio.create_task(stop.wait())
    crashed = asyncio.create_task(_crashed(runtime))
    ends: set[asyncio.Future[Any]] = {stopped, crashed, runtime.failed, *watching}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    error = runtime.failed.exception() if runtime.failed.done() else None
    if error is None and not stopped.done():
        error = runtime.app.crash_reason or RuntimeError("Faust stopped by itself")
    for task in (stopped, crashed, *watching):
        task.cancel()
    if error is not None:
        _log_ending(error, runtime.group)
        return 1
    await runtime.stop()
    logs.event(log, "process.stopped", group=runtime.group)
    return 0


def _log_ending(error: BaseException, group: str) -> None:
    from operations.endings import log_ending
    from processors.endings import ENDINGS

    log_ending(log, "process.failed", error, ENDINGS, group=group)


async def _crashed(runtime: Runtime) -> None:
    while not runtime.app.crashed and not runtime.app.should_stop:  # noqa: ASYNC110 — Faust offers no event
        await asyncio.sleep(0.2)


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in GROUPS:
        print(f"usage: python -m processors {'|'.join(GROUPS)}", file=sys.stderr)
        return 2
    group = sys.argv[1]
    keep_to_oneself()
    try:
        settings = Settings.from_env(os.environ, group)
    except SettingsInvalid as error:
        logs.configure(group)
        _log_ending(error, group)
        return 2
    add_prices(settings.prices)
    logs.configure(group, settings.log_level)
    log_open_home(settings.home)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        # Not asyncio.run, which then cancels all tasks and waits for them: Faust's start themselves again, for ever.
        return loop.run_until_complete(run(settings, group))
    except Exception as error:
        _log_ending(error, group)
        return 1


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # librdkafka's and Faust's threads may still wait for a broker that is gone
