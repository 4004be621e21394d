"""`python -m ingest_gateway`: the gateway process. It serves once it has read `control` and can await verdicts;
surfaces that fail open listen before.

SIGTERM and Ctrl-C: no new connections, requests under way are answered, queued records are sent, exit within 10 s.
When the producer fails for good the process answers nothing more with 202 and exits with 1 within 5 s (RELIABILITY F7).
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import uvloop

from ingest_gateway.identity.freshness import behind
from ingest_gateway.log.clients import log_clients
from ingest_gateway.surfaces.served import serving
from operations import logs
from operations.operations_port import Readiness, serve_operations
from operations.private_files import keep_to_oneself, log_open_home
from operations.schema_registry import RegistryUnusable
from operations.settings import Settings, SettingsInvalid

log = logging.getLogger("atlas.gateway")
FATAL_EXIT_SECONDS = 4.5


class Stop:
    """Why and when the process ends. `exit_code` is 0 for a stop that was asked for."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.exit_code = 0

    def ask(self) -> None:
        self.asked.set()

    def fail(self, reason: str) -> None:
        logs.event(log, "gateway.failed", logging.CRITICAL, reason=reason)
        self.exit_code = 1
        self.asked.set()
        last_word = threading.Timer(FATAL_EXIT_SECONDS, os._exit, (1,))
        last_word.daemon = True
        last_word.start()


async def run(settings: Settings) -> int:
    """Until it is told to stop or can't go on; the exit code."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop.ask)
    readiness = Readiness()
    readiness.require("listener", lambda: "no listener yet")
    operations = await serve_operations(readiness, settings.host, settings.metrics_port)
    try:
        async with log_clients(settings, on_fatal=stop.fail) as clients:
            readiness.require("log", clients.missing)
            readiness.require("control", lambda: behind(clients.control))

            async def ready() -> bool:
                return await _either(clients.ready(), stop.asked.wait())

            async with serving(settings, clients, ready=ready):
                readiness.require("listener", lambda: "stopping" if stop.asked.is_set() else None)
                await stop.asked.wait()
    except RegistryUnusable as error:
        stop.fail(f"schema registry: {error}")
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
    try:
        settings = Settings.from_env(os.environ, "gateway")
    except SettingsInvalid as invalid:
        sys.exit(f"gateway: {invalid}")
    logs.configure("gateway", settings.log_level)
    log_open_home(settings.home)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(run(settings)))


if __name__ == "__main__":
    main()
