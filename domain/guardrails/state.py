"""The guardrails' tables: which key holds what. Entries are read when needed, kept for a batch and saved once.

| table | key (parts joined by NUL) | value |
|---|---|---|
| guardrails (for good) | workspace | Organization |
| guardrail-windows (26 h) | `l`, workspace, key id, session id | SessionWindow |
| | `k`, workspace, key id | KeyWindow |
| | `e`, 12 bytes of a hash over workspace, source and event id | when it was counted (8 bytes) |
| guardrail-spend (65 days) | workspace, scope, id | Spent: of what a cap counts besides the organization |

Entries of the last two tables expire by themselves. Whether an entry still counts is decided by the log's time, never
by whether it is still there.
"""

import msgspec

from domain.guardrails.values import KeyWindow, Organization, SessionWindow, Spent
from domain.idempotency import KEY_KEPT_SECONDS
from domain.idempotency.model_calls import counted_key, still_counts
from domain.tables import KeyValueTable, MemoryTable
from schemas.guardrail_policy import Guarded

ORGANIZATIONS, WINDOWS, SPEND = "guardrails", "guardrail-windows", "guardrail-spend"
KEPT_SECONDS: dict[str, int | None] = {ORGANIZATIONS: None, WINDOWS: KEY_KEPT_SECONDS, SPEND: 65 * 86_400}
_encode = msgspec.msgpack.Encoder().encode
_organization = msgspec.msgpack.Decoder(Organization).decode
_session_window = msgspec.msgpack.Decoder(SessionWindow).decode
_key_window = msgspec.msgpack.Decoder(KeyWindow).decode
_spent = msgspec.msgpack.Decoder(Spent).decode


class GuardState:
    """Over one batch: everything that was looked up is saved by `save`, as it then is."""

    def __init__(self, organizations: KeyValueTable, windows: KeyValueTable, spend: KeyValueTable) -> None:
        self._organizations, self._windows, self._spend = organizations, windows, spend
        self._by_workspace: dict[str, Organization] = {}
        self._sessions: dict[tuple[str, str, str], SessionWindow] = {}
        self._keys: dict[tuple[str, str], KeyWindow] = {}
        self._spents: dict[tuple[str, Guarded], Spent] = {}

    def organization(self, workspace: str) -> Organization:
        found = self._by_workspace.get(workspace)
        if found is None:
            stored = self._organizations.get(workspace.encode())
            found = Organization() if stored is None else _organization(stored)
            self._by_workspace[workspace] = found
        return found

    def session_window(self, workspace: str, key_id: str, session_id: str) -> SessionWindow:
        key = workspace, key_id, session_id
        found = self._sessions.get(key)
        if found is None:
            stored = self._windows.get(_key("l", *key))
            found = self._sessions[key] = SessionWindow() if stored is None else _session_window(stored)
        return found

    def key_window(self, workspace: str, key_id: str) -> KeyWindow:
        key = workspace, key_id
        found = self._keys.get(key)
        if found is None:
            stored = self._windows.get(_key("k", *key))
            found = self._keys[key] = KeyWindow() if stored is None else _key_window(stored)
        return found

    def spent(self, workspace: str, guarded: Guarded) -> Spent:
        key = workspace, guarded
        found = self._spents.get(key)
        if found is None:
            stored = self._spend.get(_key(workspace, *guarded))
            found = self._spents[key] = Spent() if stored is None else _spent(stored)
        return found

    def is_repeat(self, workspace: str, event_id: str, source: int, now_ms: int) -> bool:
        """Whether this call was counted before (domain/idempotency/model_calls.py). Mutable: from now on it was."""
        key = b"e" + counted_key(workspace, event_id, source)
        stored = self._windows.get(key)
        if stored is not None and still_counts(int.from_bytes(stored, "big"), now_ms):
            return True
        self._windows.put(key, now_ms.to_bytes(8, "big"))
        return False

    def save(self) -> None:
        for workspace, organization in self._by_workspace.items():
            self._organizations.put(workspace.encode(), _encode(organization))
        for session_key, session in self._sessions.items():
            self._windows.put(_key("l", *session_key), _encode(session))
        for window_key, window in self._keys.items():
            self._windows.put(_key("k", *window_key), _encode(window))
        for (workspace, guarded), spent in self._spents.items():
            self._spend.put(_key(workspace, *guarded), _encode(spent))


def in_memory() -> GuardState:
    return GuardState(MemoryTable(), MemoryTable(), MemoryTable())


def _key(*parts: str) -> bytes:
    return "\0".join(parts).encode()
