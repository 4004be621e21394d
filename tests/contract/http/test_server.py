"""Starting listeners: shared ports, taken ports."""

import pytest

from ingest_gateway.http.server import SurfaceRunner, serve
from tests.contract.http.small_surface import SURFACE, Handled, render, small_app
from tests.contract.http.wire import Wire


async def start(port: int, *, reuse_port: bool) -> SurfaceRunner:
    app = small_app(Handled())
    return await serve(app, "127.0.0.1", port, surface=SURFACE, render=render, reuse_port=reuse_port)


async def test_two_listeners_may_share_a_port_and_one_may_go() -> None:
    first = await start(0, reuse_port=True)
    second = await start(first.port, reuse_port=True)
    await first.cleanup()
    async with Wire(second.port) as wire:
        assert await wire.is_open()
    await second.cleanup()


async def test_a_taken_port_is_an_error_that_leaves_nothing_running() -> None:
    first = await start(0, reuse_port=False)
    with pytest.raises(OSError):
        await start(first.port, reuse_port=False)
    async with Wire(first.port) as wire:
        assert await wire.is_open()
    await first.cleanup()
