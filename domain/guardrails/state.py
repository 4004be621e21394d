"""The guardrails' tables: what lies under which key, read when it is needed, kept for a batch and saved once.

| table | key (parts joined by NUL) | value |
|---|---|---|
| guardrails (for good) | workspace | Organization |
| guardrail-windows (26 h) | `l`, workspace, key id, session id | Lane |
| | `k`, workspace, key id | KeyWindow |
| | `e`, 12 bytes of a hash over workspace, source and event id | when it was counted (8 bytes) |
| guardrail-spend (65 days) | workspace, scope, id | Spent: of what a cap counts beside the organization |

Entries of the last two age out by themselves; what one means is decided by the log's time, never by its being there.
"""

import hashlib
from typing import Protocol

import msgspec

from domain.guardrails.values import KeyWindow, Lane, Organization, Spent
from schemas.guardrail_policy import Guarded
from schemas.telemetry import DEDUPLICATED_MS, Source

ORGANIZATIONS, WINDOWS, SPEND = "guardrails", "guardrail-windows", "guardrail-spend"
KEPT_SECONDS: dict[str, int | None] = {ORGANIZATIONS: None, WINDOWS: 26 * 3_600, SPEND: 65 * 86_400}
_ID_SPACES = {int(Source.INGEST): b"", int(Source.EDGE): b"edge", int(Source.OTLP): b"otlp"}
_encode = msgspec.msgpack.Encoder().encode
_organization = msgspec.msgpack.Decoder(Organization).decode
_lane = msgspec.msgpack.Decoder(Lane).decode
_key_window = msgspec.msgpack.Decoder(KeyWindow).decode
_spent = msgspec.msgpack.Decoder(Spent).decode


class Table(Protocol):
    """One partition of a durable table (processors.runtime.table.TableView)."""

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes) -> None: ...


class MemoryTable:
    """A table that lasts as long as its process, for what only looks (whatif.py)."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self._rows[key] = value


class GuardState:
    """Over one batch: everything that was looked up is saved by `save`, as it then is."""

    def __init__(self, organizations: Table, windows: Table, spend: Table) -> None:
        self._organizations, self._windows, self._spend = organizations, windows, spend
        self._by_workspace: dict[str, Organization] = {}
        self._lanes: dict[tuple[str, str, str], Lane] = {}
        self._keys: dict[tuple[str, str], KeyWindow] = {}
        self._spents: dict[tuple[str, Guarded], Spent] = {}

    def organization(self, workspace: str) -> Organization:
        found = self._by_workspace.get(workspace)
        if found is None:
            stored = self._organizations.get(workspace.encode())
            found = Organization() if stored is None else _organization(stored)
            self._by_workspace[workspace] = found
        return found

    def lane(self, workspace: str, key_id: str, session_id: str) -> Lane:
        place = workspace, key_id, session_id
        found = self._lanes.get(place)
        if found is None:
            stored = self._windows.get(_key("l", *place))
            found = self._lanes[place] = Lane() if stored is None else _lane(stored)
        return found

    def key_window(self, workspace: str, key_id: str) -> KeyWindow:
        place = workspace, key_id
        found = self._keys.get(place)
        if found is None:
            stored = self._windows.get(_key("k", *place))
            found = self._keys[place] = KeyWindow() if stored is None else _key_window(stored)
        return found

    def spent(self, workspace: str, guarded: Guarded) -> Spent:
        place = workspace, guarded
        found = self._spents.get(place)
        if found is None:
            stored = self._spend.get(_key(workspace, *guarded))
            found = self._spents[place] = Spent() if stored is None else _spent(stored)
        return found

    def is_repeat(self, workspace: str, event_id: str, source: int, now_ms: int) -> bool:
        """Whether this event was counted within 24 hours; from now on it was. Each source has ids of its own: what a
        caller tells under a proxied call's request id is another call, and takes nothing of that one's spend away.
        """
        space = _ID_SPACES.get(source, b"")
        digest = hashlib.blake2b(f"{workspace}\0{event_id}".encode(), digest_size=12, person=space).digest()
        key = b"e" + digest
        stored = self._windows.get(key)
        if stored is not None and now_ms - int.from_bytes(stored, "big") < DEDUPLICATED_MS:
            return True
        self._windows.put(key, now_ms.to_bytes(8, "big"))
        return False

    def save(self) -> None:
        for workspace, organization in self._by_workspace.items():
            self._organizations.put(workspace.encode(), _encode(organization))
        for lane_place, lane in self._lanes.items():
            self._windows.put(_key("l", *lane_place), _encode(lane))
        for key_place, window in self._keys.items():
            self._windows.put(_key("k", *key_place), _encode(window))
        for (workspace, guarded), spent in self._spents.items():
            self._spend.put(_key(workspace, *guarded), _encode(spent))


def in_memory() -> GuardState:
    return GuardState(MemoryTable(), MemoryTable(), MemoryTable())


def _key(*parts: str) -> bytes:
    return "\0".join(parts).encode()
