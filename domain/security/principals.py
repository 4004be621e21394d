"""A principal: the identity behind a request on any surface, and what it may do.

ingest_gateway/identity/authentication.py finds one. A surface says which kinds of credentials it takes, and which of
its operations needs which scope (its OpenAPI document).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from domain.security.networks import Network, is_within, lies_in, read_address, read_network
from schemas.entities import Key, KeyKind

SESSION: Final = "session"
MISSING_SCOPE: Final = "missing_scope"
"""What a refusal's details call the scope that the credential has not."""

EVENTS_READ, EVENTS_WRITE = "events:read", "events:write"
STREAMS_READ, STREAMS_WRITE = "streams:read", "streams:write"
WORKFLOWS_READ, WORKFLOWS_WRITE = "workflows:read", "workflows:write"
AUDIT_READ = "audit:read"
SUBSCRIPTIONS_WRITE = "subscriptions:write"
ADMIN = "admin"  # keys: make, show, rotate, revoke
PROJECTS_READ, PROJECTS_WRITE = "projects:read", "projects:write"
TASKS_READ, TASKS_WRITE = "tasks:read", "tasks:write"
WEBHOOKS_READ, WEBHOOKS_WRITE = "webhooks:read", "webhooks:write"
AI_USE = "ai:use"
TOKENS_READ, TOKENS_WRITE = "tokens:read", "tokens:write"  # of sessions alone

SCOPES_OF_KIND: dict[str, frozenset[str]] = {
    KeyKind.SECRET: frozenset(
        {EVENTS_READ, EVENTS_WRITE, STREAMS_READ, STREAMS_WRITE, WORKFLOWS_READ, WORKFLOWS_WRITE, AUDIT_READ, ADMIN}
    ),
    KeyKind.PUBLISHABLE: frozenset({EVENTS_WRITE}),
    KeyKind.ACCESS_TOKEN: frozenset(
        {
            *(PROJECTS_READ, PROJECTS_WRITE, TASKS_READ, TASKS_WRITE),
            *(WEBHOOKS_READ, WEBHOOKS_WRITE, AI_USE, AUDIT_READ),
        }
    ),
    KeyKind.SPINE: frozenset({EVENTS_READ, EVENTS_WRITE, SUBSCRIPTIONS_WRITE, ADMIN}),
    KeyKind.ORG: frozenset({"burn:read", "burn:write"}),
}
SCOPES_OF_KIND[SESSION] = frozenset({TOKENS_READ, TOKENS_WRITE}).union(*SCOPES_OF_KIND.values())
"""What a credential of each kind may do at most (A-011, A-012, W-014, W-017, S-003)."""

EVENTS_KINDS: frozenset[str] = frozenset({KeyKind.SECRET, KeyKind.PUBLISHABLE, SESSION})
WORK_KINDS: frozenset[str] = frozenset({KeyKind.ACCESS_TOKEN, SESSION})
SPINE_KINDS: frozenset[str] = frozenset({KeyKind.SPINE, SESSION})
BURN_KINDS: frozenset[str] = frozenset({KeyKind.ORG, SESSION})


@dataclass(frozen=True, slots=True)
class Principal:
    """`kind`: a KeyKind or SESSION. `key_id`: the key's, or the session's user; commands are done in its name.

    `streams` empty: all; of a publishable key none. `networks` empty: any address. `origins` empty: any.
    `ends_ms`: from then on the principal may do nothing.
    """

    workspace: str
    environment: str
    key_id: str
    kind: str
    scopes: frozenset[str]
    streams: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    origins: frozenset[str] = frozenset()
    ends_ms: int | None = None
    logged_as: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """What the log's line of a request says of it."""

    def __post_init__(self) -> None:
        logged_as = {"workspace": self.workspace, "environment": self.environment, "key_id": self.key_id}
        object.__setattr__(self, "logged_as", logged_as)

    @property
    def is_limited(self) -> bool:
        """Whether the principal is limited to some streams (domain/security/reach.py)."""
        return bool(self.streams) or self.kind == KeyKind.PUBLISHABLE

    def may_use_stream(self, name: str) -> bool:
        return name in self.streams or not self.is_limited

    def may(self, scope: str) -> bool:
        return scope in self.scopes

    def may_come_from(self, address: str) -> bool:
        if not self.networks:
            return True
        read = read_address(address)
        return read is not None and lies_in(read, self.networks)

    def may_be_sent_by(self, origin: str) -> bool:
        """Whether a page of that origin may use it: pages hold publishable keys only."""
        return self.kind == KeyKind.PUBLISHABLE and (not self.origins or origin in self.origins)


def principal_of(key: Key) -> Principal:
    allowed = SCOPES_OF_KIND[key.key_kind]
    is_whole = not key.scopes or (key.key_kind is KeyKind.SPINE and ADMIN in key.scopes)  # S-058: admin is all
    return Principal(
        workspace=key.workspace,
        environment=key.environment,
        key_id=key.id,
        kind=key.key_kind,
        scopes=allowed if is_whole else allowed & frozenset(key.scopes),
        streams=frozenset(key.streams),
        networks=networks_of(key.allowed_ips),
        origins=frozenset(key.origins),
        ends_ms=key.ends_ms,
    )


def beyond(maker: Principal, made: Principal) -> list[str]:
    """The fields of a key that allow more than the principal that creates, rotates or revokes it may do.

    Otherwise a key limited to one stream, network or day could create one without the limit, or revoke the keys of
    those who set the limit.
    """
    fields = []
    if not made.scopes <= maker.scopes:
        fields.append("scopes")
    if maker.is_limited and not (made.streams and made.streams <= maker.streams):
        fields.append("streams")
    if maker.networks and not (made.networks and all(is_within(one, maker.networks) for one in made.networks)):
        fields.append("allowed_ips")
    if maker.ends_ms is not None and (made.ends_ms is None or made.ends_ms > maker.ends_ms):
        fields.append("expires_at")
    return fields


def networks_of(written: Iterable[str]) -> tuple[Network, ...]:
    return tuple(map(_network, written))


@lru_cache(10_000)
def _network(text: str) -> Network:
    return read_network(text)
