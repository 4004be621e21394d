"""`make bench-auth`: what authentication and limits cost a request.

1. A check by itself, without HTTP around it: keys that the gateway knows (goal: 10 µs), unknown ones, sessions.
2. The same request to the events surface on its real HTTP server, with authentication and limits and without either of
   them, in rounds by turns; what they add is the median difference of two rounds that follow one another (goal: 15 µs).
All times are the server's processor time; the client is a process of its own. Figures are printed and kept in
bench/results/authentication.json. The exit code says whether the goals were met.
"""

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import jwt
import uvloop
from aiohttp import web
from multidict import CIMultiDict

from domain.entities.control_view import ControlView
from domain.limits.quotas import Quota
from domain.security.api_tokens import TokenHasher, mint_token
from domain.security.principals import Principal, principal_of
from ingest_gateway.http.addresses import CLIENT_ADDRESS
from ingest_gateway.http.errors import Refused
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.identity.session_keys import SharedSecret
from ingest_gateway.identity.sessions import Sessions
from ingest_gateway.limits.enforcement import RateLimits, limiter_of
from operations.control_reader import ControlReader
from schemas.entities import Key, KeyKind, Workspace
from tests.support.events_surface import LocalControl, put_keys, services_on, serving

MASTER_KEY = bytes(range(32))
CHECKS, ROUNDS = 5_000, 9
KEYS = 1_000
KNOWN = "a known key"
ASKED = "/v1/events/nothing"  # the least that an operation does: 404, without a look at anything
REQUESTS, REQUEST_ROUNDS = 1_000, 25
NEITHER, AUTHENTICATION, LIMITS, BOTH = SURFACES = ("with neither", "authentication", "limits", "both")
GOAL_CHECK_MICROSECONDS, GOAL_ADDED_MICROSECONDS = 10.0, 15.0
RESULTS = Path(__file__).parent / "results" / "authentication.json"


class Control:
    def __init__(self) -> None:
        self.view = ControlView()
        self.ready = True

    async def catch_up(self) -> bool:
        return True


class Anybody(Authenticator):
    """Nobody is asked who he is."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def known(self, request: web.Request) -> Principal:
        return self._principal

    __call__ = known


class Request(dict[Any, Any]):
    """As much of a request as is looked at."""

    def __init__(self, authorization: str) -> None:
        super().__init__({CLIENT_ADDRESS: "127.0.0.1"})
        self.headers = CIMultiDict({"Authorization": authorization})


def main() -> int:
    load = os.getloadavg()[0]
    print(f"load before: {load:.2f}")
    checks = check_alone()
    whole = asyncio.run(requests())
    known = checks[KNOWN]
    met = {"check": known <= GOAL_CHECK_MICROSECONDS, "added": whole["added"] <= GOAL_ADDED_MICROSECONDS}
    print(f"{KNOWN}: {known:.2f} µs; goal {GOAL_CHECK_MICROSECONDS:g}: {said(met['check'])}")
    told = ", ".join(f"{name} {whole[name]:.1f}" for name in SURFACES)
    print(f"a request, µs: {told}")
    ratio = whole[BOTH] / whole[NEITHER]
    print(f"both add {whole['added']:.1f} µs ({ratio:.2f} ×); goal {GOAL_ADDED_MICROSECONDS:g}: {said(met['added'])}")
    RESULTS.parent.mkdir(exist_ok=True)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    RESULTS.write_text(json.dumps({"at": at, "load_before": load, "checks": checks, **whole}, indent=2) + "\n")
    return 0 if all(met.values()) else 1


def said(met: bool) -> str:
    return "met" if met else "MISSED"


def check_alone() -> dict[str, float]:
    """Median microseconds by what was presented."""
    hasher = TokenHasher(MASTER_KEY)
    control = Control()
    tokens = [_put_key(control, hasher, f"key_{n}") for n in range(KEYS)]
    workspace = Workspace(id="ws_1", workspace="ws_1", created_ms=0, name="One")
    control.view.apply(workspace.to_entity().key, workspace.to_entity().encode())
    secret = b"0123456789abcdef" * 4
    sessions = Sessions(SharedSecret(secret), issuer="i", audience="a")
    check = Authenticator(cast(ControlReader, control), hasher, sessions=sessions)
    claims = {"iss": "i", "aud": "a", "sub": "u", "workspace": "ws_1", "exp": time.time() + 3_600}
    session = jwt.encode(claims, secret, algorithm="HS256")
    unknown = mint_token(MASTER_KEY, "sk", "live", "nobody")
    # (what, tokens taken in turn)
    rows: list[tuple[str, list[str]]] = [
        (KNOWN, tokens[:1]),
        (f"{KEYS:,} known keys in turn", tokens),
        ("a key that nobody has", [unknown]),
        ("a known session", [session]),
    ]
    medians = {}
    for what, presented in rows:
        microseconds = [_round(check, presented) for _ in range(ROUNDS)]
        medians[what] = statistics.median(microseconds)
        print(f"{what:<28}{medians[what]:6.2f} µs a check, at most {max(microseconds):.2f} µs")
    return medians


async def requests() -> dict[str, Any]:
    """Four surfaces in this process, asked in turn: the same application, its parts put in one by one."""
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as home:
        control = LocalControl()
        token = put_keys(control)["live"]
        principal = principal_of(control.view.keys["key_live"])
        costs: dict[str, list[float]] = {name: [] for name in SURFACES}
        async with AsyncExitStack() as stack:
            urls = {}
            for name in SURFACES:
                services = services_on(Path(home), control, cast(Any, None), cast(Any, None))
                if name in (NEITHER, LIMITS):
                    services.authenticate = Anybody(principal)
                if name in (LIMITS, BOTH):
                    services.limits = _roomy(control.view)
                urls[name], _ = await stack.enter_async_context(serving(services))
            client = await stack.enter_async_context(Client(token))
            for number in range(REQUEST_ROUNDS + 1):
                for name, url in urls.items():
                    microseconds = await client.round(url)
                    if number:  # the first warms up
                        costs[name].append(microseconds)
    medians = {name: statistics.median(rounds) for name, rounds in costs.items()}
    differences = [both - neither for both, neither in zip(costs[BOTH], costs[NEITHER], strict=True)]
    return {**medians, "added": statistics.median(differences), "rounds": costs}


class Client:
    """A process that asks as it is told to."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def __aenter__(self) -> Self:
        command = [sys.executable, "-m", "bench.authentication", "--ask", self._token, str(REQUESTS)]
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, cwd=Path(__file__).parents[1]
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def round(self, url: str) -> float:
        """Microseconds of this process's time a request."""
        await self._told(url)  # it is connected
        began = time.process_time()
        answered = int(await self._told("go"))
        spent = time.process_time() - began
        assert answered == REQUESTS, "every request got its answer"
        return spent / REQUESTS * 1e6

    async def _told(self, line: str) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{line}\n".encode())
        return await self._process.stdout.readline()


def ask(token: str, count: int) -> None:
    """The client's part: of each address one connection, one request after the other; prints how many were answered
    with 404, as they are.
    """
    for line in sys.stdin:
        host, _, port = line.strip().removeprefix("http://").partition(":")
        text = f"GET {ASKED} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        with socket.create_connection((host, int(port))) as connection:
            print("connected", flush=True)
            sys.stdin.readline()
            print(sum(_is_answered(connection, text) for _ in range(count)), flush=True)


def _is_answered(connection: socket.socket, text: bytes) -> bool:
    connection.sendall(text)
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"}"):
        received += connection.recv(65_536)
    return received.startswith(b"HTTP/1.1 404")


def _roomy(view: ControlView) -> RateLimits:
    return RateLimits(limiter_of(view, {"*": {"events": Quota(10_000_000, 10_000_000)}}, "bench"))


def _round(check: Callable[[web.Request], object], tokens: list[str]) -> float:
    requests = [cast(web.Request, Request(f"Bearer {tokens[n % len(tokens)]}")) for n in range(CHECKS)]
    started = time.thread_time()
    for request in requests:
        try:
            check(request)
        except Refused:
            continue
    return (time.thread_time() - started) / CHECKS * 1e6


def _put_key(control: Control, hasher: TokenHasher, key_id: str) -> str:
    token = mint_token(MASTER_KEY, KeyKind.SECRET, "live", key_id)
    key = Key(
        id=key_id,
        workspace="ws_1",
        created_ms=0,
        environment="live",
        key_kind=KeyKind.SECRET,
        name=key_id,
        token_hash=hasher.hash(token),
    )
    control.view.apply(key.to_entity().key, key.to_entity().encode())
    return token


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        ask(sys.argv[2], int(sys.argv[3]))
    else:
        uvloop.install()
        sys.exit(main())
