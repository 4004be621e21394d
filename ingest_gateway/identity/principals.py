"""A principal: who a request acts as, and what it may do. Pure values; finding one is authentication.py's work."""

from dataclasses import dataclass

from schemas.entities import Key, KeyKind

EVENTS_READ, EVENTS_WRITE = "events:read", "events:write"
STREAMS_READ, STREAMS_WRITE = "streams:read", "streams:write"
WORKFLOWS_READ, WORKFLOWS_WRITE = "workflows:read", "workflows:write"

SCOPES_OF_KIND: dict[KeyKind, frozenset[str]] = {
    KeyKind.SECRET: frozenset(
        {EVENTS_READ, EVENTS_WRITE, STREAMS_READ, STREAMS_WRITE, WORKFLOWS_READ, WORKFLOWS_WRITE}
    ),
    KeyKind.PUBLISHABLE: frozenset({EVENTS_WRITE}),
}


@dataclass(frozen=True)
class Principal:
    """`streams` empty: all (of a secret key), none (of a publishable one)."""

    workspace: str
    environment: str
    key_id: str
    kind: KeyKind
    scopes: frozenset[str]
    streams: frozenset[str]

    def may_use_stream(self, name: str) -> bool:
        return name in self.streams or (not self.streams and self.kind is KeyKind.SECRET)

    def may(self, scope: str) -> bool:
        return scope in self.scopes


def principal_of(key: Key) -> Principal:
    allowed = SCOPES_OF_KIND[key.key_kind]
    return Principal(
        workspace=key.workspace,
        environment=key.environment,
        key_id=key.id,
        kind=key.key_kind,
        scopes=allowed & frozenset(key.scopes) if key.scopes else allowed,
        streams=frozenset(key.streams),
    )
