"""Which Authorization header makes which principal, and that whatever is wrong with one the answer is the same."""

import asyncio
import re
import time
from typing import cast

import jwt
import pytest
from aiohttp import web
from multidict import CIMultiDict

from domain.entities.control_view import ControlView
from domain.security.api_tokens import TOKEN as TOKEN_FORM
from domain.security.api_tokens import TokenHasher, mint_token
from domain.security.principals import (
    EVENTS_KINDS,
    EVENTS_READ,
    EVENTS_WRITE,
    SCOPES_OF_KIND,
    SESSION,
    STREAMS_WRITE,
)
from ingest_gateway.http.addresses import CLIENT_ADDRESS
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.identity.authentication import Authenticator, SharedCatchUp, require_scope
from ingest_gateway.identity.credentials import bare
from ingest_gateway.identity.failures import FailedAttempts
from ingest_gateway.identity.last_used import LastUsed
from ingest_gateway.identity.session_keys import SharedSecret
from ingest_gateway.identity.sessions import Sessions
from ingest_gateway.surfaces.served import ALL
from ingest_gateway.surfaces.surface import Surface
from operations.control_reader import ControlReader
from schemas.commands.keys import TouchKeys
from schemas.entities import Key, KeyKind, State, Workspace

MASTER_KEY = bytes(range(32))
HASHER = TokenHasher(MASTER_KEY)
TOKEN = mint_token(MASTER_KEY, "sk", "live", "key_1")


class Control:
    """The reader of `control`, with what it would find by reading on."""

    def __init__(self) -> None:
        self.view = ControlView()
        self.ready = True
        self.coming: list[State] = []
        self.reads = 0

    async def catch_up(self) -> bool:
        self.reads += 1
        await asyncio.sleep(0)
        while self.coming:
            self.put(self.coming.pop())
        return True

    def put(self, key: State, version: int = 1) -> None:
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


def a_request(*authorizations: str, address: str = "") -> web.Request:
    request = Headers(authorizations)
    request[CLIENT_ADDRESS] = address
    return cast(web.Request, request)


@pytest.mark.requirement("A-006", "A-008", "A-010", "A-011")
def test_a_secret_key_is_its_workspace_in_its_environment(authenticate: Authenticator) -> None:
    principal = authenticate(a_request(f"Bearer {TOKEN}"))
    assert (principal.workspace, principal.environment, principal.key_id) == ("ws_1", "live", "key_1")
    assert principal.scopes == SCOPES_OF_KIND[KeyKind.SECRET]
    assert principal.may_use_stream("any-stream")
    assert authenticate(a_request(f"Bearer {TOKEN}")) is principal
    assert authenticate(a_request(f"bearer  {TOKEN}")) == principal


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
        (f"Bearer {TOKEN.removeprefix('atlas_')}",),
        (f"Bearer {TOKEN}\r\nX-Injected: 1",),
        ("Bearer a.b.c",),
        ("Bearer " + "x." * 4_000 + "x",),
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
    assert (fault.kind, fault.message, fault.fields) == (ErrorKind.UNAUTHENTICATED, fault.kind.message, ())


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
        assert refused.value.kind is ErrorKind.FORBIDDEN
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


async def test_a_session_of_a_workspace_made_a_moment_ago_is_read_about_first(control: Control) -> None:
    secret = b"0123456789abcdef" * 4
    claims = {"iss": "id", "aud": "atlas", "exp": int(time.time()) + 600, "sub": "usr_1", "workspace": "ws_new"}
    sessions = Sessions(SharedSecret(secret), issuer="id", audience="atlas")
    authenticate = Authenticator(
        cast(ControlReader, control), HASHER, kinds=EVENTS_KINDS | {SESSION}, sessions=sessions
    )
    control.coming.append(Workspace(id="ws_new", workspace="ws_new", created_ms=1, name="New"))
    request = a_request(f"Bearer {jwt.encode(claims, secret, algorithm='HS256')}")
    await authenticate.await_news_of(request)
    assert authenticate(request).workspace == "ws_new"
    await authenticate.await_news_of(request)
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


# (kind, environment, form)
@pytest.mark.requirement("A-010", "A-012", "W-011", "S-057", "B-003")
@pytest.mark.parametrize(
    ("kind", "environment", "form"),
    [
        ("sk", "live", r"atlas_live_sk_[0-9a-f]{32}"),
        ("sk", "test", r"atlas_test_sk_[0-9a-f]{32}"),
        ("pk", "live", r"atlas_live_pk_[0-9a-f]{32}"),
        ("pk", "test", r"atlas_test_pk_[0-9a-f]{32}"),
        ("pat", "live", r"atlas_pat_[0-9a-f]{32}"),
        ("spine", "live", r"sk_live_[0-9a-f]{32}"),
        ("spine", "test", r"sk_test_[0-9a-f]{32}"),
        ("abn", "live", r"abn_[a-z2-7]{20}"),
    ],
)
def test_how_tokens_look(kind: str, environment: str, form: str) -> None:
    token = mint_token(MASTER_KEY, kind, environment, "key_1")
    assert re.fullmatch(form, token) and TOKEN_FORM.fullmatch(token)
    assert token == mint_token(MASTER_KEY, kind, environment, "key_1")
    assert token != mint_token(MASTER_KEY, kind, environment, "key_2")


@pytest.mark.requirement("A2", "A3", "A-073")
@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_surface_takes_its_own_kinds_alone(control: Control, kind: KeyKind) -> None:
    control.put(a_key("key_k", kind))
    request = f"Bearer {mint_token(MASTER_KEY, kind, 'live', 'key_k')}"
    for kinds in (frozenset({kind.value}), EVENTS_KINDS, frozenset[str]()):
        surface = Authenticator(cast(ControlReader, control), HASHER, kinds=kinds)
        if kind in kinds:
            assert surface(a_request(request)).scopes == SCOPES_OF_KIND[kind]
        else:
            with pytest.raises(Refused) as refused:
                surface(a_request(request))
            assert refused.value.kind is ErrorKind.UNAUTHENTICATED


@pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)
@pytest.mark.parametrize("environment", ["prod", "", "Live"])
def test_no_surface_lets_a_caller_into_an_environment_that_there_is_not(
    control: Control, surface: Surface, environment: str
) -> None:
    """So no gateway writes a command for such an environment. The control agent refuses them all the same, the
    reservation of an AI answer included, which it once accepted.
    """
    kind = next(kind for kind in KeyKind if kind in surface.kinds)
    token = mint_token(MASTER_KEY, kind, "live", "key_odd")
    control.put(a_key("key_odd", kind, environment=environment, token_hash=HASHER.hash(token)))
    authenticate = Authenticator(cast(ControlReader, control), HASHER, **surface.takes)
    request = a_request(f"Bearer {token}")
    request.headers[surface.presentation.header] = surface.presentation.usual(token)  # type: ignore[index]
    assert authenticate.known(request) is None
    with pytest.raises(Refused) as refused:
        authenticate(request)
    assert refused.value.kind is ErrorKind.FORBIDDEN
    assert authenticate.known(request) is None


@pytest.mark.requirement("B-003")
def test_a_surface_reads_its_own_header(control: Control) -> None:
    control.put(a_key("key_o", KeyKind.ORG))
    token = mint_token(MASTER_KEY, KeyKind.ORG, "live", "key_o")
    surface = Authenticator(
        cast(ControlReader, control), HASHER, kinds=frozenset({"abn"}), presentation=bare("AtlasBurn-API-Key")
    )
    request = a_request()
    request.headers.add("AtlasBurn-API-Key", token)  # type: ignore[attr-defined]
    assert surface(request).key_id == "key_o"
    for written in ((), (f"Bearer {token}",), (token, token), (token + " ",)):
        request = a_request(f"Bearer {token}")
        for value in written:
            request.headers.add("AtlasBurn-API-Key", value)  # type: ignore[attr-defined]
        with pytest.raises(Refused):
            surface(request)


# (changes of the key, whether it holds at the clock's 10 s)
@pytest.mark.requirement("A2", "A-013")
@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({"expires_ms": 10_001}, True),
        ({"expires_ms": 10_000}, False),
        ({"rotated_to": "key_2", "overlap_until_ms": 10_001}, True),
        ({"rotated_to": "key_2", "overlap_until_ms": 10_000}, False),
        ({"rotated_to": "key_2", "overlap_until_ms": 20_000, "expires_ms": 9_000}, False),
        ({"rotated_to": "key_2", "overlap_until_ms": 20_000, "revoked_ms": 9_000}, False),
    ],
)
def test_until_when_a_key_holds(control: Control, changes: dict[str, object], holds: bool) -> None:
    control.put(a_key(**changes))
    surface = Authenticator(cast(ControlReader, control), HASHER, clock=lambda: 10.0)
    if holds:
        assert surface(a_request(f"Bearer {TOKEN}")).key_id == "key_1"
    else:
        with pytest.raises(Refused) as refused:
            surface(a_request(f"Bearer {TOKEN}"))
        assert refused.value.kind is ErrorKind.UNAUTHENTICATED


@pytest.mark.requirement("A4", "W-016")
@pytest.mark.parametrize("kind", [KeyKind.ACCESS_TOKEN, KeyKind.SECRET])
@pytest.mark.parametrize(
    ("address", "kind_of_fault"),
    [
        ("203.0.113.9", None),
        ("::ffff:203.0.113.9", None),
        ("203.0.114.9", ErrorKind.ADDRESS_BLOCKED),
        ("2001:db8::1", ErrorKind.ADDRESS_BLOCKED),
        ("", ErrorKind.ADDRESS_BLOCKED),
    ],
)
def test_a_token_is_used_from_its_networks_alone(
    control: Control, kind: KeyKind, address: str, kind_of_fault: ErrorKind | None
) -> None:
    control.put(a_key("key_n", kind, allowed_ips=["203.0.113.0/24"]))
    surface = Authenticator(cast(ControlReader, control), HASHER, kinds=frozenset({kind.value}))
    request = a_request(f"Bearer {mint_token(MASTER_KEY, kind, 'live', 'key_n')}", address=address)
    if kind_of_fault is None:
        assert surface(request).key_id == "key_n"
    else:
        with pytest.raises(Refused) as refused:
            surface(request)
        assert (refused.value.kind, refused.value.status) == (kind_of_fault, 403)


class TestFailedAttempts:
    """60 at once, then one a second, for each address."""

    @pytest.mark.requirement("A9")
    def test_a_thousand_wrong_keys_from_one_address(self, authenticate: Authenticator) -> None:
        statuses = []
        for n in range(1_000):
            wrong = mint_token(MASTER_KEY, "sk", "live", f"key_wrong_{n}")
            with pytest.raises(Refused) as refused:
                authenticate(a_request(f"Bearer {wrong}", address="203.0.113.9"))
            statuses.append(refused.value.status)
            if refused.value.status == 429:
                assert int(refused.value.headers["Retry-After"]) >= 1
        assert statuses[:60] == [401] * 60 and statuses.count(401) < 100
        with pytest.raises(Refused) as elsewhere:
            authenticate(a_request("Bearer wrong", address="203.0.113.10"))
        assert elsewhere.value.status == 401
        assert authenticate(a_request(f"Bearer {TOKEN}", address="203.0.113.9")).key_id == "key_1"

    @pytest.mark.requirement("A-013")
    def test_who_shows_nothing_does_not_guess(self, authenticate: Authenticator) -> None:
        for _ in range(100):
            with pytest.raises(Refused) as refused:
                authenticate(a_request(address="203.0.113.9"))
            assert refused.value.status == 401

    @pytest.mark.requirement("A9")
    async def test_a_limited_address_makes_no_reads(self, authenticate: Authenticator, control: Control) -> None:
        for n in range(70):
            with pytest.raises(Refused):
                authenticate(a_request(f"Bearer wrong{n}", address="2001:db8::1"))
        unknown = mint_token(MASTER_KEY, "sk", "live", "key_unknown")
        await authenticate.await_news_of(a_request(f"Bearer {unknown}", address="2001:db8::2"))  # the same /64
        assert control.reads == 0
        await authenticate.await_news_of(a_request(f"Bearer {unknown}", address="2001:db8:0:1::2"))
        assert control.reads == 1

    @pytest.mark.requirement("A9")
    def test_room_comes_back_and_the_table_is_bounded(self) -> None:
        failures = FailedAttempts(addresses_max=100)
        assert [failures.count("203.0.113.9", 0.0) for _ in range(61)] == [0.0] * 60 + [1.0]
        assert failures.wait_seconds("203.0.113.9", 1.0) == 0
        for n in range(1_000):
            failures.count(f"198.51.{n // 256}.{n % 256}", 1.0)
        assert len(failures) == 100
        assert failures.wait_seconds("203.0.113.9", 1.0) == 0


async def test_when_keys_were_used_is_told_once_by_workspace(control: Control) -> None:
    now_ms = [5]
    used = LastUsed(lambda: now_ms[0] * 1_000_000)
    control.put(a_key())
    control.put(a_key("key_2", workspace="ws_2"))
    surface = Authenticator(cast(ControlReader, control), HASHER, used=used)
    for _ in range(3):
        surface(a_request(f"Bearer {TOKEN}"))
    now_ms[0] = 7
    surface(a_request(f"Bearer {TOKEN}"))
    surface(a_request(f"Bearer {mint_token(MASTER_KEY, 'sk', 'live', 'key_2')}"))
    assert dict(used.take()) == {"ws_1": TouchKeys(used_ms={"key_1": 7}), "ws_2": TouchKeys(used_ms={"key_2": 7})}
    assert list(used.take()) == []


def test_a_check_costs_a_few_microseconds(authenticate: Authenticator) -> None:
    """The time is printed, not judged: what is checked is that the principal is not made again."""
    requests = [a_request(f"Bearer {TOKEN}") for _ in range(10_000)]
    first = authenticate(a_request(f"Bearer {TOKEN}"))
    started = time.perf_counter()
    same = all(authenticate(request) is first for request in requests)
    print(f"{(time.perf_counter() - started) * 100:.1f} µs a check")
    assert same
