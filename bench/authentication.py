"""`make bench-auth`: what authentication and limits cost a request.

1. A check by itself, without HTTP around it: keys that the gateway knows (goal: 10 µs), unknown ones, sessions.
2. The same request to the events surface on its real HTTP server, with authentication and limits and without them, in
   rounds by turns; what they add is the difference of the medians (goal: 15 µs).
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
from pathlib import Path
from typing import Any, cast

import jwt
import uvloop
from aiohttp import web
from multidict import CIMultiDict

from ingest_gateway.http.addresses import CLIENT_ADDRESS
from ingest_gateway.http.faults import Refused
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.identity.principals import principal_of
from ingest_gateway.identity.session_keys import SharedSecret
from ingest_gateway.identity.sessions import Sessions
from ingest_gateway.limits.enforcement import RateLimits, limiter_of
from operations.control_reader import ControlReader
from schemas.control_view import ControlView
from schemas.entities import Key, KeyKind, Workspace
from schemas.limits import Quota
from schemas.tokens import TokenHasher, mint_token
from tests.support.events_surface import LocalControl, put_keys, services_on, serving

MASTER_KEY = bytes(range(32))
CHECKS, ROUNDS = 5_000, 9
KEYS = 1_000
KNOWN = "a known key"
ASKED = "/v1/events/nothing"  # the least that an operation does: 404, without a look at anything
REQUESTS, REQUEST_ROUNDS = 2_000, 9
GOAL_CHECK_MICROSECONDS, GOAL_ADDED_MICROSECONDS = 10.0, 15.0
RESULTS = Path(__file__).parent / "results" / "authentication.json"


class Control:
    def __init__(self) -> None:
        self.view = ControlView()

    async def catch_up(self) -> bool:
        return True


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
    print(
        f"a request: {whole['with']:.1f} µs with authentication and limits, {whole['without']:.1f} without: "
        f"{whole['added']:.1f} more ({whole['with'] / whole['without']:.2f} ×); "
        f"goal {GOAL_ADDED_MICROSECONDS:g}: {said(met['added'])}"
    )
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
    """Two surfaces in this process, asked in turn."""
    with tempfile.TemporaryDirectory(prefix="atlas-bench-") as home:
        control = LocalControl()
        token = put_keys(control)["live"]
        whole, bare = (services_on(Path(home), control, cast(Any, None), cast(Any, None)) for _ in range(2))
        whole.limits = _roomy(control.view)
        principal = principal_of(control.view.keys["key_live"])
        bare.authenticate = lambda _request: principal
        costs: dict[str, list[float]] = {"with": [], "without": []}
        async with serving(whole) as (whole_url, _), serving(bare) as (bare_url, _):
            for number in range(REQUEST_ROUNDS + 1):
                for name, url in (("with", whole_url), ("without", bare_url)):
                    microseconds = await _requests_round(url, token)
                    if number:  # the first warms up
                        costs[name].append(microseconds)
    medians = {name: statistics.median(rounds) for name, rounds in costs.items()}
    return {**medians, "added": medians["with"] - medians["without"], "rounds": costs}


async def _requests_round(url: str, token: str) -> float:
    """Microseconds of this process's time a request, while another one asks."""
    command = [sys.executable, "-m", "bench.authentication", "--ask", url, token, str(REQUESTS)]
    client = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    assert client.stdin is not None and client.stdout is not None
    await client.stdout.readline()  # it is connected
    began = time.process_time()
    client.stdin.write(b"go\n")
    answered = int(await client.stdout.readline())
    spent = time.process_time() - began
    await client.wait()
    assert answered == REQUESTS, "every request got its answer"
    return spent / REQUESTS * 1e6


def ask(url: str, token: str, count: int) -> None:
    """The client: one connection, one request after the other; prints how many were answered with 404, as they are."""
    host, _, port = url.removeprefix("http://").partition(":")
    text = f"GET {ASKED} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    answered = 0
    with socket.create_connection((host, int(port))) as connection:
        print("connected", flush=True)
        sys.stdin.readline()
        for _ in range(count):
            connection.sendall(text)
            received = b""
            while b"\r\n\r\n" not in received or not received.endswith(b"}"):
                received += connection.recv(65_536)
            answered += received.startswith(b"HTTP/1.1 404")
    print(answered, flush=True)


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
        ask(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        uvloop.install()
        sys.exit(main())
