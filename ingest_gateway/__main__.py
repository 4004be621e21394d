"""`python -m ingest_gateway`: the gateway process. It serves once it has read `control` and can await verdicts;
surfaces that fail open listen before.

SIGTERM: it drains (stopping.py); then no new connections, requests under way are answered, live streams end, queued
records are sent, exit within 10 s of the drain. The operations port answers until the end; a second signal is the end.
When the producer fails for good the process answers nothing more with 202 and exits with 1 within 5 s (F7).
"""

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from typing import Any

import uvloop

from domain.guardrails.prices import add_prices
from ingest_gateway.health import watching
from ingest_gateway.log.clients import log_clients
from ingest_gateway.stopping import Stop
from ingest_gateway.surfaces.served import goes_on_without_the_log, serving
from operations import logs
from operations.garbage import tune_garbage_collector
from operations.operations_port import Readiness, serve_operations
from operations.private_files import keep_to_oneself, log_open_home
from operations.settings import Settings, SettingsInvalid
from operations.stop_signals import on_stop_signals

log = logging.getLogger("atlas.gateway")


async def run(settings: Settings) -> int:
    """Serves until it is asked to stop or can't go on. Returns the exit code."""
    stop = Stop(settings.drain_seconds)
    on_stop_signals(stop.ask)
    readiness = Readiness()
    readiness.require("drain", stop.missing)
    readiness.require("listener", lambda: "no listener yet")
    operations = await serve_operations(readiness, settings.host, settings.metrics_port)
    try:
        async with log_clients(settings, on_fatal=stop.fail) as clients:
            readiness.require("log", clients.missing)
            leaves_the_pool = not goes_on_without_the_log(settings)

            async def ready() -> bool:
                return await _either(clients.ready(), stop.asked.wait())

            async with (
                watching(readiness, clients, leaves_the_pool=leaves_the_pool),
                serving(settings, clients, ready=ready) as listeners,
            ):
                tune_garbage_collector()
                readiness.require("listener", lambda: None)
                await stop.asked.wait()
                if listeners:
                    await stop.drained(listeners.end_connections)
    finally:
        await operations.cleanup()
    return stop.exit_code


async def _either(wanted: Coroutine[Any, Any, object], stopped: Coroutine[Any, Any, object]) -> bool:
    """Whether `wanted` came before `stopped`; the other is not waited for."""
    tasks = [asyncio.create_task(wanted), asyncio.create_task(stopped)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return tasks[0].done() and not tasks[1].done()


def main() -> None:
    keep_to_oneself()
    logs.configure("gateway")
    try:
        settings = Settings.from_env(os.environ, "gateway")
        add_prices(settings.prices)
        logs.configure("gateway", settings.log_level)
        log_open_home(settings.home)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(run(settings))
    except Exception as error:
        from operations.endings import log_ending

        log_ending(log, "gateway.failed", error)
        code = 2 if isinstance(error, SettingsInvalid) else 1
    sys.exit(code)


if __name__ == "__main__":
    main()
