"""The rules of keys: made, put in another's place, revoked, and when each was last used. Pure.

A key never comes back and never changes what it allows; a wider or narrower one is another key.
"""

import msgspec

from domain.control.values import Asked, Changes, Done, Effects, Facts, Refused, TokenHash, absent, body_of
from schemas.commands import KEYS_PER_WORKSPACE_MAX, CreateKey, NewKey, RevokeKey, RotateKey, TouchKeys
from schemas.entities import STREAM_KINDS, Key
from schemas.errors import FieldError
from schemas.ids import KEY, derived_id


def create(facts: Facts, asked: Asked, payload: CreateKey, token_hash: TokenHash) -> Done:
    _has_room(facts, asked)
    new = NewKey(**{name: getattr(payload, name) for name in NewKey.__struct_fields__})
    streams_fit(new)
    if new.expires_ms is not None and new.expires_ms <= asked.append_ms:
        raise Refused(400, "invalid_request", "The key would have expired already.")
    key = new_key(asked, new, 0, token_hash)
    return Done(201, Changes(put=(key.to_entity(asked.version),)), f"key/{key.id}", body_of(key))


def rotate(facts: Facts, asked: Asked, payload: RotateKey, token_hash: TokenHash) -> Done:
    """The successor allows what the key allows and expires when it does."""
    before = _key(facts, asked, payload.id)
    if before.rotated_to or not before.holds(asked.append_ms):
        raise Refused(409, "key_not_active", "The key is revoked, expired or has been rotated.")
    _has_room(facts, asked)
    like_it = {name: getattr(before, name) for name in NewKey.__struct_fields__}
    after = new_key(asked, NewKey(**like_it), 0, token_hash)
    until_ms = asked.append_ms + payload.overlap_seconds * 1_000
    old = msgspec.structs.replace(before, rotated_to=after.id, overlap_until_ms=until_ms)
    put = (old.to_entity(asked.version), after.to_entity(asked.version))
    return Done(201, Changes(put=put), f"key/{before.id}", body_of(after))


def revoke(facts: Facts, asked: Asked, payload: RevokeKey) -> Done:
    key = _key(facts, asked, payload.id)
    if key.revoked_ms is None:
        key = msgspec.structs.replace(key, revoked_ms=asked.append_ms)
    return Done(200, Changes(put=(key.to_entity(asked.version),)), f"key/{key.id}", body_of(key))


def touched(facts: Facts, asked: Asked, payload: TouchKeys) -> Effects:
    """The newest time that any gateway told; never ahead of the log's own clock. Keys of others are left alone."""
    put = []
    for key_id, used_ms in payload.used_ms.items():
        key = facts.key(key_id)
        if key is None or key.workspace != asked.command.workspace:
            continue
        last_ms = min(used_ms, asked.append_ms)
        if key.last_used_ms is None or key.last_used_ms <= last_ms:
            put.append(msgspec.structs.replace(key, last_used_ms=last_ms).to_entity(asked.version))
    return Effects(changes=Changes(put=tuple(put)))


def streams_fit(new: NewKey) -> None:
    """Raises Refused (400) where the limit would mean nothing: a kind's surface has no streams to choose from."""
    if new.streams and new.key_kind not in STREAM_KINDS:
        errors = (FieldError("streams", "Only secret and publishable keys can be limited to streams."),)
        raise Refused(400, "invalid_request", "The key can't be limited so: see details.errors.", errors)


def new_key(asked: Asked, new: NewKey, index: int, token_hash: TokenHash) -> Key:
    """`index`: among the keys that the command makes."""
    key_id = derived_id(KEY, asked.append_ms, asked.command.id.encode(), index.to_bytes(2, "big"))
    return Key(
        id=key_id,
        workspace=asked.command.workspace,
        created_ms=asked.append_ms,
        token_hash=token_hash(new.key_kind, new.environment, key_id),
        **msgspec.structs.asdict(new),
    )


def _has_room(facts: Facts, asked: Asked) -> None:
    if facts.keys_counted(asked.command.workspace) >= KEYS_PER_WORKSPACE_MAX:
        message = f"The workspace has {KEYS_PER_WORKSPACE_MAX} keys that are not revoked, which is as many as it may."
        raise Refused(409, "key_limit_reached", message)


def _key(facts: Facts, asked: Asked, key_id: str) -> Key:
    command = asked.command
    key = facts.key(key_id)
    if key is None or (key.workspace, key.environment) != (command.workspace, command.environment):
        raise absent("key_not_found")
    return key
