"""The rules of keys: how a key is created, rotated and revoked, and when it was last used.

A revoked key never becomes valid again, and what a key allows never changes: other permissions need another key.
"""

import msgspec

from domain.control.handlers import Handlers, MintingHandler, NoticeHandler, RequestHandler
from domain.control.values import (
    CommandChanges,
    CommandEffects,
    CommandRefused,
    CommandRequest,
    Done,
    Facts,
    TokenHash,
    absent,
    body_of,
)
from schemas.commands.keys import KEYS_PER_WORKSPACE_MAX, CreateKey, NewKey, RevokeKey, RotateKey, TouchKeys
from schemas.entities import STREAM_KINDS, Key
from schemas.errors import FieldError
from schemas.ids import KEY, derived_id


def create(facts: Facts, request: CommandRequest, payload: CreateKey, token_hash: TokenHash) -> Done:
    _has_room(facts, request)
    new = NewKey(**{name: getattr(payload, name) for name in NewKey.__struct_fields__})
    streams_fit(new)
    if new.expires_ms is not None and new.expires_ms <= request.append_ms:
        raise CommandRefused(400, "invalid_request", "The key would have expired already.")
    key = new_key(request, new, 0, token_hash)
    return Done(201, CommandChanges(put=(key.to_entity(request.version),)), f"key/{key.id}", body_of(key))


def rotate(facts: Facts, request: CommandRequest, payload: RotateKey, token_hash: TokenHash) -> Done:
    """The new key allows what the old key allows, and expires at the same time."""
    before = _key(facts, request, payload.id)
    if before.rotated_to or not before.holds(request.append_ms):
        raise CommandRefused(409, "key_not_active", "The key is revoked, expired or has been rotated.")
    _has_room(facts, request)
    like_it = {name: getattr(before, name) for name in NewKey.__struct_fields__}
    after = new_key(request, NewKey(**like_it), 0, token_hash)
    until_ms = request.append_ms + payload.overlap_seconds * 1_000
    old = msgspec.structs.replace(before, rotated_to=after.id, overlap_until_ms=until_ms)
    put = (old.to_entity(request.version), after.to_entity(request.version))
    return Done(201, CommandChanges(put=put), f"key/{before.id}", body_of(after))


def revoke(facts: Facts, request: CommandRequest, payload: RevokeKey) -> Done:
    key = _key(facts, request, payload.id)
    if key.revoked_ms is None:
        key = msgspec.structs.replace(key, revoked_ms=request.append_ms)
    return Done(200, CommandChanges(put=(key.to_entity(request.version),)), f"key/{key.id}", body_of(key))


def touched(facts: Facts, request: CommandRequest, payload: TouchKeys) -> CommandEffects:
    """Stores the newest use that any gateway reported, never later than the log's clock. Ignores keys of other
    workspaces.
    """
    put = []
    for key_id, used_ms in payload.used_ms.items():
        key = facts.key(key_id)
        if key is None or key.workspace != request.command.workspace:
            continue
        last_ms = min(used_ms, request.append_ms)
        if key.last_used_ms is None or key.last_used_ms <= last_ms:
            put.append(msgspec.structs.replace(key, last_used_ms=last_ms).to_entity(request.version))
    return CommandEffects(changes=CommandChanges(put=tuple(put)))


def streams_fit(new: NewKey) -> None:
    """Raises CommandRefused (400) for a limit to streams of a key whose surface has no streams to choose from."""
    if new.streams and new.key_kind not in STREAM_KINDS:
        errors = (FieldError("streams", "Only secret and publishable keys can be limited to streams."),)
        raise CommandRefused(400, "invalid_request", "The key can't be limited so: see details.errors.", errors)


def new_key(request: CommandRequest, new: NewKey, index: int, token_hash: TokenHash) -> Key:
    """`index`: the position of the key among those that the command creates."""
    key_id = derived_id(KEY, request.append_ms, request.command.id.encode(), index.to_bytes(2, "big"))
    return Key(
        id=key_id,
        workspace=request.command.workspace,
        created_ms=request.append_ms,
        token_hash=token_hash(new.key_kind, new.environment, key_id),
        **msgspec.structs.asdict(new),
    )


def _has_room(facts: Facts, request: CommandRequest) -> None:
    if facts.keys_counted(request.command.workspace) >= KEYS_PER_WORKSPACE_MAX:
        message = f"The workspace has {KEYS_PER_WORKSPACE_MAX} keys that are not revoked, which is as many as it may."
        raise CommandRefused(409, "key_limit_reached", message)


def _key(facts: Facts, request: CommandRequest, key_id: str) -> Key:
    command = request.command
    key = facts.key(key_id)
    if key is None or (key.workspace, key.environment) != (command.workspace, command.environment):
        raise absent("key_not_found")
    return key


HANDLERS: Handlers = {
    CreateKey: MintingHandler(create),
    RotateKey: MintingHandler(rotate),
    RevokeKey: RequestHandler(revoke),
    TouchKeys: NoticeHandler(touched),
}
