"""One attempt against endpoints that behave well, badly, slowly or with hostility; on both event loops (conftest)."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp.abc import ResolveResult
from yarl import URL

from domain.delivery.decide import Answered, AttemptResult, ErrorCode, Failed, TimedOut
from domain.delivery.signatures import signing_secret, standard_key, timestamped_signature
from operations.outgoing import open_socket
from processors.delivery import resolver
from processors.delivery.http_client import HttpClient, HttpEndpoint, Post
from processors.delivery.resolver import Resolver
from tests.support.certificates import a_certificate
from tests.support.ports import free_port
from tests.support.receiver import Behaviour, Receiver, answer, close, drip, endless, hang, raw, reset
from tests.unit.test_targets import REFUSED_ADDRESSES

SECRET = signing_secret(b"m" * 32, "ws_1/live/wf_search")
BODY = b'{"id":"evt_1","data":{"a" : 1.0}}'
LONG_SECONDS = 60.0
SHORT_SECONDS = 0.3  # for what must end by the time-out; what passes has LONG_SECONDS
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


async def post(client: HttpClient, url: str, attempt: int = 1) -> AttemptResult:
    endpoint = HttpEndpoint(URL(url, encoded=True), SECRET, standard_key(SECRET))
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
    async def test_the_status_and_the_body_are_reported_and_the_connection_is_kept(
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
        assert await post(client, receiver.url + "/") == Answered(200, b"abc", unread=BROKEN)


TRICKLES = {
    "no answer": hang(),
    "a byte at a time in the head": drip(OK_HEAD * 100, SHORT_SECONDS / 3),
    "interim answers without end": endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "one interim answer, then silence": drip(b"", 1, b"HTTP/1.1 100 Continue\r\n\r\n"),
}
NOT_HTTP = {
    "bad status line": raw(b"HTP/1.1 200 OK\r\n\r\n"),
    "another protocol": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "a status of four digits": raw(b"HTTP/1.1 2000 OK\r\n\r\n"),
    "a status of two digits": raw(b"HTTP/1.1 20 OK\r\n\r\n"),
    "HTTP/0.9": raw(b"<html>ok</html>"),
    "the preface of HTTP/2": raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
}
NO_ANSWER = {
    "closed": close(),
    "reset": reset(),
    "closed inside of the status line": raw(b"HTTP/1.1 20"),
    "closed before the status line's end": raw(b"HTTP/1.1 200 OK"),
    "closed after an interim answer": raw(b"HTTP/1.1 100 Continue\r\n\r\n"),
}
BROKEN = "the rest of its answer broke off or can't be read as HTTP"
LONG_HEADER = "a header of its answer is too long to be read"
ENDED = b"Content-Length: 2\r\n\r\nok"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
COOKIES = b"".join(b"Set-Cookie: s%d=%b\r\n" % (number, b"c" * 4_000) for number in range(20))
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
ODD = [
    # RFC 9110, 5.4: no bounds are set to lengths; RFC 6265, 6.1: at least 50 cookies of 4,096 bytes
    ("a header of 9,000 bytes", OK_HEAD + b"X-Trace: " + b"t" * 9_000 + b"\r\n" + ENDED, b"ok", None),
    ("a cookie of 9,000 bytes", OK_HEAD + b"Set-Cookie: s=" + b"c" * 9_000 + b"\r\n" + ENDED, b"ok", None),
    ("20 cookies of 4,000 bytes", OK_HEAD + COOKIES + ENDED, b"ok", None),
    ("200 headers", OK_HEAD + b"".join(b"X-%d: v\r\n" % n for n in range(200)) + ENDED, b"ok", None),
    ("a reason of 9,000 bytes", b"HTTP/1.1 200 " + b"K" * 9_000 + b"\r\n" + ENDED, b"ok", None),
    ("5,000 headers", OK_HEAD + b"a: b\r\n" * 5_000 + b"\r\n", b"", BROKEN),
    ("a header of 1 MB", OK_HEAD + b"a: " + b"b" * 1_000_000 + b"\r\n\r\n", b"", LONG_HEADER),
    # RFC 9110, 5.5: CR, LF and NUL in a value are invalid; bytes beyond ASCII are obs-text
    ("NUL in a header", OK_HEAD + b"X: a\x00b\r\n" + ENDED, b"", BROKEN),
    ("Latin-1 in a header", OK_HEAD + b"X: Jos\xe9\r\n" + ENDED, b"ok", None),
    ("a header without a colon", OK_HEAD + b"nonsense\r\n" + ENDED, b"", BROKEN),
    ("a blank before the colon", OK_HEAD + b"X : y\r\n" + ENDED, b"", BROKEN),
    # RFC 9112, 4: the reason may be empty; 2.3: a server of HTTP/1.0
    ("no reason", b"HTTP/1.1 200 \r\n" + ENDED, b"ok", None),
    ("no reason and no blank", b"HTTP/1.1 200\r\n" + ENDED, b"ok", None),
    ("HTTP/1.0 to the connection's end", b"HTTP/1.0 200 OK\r\n\r\nok", b"ok", None),
    # RFC 9110, 15.2: interim answers come first, any number of them
    ("interim answers", INTERIM + OK_HEAD + ENDED, b"ok", None),
    ("an interim answer, then NUL", b"HTTP/1.1 102 Wait\r\n\r\n" + OK_HEAD + b"X: \x00\r\n\r\n", b"", BROKEN),
    # RFC 9112, 6.3 and 7.1: lengths and chunks that are none; 8: an answer that ends early
    ("a length that is none", OK_HEAD + b"Content-Length: -5\r\n\r\n", b"", BROKEN),
    ("two lengths", OK_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", b"", BROKEN),
    ("a length that is too large", OK_HEAD + b"Content-Length: 50\r\n\r\nabc", b"abc", BROKEN),
    ("a length that is too small", OK_HEAD + b"Content-Length: 2\r\n\r\nok and more", b"ok", BROKEN),
    ("no chunk's size", OK_HEAD + CHUNKED + b"2\r\nok\r\nxyz\r\n", b"ok", BROKEN),
    ("chunks without an end", OK_HEAD + CHUNKED + b"2\r\nok\r\n", b"ok", BROKEN),
    ("trailers", OK_HEAD + CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", b"ok", None),
    ("closed after the status line", OK_HEAD, b"", BROKEN),
    ("closed inside of the head", OK_HEAD + b"Content-Le", b"", BROKEN),
    # RFC 9110, 15.3.5: 204 has no body; 8.4: a coding that is not the body's
    ("204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", b"", BROKEN),
    ("a coding that lies", OK_HEAD + b"Content-Encoding: gzip\r\n" + ENDED, b"ok", None),
    ("a coding that nobody knows", OK_HEAD + b"Content-Encoding: pack200\r\n" + ENDED, b"ok", None),
]  # fmt: skip


class TestOddAnswers:
    """The status line decides, whatever follows it; the result says what could not be read."""

    @pytest.mark.requirement("W10", "W11")
    @pytest.mark.parametrize(("what", "sent", "body", "unread"), ODD, ids=[what for what, *_ in ODD])
    async def test_a_2xx_is_an_acknowledgement(
        self, client: HttpClient, receiver: Receiver, what: str, sent: bytes, body: bytes, unread: str | None
    ) -> None:
        receiver.script("/", raw(sent), answer(200))
        status = 204 if what.startswith("204") else 200
        result = await post(client, receiver.url + "/")
        assert isinstance(result, Answered) and (result.http_status, result.unread) == (status, unread)
        if unread is None:
            assert result.excerpt == body
        else:  # what came in one piece with the fault is lost with it
            assert body.startswith(result.excerpt)
        assert await post(client, receiver.url + "/") == Answered(200)
        assert len(receiver.requests) == 2, "nothing was sent twice"

    @pytest.mark.requirement("W10", "W11")
    @pytest.mark.parametrize("line", [b"503 Busy", b"410 Gone", b"302 Found", b"404 None", b"101 Switching Protocols"])
    async def test_another_status_is_what_it_says_too(
        self, client: HttpClient, receiver: Receiver, line: bytes
    ) -> None:
        receiver.script("/", raw(b"HTTP/1.1 " + line + b"\r\nX: \x00\r\n\r\n"))
        assert await post(client, receiver.url + "/") == Answered(int(line[:3]), unread=BROKEN)

    @pytest.mark.requirement("W8", "W11")
    async def test_a_head_that_does_not_end_in_time(self, hasty_client: HttpClient, receiver: Receiver) -> None:
        receiver.script("/", drip(b"", 1, OK_HEAD + b"X-Slow: "))
        late = Answered(200, unread="the rest of its answer did not come in time")
        assert await post(hasty_client, receiver.url + "/") == late
        await asyncio.to_thread(receiver.wait_until_closed)

    async def test_a_status_line_on_a_kept_connection_is_not_asked_for_again(
        self, client: HttpClient, receiver: Receiver
    ) -> None:
        receiver.script("/", answer(200), raw(OK_HEAD), answer(500))
        first, second = [await post(client, receiver.url + "/") for _ in range(2)]
        assert (first, second) == (Answered(200), Answered(200, unread=BROKEN))
        assert [request.connection for request in receiver.requests] == [1, 1]


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

    @pytest.mark.parametrize("behaviour", NO_ANSWER.values(), ids=NO_ANSWER)
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
        """All ways inside. Each of the two guards is enough: for one, the other is taken away."""
        if guard == "the resolver's":
            monkeypatch.setattr(guarded, "_new_socket", open_socket)
        else:
            monkeypatch.setattr("processors.delivery.resolver.GuardedResolver.resolve", Resolver.resolve)
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
        """A resolver that lies to its first caller: only the guard on sockets stops it."""
        monkeypatch.setattr("processors.delivery.resolver.GuardedResolver.resolve", _lying_resolve)
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
