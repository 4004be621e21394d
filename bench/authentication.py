"""What a check costs: keys that the gateway knows, keys that nobody knows, sessions (`python -m bench.authentication`).

Prints the median and the slowest of several rounds in microseconds of processor time a check, without HTTP around it.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import jwt
from aiohttp import web
from multidict import CIMultiDict

from ingest_gateway.http.addresses import CLIENT_ADDRESS
from ingest_gateway.http.faults import Refused
from ingest_gateway.identity.authentication import Authenticator
from ingest_gateway.identity.session_keys import SharedSecret
from ingest_gateway.identity.sessions import Sessions
from operations.control_reader import ControlReader
from schemas.control_view import ControlView
from schemas.entities import Key, KeyKind, Workspace
from schemas.tokens import TokenHasher, mint_token

MASTER_KEY = bytes(range(32))
CHECKS, ROUNDS = 5_000, 9
KEYS = 1_000


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


def main() -> None:
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
        ("a known key", tokens[:1]),
        (f"{KEYS:,} known keys in turn", tokens),
        ("a key that nobody has", [unknown]),
        ("a known session", [session]),
    ]
    for what, presented in rows:
        microseconds = [_round(check, presented) for _ in range(ROUNDS)]
        print(f"{what:<28}{statistics.median(microseconds):6.2f} µs a check, at most {max(microseconds):.2f} µs")


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
    main()
