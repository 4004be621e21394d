"""A listener that stops loses nobody: who is connected is answered, who comes later is told to go elsewhere."""

import asyncio
import socket
import threading

import pytest

from ingest_gateway.http import listening
from ingest_gateway.http.server import SurfaceRunner, serve
from tests.contract.http.conftest import LIMITS
from tests.contract.http.small_surface import SURFACE, Handled, render, small_app

CLIENTS = 20
GET = b"GET /things/1 HTTP/1.1\r\nHost: test\r\n\r\n"


HANDSHAKE_SECONDS = listening.HANDSHAKE_SECONDS  # as production has it: read before tests/conftest.py takes it away


@pytest.fixture(autouse=True)
def handshakes_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_SECONDS", HANDSHAKE_SECONDS)


async def a_runner(handled: Handled, port: int = 0) -> SurfaceRunner:
    return await serve(
        small_app(handled), "127.0.0.1", port, surface=SURFACE, render=render, limits=LIMITS, reuse_port=True
    )


def connected(port: int, sent: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.sendall(sent)
    return client


def answer(client: socket.socket) -> str:
    """The whole answer of a connection that is closed after it, or what became of it."""
    received = b""
    try:
        while piece := client.recv(65_536):
            received += piece
    except OSError as error:
        return repr(error)
    finally:
        client.close()
    return received.decode()


async def answers(clients: list[socket.socket]) -> list[str]:
    return await asyncio.gather(*(asyncio.to_thread(answer, client) for client in clients))


async def test_who_waits_to_be_accepted_is_answered(handled: Handled) -> None:
    runner = await a_runner(handled)
    # The loop does not run while they connect, so all of them wait in the kernel's queue when the listener stops.
    clients = [connected(runner.port, GET) for _ in range(CLIENTS)]
    told, _ = await asyncio.gather(answers(clients), runner.cleanup())
    assert [one.split("\r\n")[0] for one in told] == ["HTTP/1.1 200 OK"] * CLIENTS
    assert all("Connection: close" in one for one in told)


async def test_a_request_that_comes_right_after_its_connection_is_answered(handled: Handled) -> None:
    runner = await a_runner(handled)
    client = connected(runner.port, b"")
    stopping = asyncio.create_task(runner.cleanup())
    await asyncio.sleep(0.3)  # the listener is closed, the connection is not
    with pytest.raises(ConnectionRefusedError):
        connected(stopped_port(client), b"")
    client.sendall(GET)
    told, _ = await asyncio.gather(answers([client]), stopping)
    assert told[0].startswith("HTTP/1.1 200 OK")


def stopped_port(client: socket.socket) -> int:
    return int(client.getpeername()[1])


async def test_a_body_that_is_still_coming_is_waited_for(handled: Handled) -> None:
    runner = await a_runner(handled)
    head = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    client = connected(runner.port, head + b"12345")
    await asyncio.sleep(0.1)
    stopping = asyncio.create_task(runner.cleanup())
    await asyncio.sleep(0.3)
    client.sendall(b"67890")
    told, _ = await asyncio.gather(answers([client]), stopping)
    assert told[0].startswith("HTTP/1.1 200 OK") and "Connection: close" in told[0]
    assert handled.bodies == [b"1234567890"]


async def test_connections_end_with_their_answers_before_the_listener_stops(handled: Handled) -> None:
    runner = await a_runner(handled)
    client = connected(runner.port, GET)
    before = (await asyncio.to_thread(client.recv, 65_536)).decode()
    assert "Connection: close" not in before
    runner.end_connections()
    client.sendall(GET)
    later = connected(runner.port, GET)
    told = await answers([client, later])
    assert all(one.startswith("HTTP/1.1 200 OK") and "Connection: close" in one for one in told)
    await runner.cleanup()


async def test_who_shares_a_port_loses_nobody_when_one_of_them_stops(handled: Handled) -> None:
    first = await a_runner(handled)
    second = await a_runner(handled, first.port)
    port, stop, seen = first.port, threading.Event(), list[str]()

    def knock() -> None:
        while not stop.is_set():
            seen.append(answer(connected(port, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))[:15])

    knocking = [asyncio.create_task(asyncio.to_thread(knock)) for _ in range(4)]
    await asyncio.sleep(0.3)
    await first.cleanup()
    await asyncio.sleep(0.3)
    stop.set()
    await asyncio.gather(*knocking)
    await second.cleanup()
    assert len(seen) > CLIENTS and set(seen) == {"HTTP/1.1 200 OK"}
