"""Clients that are slow, silent, many or gone. Rows H14, H26, F37, F38.

The listener `impatient` has short times (conftest); those of production are asserted as numbers.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from ingest_gateway.http.bodies import BODY_SECONDS
from ingest_gateway.http.limits import DEFAULT_LIMITS, HttpLimits
from ingest_gateway.http.server import SurfaceRunner
from tests.contract.http.conftest import IMPATIENT, Listen
from tests.contract.http.small_surface import Handled
from tests.contract.http.wire import PATIENCE_SECONDS, Wire, chunk, get, post, request

JSON = "Content-Type: application/json"
HEAD = request("POST", "/echo", JSON, "Content-Length: 100")
PIPELINED = 2_000
CHUNKED_HEAD = request("POST", "/echo", JSON, "Transfer-Encoding: chunked")


def connections(runner: SurfaceRunner) -> int:
    assert runner.server is not None
    return len(runner.server.connections)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is awaited is the server's, which tells nobody
            await asyncio.sleep(0.01)


@pytest.mark.requirement("F38", "H14")
def test_the_times_of_production() -> None:
    assert (DEFAULT_LIMITS.head_seconds, BODY_SECONDS, DEFAULT_LIMITS.keepalive_seconds) == (10, 30, 75)


UNFINISHED = [
    ("F38", "a letter", b"G"),
    ("F38", "half a line", b"GET /things/1 HT"),
    ("F38", "no end of head", get("/things/1")[:-2]),
    ("F38", "a blank line", b"\r\n"),
    ("H14", "no body", HEAD),
    ("H14", "3 bytes of 100", HEAD + b"{}x"),
    ("H14", "no chunk", CHUNKED_HEAD),
    ("H14", "half a chunk", CHUNKED_HEAD + b"5\r\n{"),
    ("H14", "no last chunk", CHUNKED_HEAD + chunk(b"{}")),
]


@pytest.mark.requirement("F38", "H14")
@pytest.mark.parametrize(("row", "what", "sent"), UNFINISHED, ids=[f"{row}-{what}" for row, what, _ in UNFINISHED])
async def test_what_is_never_finished_is_answered_408_and_closed(
    impatient: SurfaceRunner, row: str, what: str, sent: bytes
) -> None:
    async with Wire(impatient.port) as wire:
        await wire.send(sent)
        answer = await wire.answer()
        assert (answer.status, answer.kind) == (408, "REQUEST_TIMEOUT")
        assert await wire.is_closed()
        await until(lambda: connections(impatient) == 0)


@pytest.mark.requirement("F38")
@pytest.mark.parametrize("dripped", [get("/things/1", "X-Long: " + "x" * 5_000), HEAD + b" " * 5_000])
async def test_what_is_fed_a_byte_at_a_time_is_cut_off_all_the_same(impatient: SurfaceRunner, dripped: bytes) -> None:
    async with Wire(impatient.port) as wire:
        for at in range(len(dripped)):
            await wire.send(dripped[at : at + 1])
            await asyncio.sleep(0.02 if at > len(HEAD) - 5 else 0)
            if wire.has_input:
                break
        assert (await wire.answer()).status == 408


@pytest.mark.requirement("F38")
async def test_a_later_head_has_the_same_time(impatient: SurfaceRunner) -> None:
    async with Wire(impatient.port) as wire:
        assert await wire.is_open()
        await wire.send(b"GET /thi")
        assert (await wire.answer()).status == 408
        assert await wire.is_closed()


@pytest.mark.requirement("F38")
async def test_a_client_that_says_nothing_is_closed_without_a_word(impatient: SurfaceRunner) -> None:
    async with Wire(impatient.port) as wire:
        assert await wire.is_closed()
        await until(lambda: connections(impatient) == 0)


@pytest.mark.requirement("F38")
async def test_an_idle_connection_ends_after_its_time(listen: Listen) -> None:
    async with Wire(await listen(HttpLimits(keepalive_seconds=0.2))) as wire:
        assert await wire.is_open()
        assert await wire.is_closed()


@pytest.mark.requirement("F38")
async def test_a_body_in_several_pieces_leaves_the_connection_as_good_as_new(impatient: SurfaceRunner) -> None:
    async with Wire(impatient.port) as wire:
        for sent in (HEAD + b"{", b" " * 50, b" " * 48 + b"}"), (CHUNKED_HEAD, chunk(b"{"), chunk(b"}"), b"0\r\n\r\n"):
            for part in sent:
                await wire.send(part)
                await asyncio.sleep(0.02)
            assert (await wire.answer()).status == 200
            await asyncio.sleep(2 * IMPATIENT.head_seconds)  # idle for longer than a head may take
            assert await wire.is_open()


@pytest.mark.requirement("F38")
async def test_slow_clients_hurt_no_other_and_are_gone_after_their_time(impatient: SurfaceRunner) -> None:
    async with AsyncExitStack() as stack:
        for number in range(100):
            slow = await stack.enter_async_context(Wire(impatient.port))
            await slow.send((HEAD, b"GET /", CHUNKED_HEAD, b"")[number % 4])
        quick = await stack.enter_async_context(Wire(impatient.port))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while connections(impatient) > 1:
                assert await quick.is_open()
        assert await quick.is_open()


@pytest.mark.requirement("F38")
async def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(impatient: SurfaceRunner) -> None:
    async with Wire(impatient.port) as wire:
        wire.stop_reading()
        await wire.send(get("/huge"))
        await until(lambda: connections(impatient) == 1)
        await until(lambda: connections(impatient) == 0)


@pytest.mark.requirement("H26")
async def test_thousands_of_pipelined_requests_are_bounded_and_all_answered(port: int, handled: Handled) -> None:
    """They are more than the sockets between the two can hold, so who sends them notices that nobody reads on."""
    long = f"X-Long: {'x' * 8_000}"
    requests = b"".join(get(f"/things/{number}", long) for number in range(PIPELINED))
    async with Wire(port) as wire:
        sending = asyncio.create_task(wire.send(get("/wait") + requests))
        await until(lambda: handled.started == 1)
        await asyncio.wait({sending}, timeout=0.5)
        assert not sending.done(), "the server takes in what it does not answer"
        handled.gate.set()
        assert (await wire.answer()).json == "waited"
        for number in range(PIPELINED):
            assert (await wire.answer()).json == {"id": str(number)}
        await sending


@pytest.mark.requirement("F37")
async def test_clients_that_leave_at_any_byte_lose_no_work_and_leak_no_task(
    port: int, runner: SurfaceRunner, handled: Handled, caplog: pytest.LogCaptureFixture
) -> None:
    whole = post("/work", b"x" * 500)
    rng = random.Random(20)
    tasks_before = len(asyncio.all_tasks())

    async def leave(at: int) -> None:
        async with Wire(port) as wire:
            await wire.send(whole[:at])
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() * 0.02)

    for _ in range(20):
        await asyncio.gather(*(leave(rng.choice([rng.randrange(len(whole)), len(whole)])) for _ in range(50)))
    await until(lambda: connections(runner) == 0 and len(asyncio.all_tasks()) <= tasks_before)
    assert handled.started == handled.finished > 0
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    async with Wire(port) as wire:
        assert await wire.is_open()


@pytest.mark.requirement("F37")
async def test_work_begun_for_a_client_that_left_is_finished(
    port: int, runner: SurfaceRunner, handled: Handled
) -> None:
    async with Wire(port) as wire:
        await wire.send(get("/wait"))
        await until(lambda: handled.started == 1)
    await asyncio.sleep(0.05)
    assert handled.finished == 0
    handled.gate.set()
    await until(lambda: handled.finished == 1 and connections(runner) == 0)


async def test_a_listener_that_stops_lets_its_requests_finish(
    port: int, runner: SurfaceRunner, handled: Handled
) -> None:
    async with Wire(port) as wire, Wire(port) as idle:
        await wire.send(get("/wait"))
        assert await idle.is_open()
        await until(lambda: handled.started == 1)
        stopping = asyncio.create_task(runner.cleanup())
        assert await idle.is_closed()
        with pytest.raises(OSError):
            await Wire(port).__aenter__()
        handled.gate.set()
        assert (await wire.answer()).json == "waited"
        await stopping
