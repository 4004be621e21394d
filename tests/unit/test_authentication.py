"""Which Authorization header makes which principal, and that whatever is wrong with one the answer is the same."""

import asyncio
import time
from typing import cast

import pytest
from aiohttp import web
from multidict import CIMultiDict

from ingest_gateway.http.faults import FaultKind, Refused
from ingest_gateway.identity.authentication import Authenticator, SharedCatchUp, require_scope
from ingest_gateway.identity.principals import EVENTS_READ, EVENTS_WRITE, SCOPES_OF_KIND, STREAMS_WRITE
from operations.control_reader import ControlReader
from schemas.control_view import ControlView
from schemas.entities import Key, KeyKind
from schemas.tokens import TokenHasher, mint_token

MASTER_KEY = bytes(range(32))
HASHER = TokenHasher(MASTER_KEY)
TOKEN = mint_token(MASTER_KEY, "sk", "live", "key_1")


class Control:
    """The reader of `control`, with what it would find by reading on."""

    def __init__(self) -> None:
        self.view = ControlView()
        self.coming: list[Key] = []
        self.reads = 0

    async def catch_up(self) -> bool:
        self.reads += 1
        await asyncio.sleep(0)
        while self.coming:
            self.put(self.coming.pop())
        return True

    def put(self, key: Key, version: int = 1) -> None:
        entity = key.to_entity(version)
        self.view.apply(entity.key, entity.encode())


@pytest.fixture
def control() -> Control:
    return Control()


@pytest.fixture
def authenticate(control: Control) -> Authenticator:
    control.put(a_key())
    return Authenticator(cast(ControlReader, control), HASHER)


def a_key(key_id: str = "key_1", kind: KeyKind = KeyKind.SECRET, environment: str = "live", **changes: object) -> Key:
    token_hash = HASHER.hash(mint_token(MASTER_KEY, kind, environment, key_id))
    values = {"id": key_id, "workspace": "ws_1", "created_ms": 1, "environment": environment, "key_kind": kind}
    return Key(**{**values, "name": "k", "token_hash": token_hash, **changes})  # type: ignore[arg-type]


class Headers(dict[object, object]):
    """As much of a request as is looked at, so that headers can hold what no client library sends."""

    def __init__(self, authorizations: tuple[str, ...]) -> None:
        super().__init__()
        self.headers = CIMultiDict([("Authorization", written) for written in authorizations])


def a_request(*authorizations: str) -> web.Request:
    return cast(web.Request, Headers(authorizations))


@pytest.mark.requirement("A-006", "A-008", "A-010", "A-011")
def test_a_secret_key_is_its_workspace_in_its_environment(authenticate: Authenticator) -> None:
    principal = authenticate(a_request(f"Bearer {TOKEN}"))
    assert (principal.workspace, principal.environment, principal.key_id) == ("ws_1", "live", "key_1")
    assert principal.scopes == SCOPES_OF_KIND[KeyKind.SECRET]
    assert principal.may_use_stream("any-stream")
    assert authenticate(a_request(f"bearer  {TOKEN}")) is principal


@pytest.mark.parametrize(
    "authorizations",
    [
        (),
        ("",),
        ("Bearer",),
        ("Bearer ",),
        (TOKEN,),
        (f"Basic {TOKEN}",),
        (f"Bearer {TOKEN} ",),
        (f" Bearer {TOKEN}",),
        (f"Bearer\t{TOKEN}",),
        (f"Bearer {TOKEN}\n",),
        (f"Bearer {TOKEN[:-1]}",),
        (f"Bearer {TOKEN}0",),
        (f"Bearer {TOKEN.upper()}",),
        (f"Bearer {TOKEN} {TOKEN}",),
        (f"Bearer {TOKEN},Bearer {TOKEN}",),
        (f"Bearer {TOKEN}", f"Bearer {TOKEN}"),
        (f"Bearer {mint_token(MASTER_KEY, 'sk', 'live', 'key_unknown')}",),
        (f"Bearer {TOKEN.replace('live', 'test')}",),
        (f"Bearer {TOKEN.replace('_sk_', '_pk_')}",),
        ("Bearer atlas_live_sk_" + "\udcff" * 32,),
        ("Bearer atlas_live_sk_" + "٣" * 32,),
        ("Bearer " + "x" * 8_000,),
    ],
)
@pytest.mark.requirement("A-013", "A-073", "A1", "A2")
def test_whatever_is_wrong_the_answer_is_the_same(authenticate: Authenticator, authorizations: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        authenticate(a_request(*authorizations))
    fault = refused.value
    assert (fault.kind, fault.message, fault.fields) == (FaultKind.UNAUTHENTICATED, fault.kind.message, ())


@pytest.mark.requirement("A-013", "A2")
def test_a_revocation_holds_at_once_and_a_key_given_back_too(authenticate: Authenticator, control: Control) -> None:
    authenticate(a_request(f"Bearer {TOKEN}"))
    control.put(a_key(revoked_ms=5), version=2)
    with pytest.raises(Refused):
        authenticate(a_request(f"Bearer {TOKEN}"))
    control.put(a_key(streams=["orders-prod"]), version=3)
    assert authenticate(a_request(f"Bearer {TOKEN}")).streams == {"orders-prod"}


@pytest.mark.requirement("A-012", "A3")
def test_a_publishable_key_may_only_send_and_only_to_its_streams(authenticate: Authenticator, control: Control) -> None:
    control.put(a_key("key_2", KeyKind.PUBLISHABLE, streams=["web"]))
    control.put(a_key("key_3", KeyKind.PUBLISHABLE))
    token = mint_token(MASTER_KEY, "pk", "live", "key_2")
    principal = authenticate(a_request(f"Bearer {token}"))
    require_scope(principal, EVENTS_WRITE)
    for scope in (EVENTS_READ, STREAMS_WRITE):
        with pytest.raises(Refused) as refused:
            require_scope(principal, scope)
        assert refused.value.kind is FaultKind.FORBIDDEN
    assert principal.may_use_stream("web") and not principal.may_use_stream("orders-prod")
    nowhere = authenticate(a_request(f"Bearer {mint_token(MASTER_KEY, 'pk', 'live', 'key_3')}"))
    assert not nowhere.may_use_stream("web")


def test_scopes_narrow_a_key_and_never_widen_it(authenticate: Authenticator, control: Control) -> None:
    control.put(a_key("key_2", scopes=[EVENTS_READ]))
    control.put(a_key("key_3", KeyKind.PUBLISHABLE, scopes=[EVENTS_READ, STREAMS_WRITE], streams=["web"]))
    reader = authenticate(a_request(f"Bearer {mint_token(MASTER_KEY, 'sk', 'live', 'key_2')}"))
    assert reader.scopes == {EVENTS_READ}
    sender = authenticate(a_request(f"Bearer {mint_token(MASTER_KEY, 'pk', 'live', 'key_3')}"))
    assert sender.scopes == frozenset()


async def test_a_key_made_a_moment_ago_is_read_about_first(authenticate: Authenticator, control: Control) -> None:
    control.coming.append(a_key("key_new"))
    request = a_request(f"Bearer {mint_token(MASTER_KEY, 'sk', 'live', 'key_new')}")
    await authenticate.await_news_of(request)
    assert authenticate(request).key_id == "key_new"
    await authenticate.await_news_of(a_request(f"Bearer {TOKEN}"))
    await authenticate.await_news_of(a_request("Bearer nonsense"))
    assert control.reads == 1


@pytest.mark.requirement("A9")
async def test_a_thousand_wrong_keys_cost_few_reads(control: Control) -> None:
    """Each waits for a read that began after it came; reads begin 50 ms apart, so they are shared."""
    catch_up = SharedCatchUp(control.catch_up, apart_seconds=0.05)
    started = time.monotonic()
    for _ in range(5):
        before = control.reads
        await asyncio.gather(*(catch_up() for _ in range(200)))
        assert control.reads == before + 1
    assert time.monotonic() - started >= 4 * 0.05


def test_a_check_costs_a_few_microseconds(authenticate: Authenticator) -> None:
    """The time is printed, not judged: what is checked is that neither the hash nor the principal is made again."""
    request = a_request(f"Bearer {TOKEN}")
    first = authenticate(request)
    started = time.perf_counter()
    same = all(authenticate(request) is first for _ in range(10_000))
    print(f"{(time.perf_counter() - started) * 100:.1f} µs a check")
    assert same and authenticate._hash.cache_info().misses == 1
