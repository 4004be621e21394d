"""One attempt against endpoints that behave well, badly, slowly or with hostility; on both event loops (conftest)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp.abc import ResolveResult
from yarl import URL

from operations.outgoing import open_socket
from processors.delivery import resolver
from processors.delivery.decide import Answered, ErrorCode, Failed, Result, TimedOut
from processors.delivery.http_client import Endpoint, HttpClient, Post
from processors.delivery.resolver import Resolver
from schemas.signatures import signing_secret, standard_key, timestamped_signature
from tests.support.certificates import a_certificate
from tests.support.ports import free_port
from tests.support.receiver import Behaviour, Receiver, answer, close, drip, endless, hang, raw, reset
from tests.unit.test_targets import REFUSED_ADDRESSES

SECRET = signing_secret(b"m" * 32, "ws_1/live/wf_search")
BODY = b'{"id":"evt_1","data":{"a" : 1.0}}'
LONG_SECONDS = 60.0
SHORT_SECONDS = 0.3  # for what must end by the time-out; whatever passes has LONG_SECONDS
OK_HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    client = HttpClient(LONG_SECONDS, allow_private_targets=True)
    yield client
    await client.close()


@pytest.fixture
async def hasty_client() -> AsyncIterator[HttpClient]:
    client = HttpClient(SHORT_SECONDS, allow_private_targets=True)
    yield client
    await client.close()


async def post(client: HttpClient, url: str, attempt: int = 1) -> Result:
    endpoint = Endpoint(URL(url, encoded=True), SECRET, standard_key(SECRET))
    return await client.post(endpoint, Post("dlv_1", attempt, BODY))


class TestWhatIsSent:
    @pytest.mark.requirement("A-057", "A-058")
    async def test_the_raw_body_signed(self, client: HttpClient, receiver: Receiver) -> None:
        assert await post(client, receiver.url + "/a/../hook?x=%2F", attempt=4) == Answered(200)
        (request,) = receiver.requests
        assert (request.method, request.path, request.body) == ("POST", "/a/../hook?x=%2F", BODY)
        now_seconds = int(request.headers["webhook-timestamp"])
        assert request.headers["x-atlas-signature"] == timestamped_signature(SECRET, now_seconds, BODY)
        assert request.headers["webhook-signature"].startswith("v1,")
        assert request.headers["webhook-id"] == request.headers["x-atlas-delivery"] == "dlv_1"
        assert request.headers["x-atlas-attempt"] == "4"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["user-agent"].startswith("Atlas/")

    @pytest.mark.requirement("W13")
    async def test_cookies_are_not_kept_and_no_proxy_is_taken_from_the_environment(
        self, client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        receiver.script("/", answer(200, b"", "Set-Cookie: a=b; Path=/"))
        assert [await post(client, receiver.url + "/") for _ in range(2)] == [Answered(200), Answered(200)]
        assert "cookie" not in receiver.requests[1].headers


class TestAnswers:
    @pytest.mark.parametrize("status", [200, 201, 204, 400, 410, 429, 500, 503, 999])
    async def test_the_status_and_the_body_are_told_and_the_connection_is_kept(
        self, client: HttpClient, receiver: Receiver, status: int
    ) -> None:
        body = b"" if status == 204 else b"because"
        receiver.script("/", answer(status, body))
        assert [await post(client, receiver.url + "/") for _ in range(3)] == [Answered(status, body)] * 3
        assert receiver.connections == 1

    @pytest.mark.requirement("W7")
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_redirect_is_not_followed(self, client: HttpClient, receiver: Receiver, status: int) -> None:
        receiver.script("/", answer(status, b"", f"Location: {receiver.url}/elsewhere"))
        assert await post(client, receiver.url + "/") == Answered(status)
        assert [request.path for request in receiver.requests] == ["/"]

    @pytest.mark.requirement("W9")
    async def test_a_long_body_is_read_to_its_first_kilobyte(self, client: HttpClient, receiver: Receiver) -> None:
        receiver.script("/short", answer(200, b"s" * 1_024 + b"t" * 10_000))
        receiver.script("/long", answer(200, b"l" * 50_000_000))
        receiver.script("/endless", endless(OK_HEAD + b"\r\n", b"e" * 65_536))
        assert await post(client, receiver.url + "/short") == Answered(200, b"s" * 1_024)
        assert await post(client, receiver.url + "/long") == Answered(200, b"l" * 1_024)
        assert receiver.connections == 1  # the short one was read to its end, so its connection was used again
        assert await post(client, receiver.url + "/endless") == Answered(200, b"e" * 1_024)
        await asyncio.to_thread(receiver.wait_until_closed)

    @pytest.mark.requirement("W9")
    async def test_a_compressed_body_is_left_as_it_is(self, client: HttpClient, receiver: Receiver) -> None:
        receiver.script("/", answer(200, b"\x1f\x8b\x08not gzip", "Content-Encoding: gzip"))
        assert await post(client, receiver.url + "/") == Answered(200, b"\x1f\x8b\x08not gzip")

    @pytest.mark.requirement("W11")
    async def test_a_2xx_head_decides_even_if_the_body_breaks_off(self, client: HttpClient, receiver: Receiver) -> None:
        receiver.script("/", raw(OK_HEAD + b"Content-Length: 50\r\n\r\nabc"))
        assert await post(client, receiver.url + "/") == Answered(200, b"abc")


TRICKLES = {
    "no answer": hang(),
    "a byte at a time in the head": drip(OK_HEAD * 100, SHORT_SECONDS / 3),
    "interim answers without end": endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "one interim answer, then silence": drip(b"", 1, b"HTTP/1.1 100 Continue\r\n\r\n"),
}
NOT_HTTP = {
    "bad status line": raw(b"HTP/1.1 200 OK\r\n\r\n"),
    "another protocol": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "negative length": raw(OK_HEAD + b"Content-Length: -5\r\n\r\n"),
    "5,000 headers": raw(OK_HEAD + b"a: b\r\n" * 5_000 + b"\r\n"),
    "a header of 1 MB": raw(OK_HEAD + b"a: " + b"b" * 1_000_000 + b"\r\n\r\n"),
}


class TestFailures:
    @pytest.mark.requirement("W8", "A-050")
    @pytest.mark.parametrize("behaviour", TRICKLES.values(), ids=TRICKLES)
    async def test_without_a_head_in_time_it_timed_out(
        self, hasty_client: HttpClient, receiver: Receiver, behaviour: Behaviour
    ) -> None:
        receiver.script("/", behaviour)
        assert await post(hasty_client, receiver.url + "/") == TimedOut(SHORT_SECONDS)
        await asyncio.to_thread(receiver.wait_until_closed)

    @pytest.mark.requirement("W8")
    async def test_a_body_that_trickles_ends_in_time_too(self, receiver: Receiver) -> None:
        client = HttpClient(1.5, allow_private_targets=True)  # time enough for the head
        receiver.script("/", drip(b"x" * 100, 1.0, first=OK_HEAD + b"Content-Length: 101\r\n\r\na"))
        result = await post(client, receiver.url + "/")
        assert isinstance(result, Answered) and result.http_status == 200 and len(result.excerpt) < 10
        await asyncio.to_thread(receiver.wait_until_closed)
        await client.close()

    @pytest.mark.requirement("W10")
    @pytest.mark.parametrize("behaviour", NOT_HTTP.values(), ids=NOT_HTTP)
    async def test_what_is_not_http_is_a_failed_connection_and_dropped(
        self, client: HttpClient, receiver: Receiver, behaviour: Behaviour
    ) -> None:
        receiver.script("/", behaviour, answer(200))
        failed = await post(client, receiver.url + "/")
        assert failed == Failed(ErrorCode.CONNECTION_FAILED, "did not answer in HTTP")
        assert await post(client, receiver.url + "/") == Answered(200)
        assert receiver.connections == 2

    @pytest.mark.parametrize("behaviour", [close(), reset()], ids=["closed", "reset"])
    async def test_a_fresh_connection_that_breaks_without_an_answer_is_a_failure(
        self, client: HttpClient, receiver: Receiver, behaviour: Behaviour
    ) -> None:
        receiver.script("/", behaviour)
        result = await post(client, receiver.url + "/")
        assert isinstance(result, Failed) and result.code is ErrorCode.CONNECTION_FAILED
        assert len(receiver.requests) == 1

    async def test_a_kept_connection_that_breaks_is_replaced_once_within_the_attempt(
        self, client: HttpClient, receiver: Receiver
    ) -> None:
        receiver.script("/", answer(200), close(), answer(200))
        assert [await post(client, receiver.url + "/") for _ in range(2)] == [Answered(200), Answered(200)]
        assert [request.connection for request in receiver.requests] == [1, 1, 2]
        assert len({request.headers["x-atlas-delivery"] for request in receiver.requests}) == 1

    async def test_a_connection_that_the_server_closed_meanwhile_costs_no_attempt(
        self, client: HttpClient, receiver: Receiver
    ) -> None:
        assert await post(client, receiver.url + "/") == Answered(200)
        receiver.drop_connections()
        assert await post(client, receiver.url + "/") == Answered(200)
        assert len(receiver.requests) == 2

    async def test_nobody_listens(self, client: HttpClient) -> None:
        result = await post(client, f"http://127.0.0.1:{free_port()}/")
        assert result == Failed(ErrorCode.CONNECTION_FAILED, "refused the connection")

    async def test_a_name_that_does_not_exist(self, client: HttpClient) -> None:
        result = await post(client, "http://nowhere.invalid/")
        assert result == Failed(ErrorCode.CONNECTION_FAILED, "has a name that could not be resolved")


class TestTls:
    async def test_a_certificate_that_is_trusted(self, tmp_path: Path) -> None:
        served, trusting = a_certificate(tmp_path, "127.0.0.1")
        with Receiver(tls=served) as receiver:
            client = HttpClient(LONG_SECONDS, allow_private_targets=True, tls=trusting)
            assert [await post(client, receiver.url + "/") for _ in range(2)] == [Answered(200), Answered(200)]
            assert receiver.connections == 1
            await client.close()

    async def test_a_certificate_that_nobody_vouches_for(self, client: HttpClient, tmp_path: Path) -> None:
        served, _trusting = a_certificate(tmp_path, "127.0.0.1")
        with Receiver(tls=served) as receiver:
            result = await post(client, receiver.url + "/")
            assert result == Failed(ErrorCode.TLS_FAILED, "has no valid certificate")
            assert receiver.requests == []

    async def test_a_certificate_of_another_host(self, tmp_path: Path) -> None:
        served, trusting = a_certificate(tmp_path, "10.9.8.7")
        with Receiver(tls=served) as receiver:
            client = HttpClient(LONG_SECONDS, allow_private_targets=True, tls=trusting)
            result = await post(client, receiver.url + "/")
            assert result == Failed(ErrorCode.TLS_FAILED, "has no valid certificate")
            await client.close()

    async def test_a_server_that_speaks_no_tls(self, client: HttpClient) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            result = await post(client, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        assert result == Failed(ErrorCode.TLS_FAILED, "did not complete the TLS handshake")


FORBIDDEN = Failed(ErrorCode.TARGET_FORBIDDEN, "has an address that is private, local or reserved")


class TestGuard:
    """Without ATLAS_ALLOW_PRIVATE_TARGETS. The receiver listens on loopback, so a request would arrive."""

    @pytest.fixture
    async def guarded(self) -> AsyncIterator[HttpClient]:
        client = HttpClient(LONG_SECONDS, allow_private_targets=False)
        yield client
        await client.close()

    @pytest.mark.requirement("W1", "W2")
    @pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "0x7f000001", "localhost"])
    async def test_an_inner_address_is_refused_at_connect(
        self, guarded: HttpClient, receiver: Receiver, host: str
    ) -> None:
        assert await post(guarded, f"http://{host}:{receiver.port}/") == FORBIDDEN
        assert receiver.connections == 0

    @pytest.mark.requirement("W4", "F46")
    @pytest.mark.parametrize(
        "answers",
        [[["127.0.0.1"]], [["93.184.216.34", "127.0.0.1"]], [["127.0.0.1", "93.184.216.34"]]],
        ids=["private", "public, private", "private, public"],
    )
    async def test_a_name_with_an_inner_address_is_refused(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, answers: list[list[str]]
    ) -> None:
        _resolve_to(monkeypatch, answers)
        client = HttpClient(LONG_SECONDS, allow_private_targets=False)
        assert await post(client, f"http://hook.example.com:{receiver.port}/") == FORBIDDEN
        assert receiver.connections == 0
        await client.close()

    @pytest.mark.requirement("W1", "W4", "F46")
    @pytest.mark.parametrize("guard", ["the resolver's", "the socket's"])
    async def test_every_forbidden_address_is_refused_behind_a_name_too(
        self, guarded: HttpClient, monkeypatch: pytest.MonkeyPatch, guard: str
    ) -> None:
        """All that RELIABILITY names. Each guard alone does: with one, the other is taken away."""
        if guard == "the resolver's":
            monkeypatch.setattr(guarded, "_new_socket", open_socket)
        else:
            monkeypatch.setattr("processors.delivery.guard.GuardedResolver.resolve", Resolver.resolve)
        for number, address in enumerate(REFUSED_ADDRESSES):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            found = [(family, socket.SOCK_STREAM, 6, "", (address, 0))]
            monkeypatch.setattr(resolver.socket, "getaddrinfo", lambda *_, found=found, **__: found)
            assert await post(guarded, f"http://name{number}.example.com:8080/") == FORBIDDEN, address

    @pytest.mark.requirement("W1", "W4")
    @pytest.mark.parametrize(
        "address", ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"]
    )
    async def test_development_does_not_dial_a_metadata_service(
        self, monkeypatch: pytest.MonkeyPatch, address: str
    ) -> None:
        """Neither by its address nor behind a name."""
        client = HttpClient(LONG_SECONDS, allow_private_targets=True)
        host = f"[{address}]" if ":" in address else address
        assert await post(client, f"http://{host}:8080/") == FORBIDDEN
        _resolve_to(monkeypatch, [[address]])
        assert await post(client, "http://hook.example.com:8080/") == FORBIDDEN
        await client.close()

    @pytest.mark.requirement("W4", "F46")
    async def test_a_name_that_resolves_to_a_public_address_first_and_to_an_inner_one_later(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("processors.delivery.http_client.DNS_CACHE_SECONDS", 0)
        _resolve_to(monkeypatch, [["192.0.1.1"], ["127.0.0.1"]])  # nobody answers at the first
        client = HttpClient(SHORT_SECONDS, allow_private_targets=False)
        url = f"http://hook.example.com:{receiver.port}/"
        first = await post(client, url)
        assert first != FORBIDDEN and not isinstance(first, Answered)
        assert await post(client, url) == FORBIDDEN
        assert receiver.connections == 0
        await client.close()

    @pytest.mark.requirement("W4", "F46")
    async def test_the_address_that_is_dialled_is_the_one_that_is_judged(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A resolver that lies to whoever asks first: the guard on sockets alone stops it."""
        monkeypatch.setattr("processors.delivery.guard.GuardedResolver.resolve", _lying_resolve)
        client = HttpClient(LONG_SECONDS, allow_private_targets=False)
        assert await post(client, f"http://hook.example.com:{receiver.port}/") == FORBIDDEN
        assert receiver.connections == 0
        await client.close()


def _resolve_to(monkeypatch: pytest.MonkeyPatch, answers: list[list[str]]) -> None:
    """Names resolve to these addresses, one list a look-up; the last goes on."""

    async def resolve(self: Resolver, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [_resolved(host, address, port) for address in addresses]

    monkeypatch.setattr(Resolver, "resolve", resolve)


async def _lying_resolve(_self: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
    return [_resolved(host, "127.0.0.1", port)]


def _resolved(host: str, address: str, port: int) -> ResolveResult:
    return {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
