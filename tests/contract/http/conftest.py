"""Listeners with the small surface: one with the times of production, one that loses patience soon. On both loops."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from ingest_gateway.http.limits import HttpLimits
from ingest_gateway.http.server import SurfaceRunner, serve
from tests.contract.http.small_surface import SURFACE, Handled, render, small_app

LIMITS = HttpLimits(lingering_seconds=0.2, body_bytes_max=2_000_000)
IMPATIENT = replace(LIMITS, head_seconds=0.4, write_seconds=0.4)
IMPATIENT_BODY_SECONDS = 0.3
Listen = Callable[[HttpLimits], Coroutine[Any, Any, int]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
async def runner(handled: Handled) -> AsyncIterator[SurfaceRunner]:
    runner = await serve(small_app(handled), "127.0.0.1", 0, surface=SURFACE, render=render, limits=LIMITS)
    yield runner
    await runner.cleanup()


@pytest.fixture
async def port(runner: SurfaceRunner) -> int:
    return runner.port


@pytest.fixture
async def impatient(handled: Handled) -> AsyncIterator[SurfaceRunner]:
    app = small_app(handled, IMPATIENT_BODY_SECONDS)
    runner = await serve(app, "127.0.0.1", 0, surface=SURFACE, render=render, limits=IMPATIENT)
    yield runner
    await runner.cleanup()


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Starts further listeners with limits of their own: `await listen(limits)` gives the port."""
    runners: list[SurfaceRunner] = []

    async def start(limits: HttpLimits) -> int:
        runner = await serve(small_app(Handled()), "127.0.0.1", 0, surface=SURFACE, render=render, limits=limits)
        runners.append(runner)
        return runner.port

    yield start
    for runner in runners:
        await runner.cleanup()
