"""Keys decided: made, rotated with an overlap, revoked, touched; records read again change nothing."""

from typing import Any

import msgspec
import pytest

from domain.security.api_tokens import TokenHasher, mint_token
from schemas.commands.fields import OVERLAP_SECONDS_DEFAULT
from schemas.commands.keys import KEYS_PER_WORKSPACE_MAX, CreateKey, RevokeKey, RotateKey, TouchKeys
from schemas.entities import STREAM_KINDS, Key, KeyKind
from schemas.records import Entity
from tests.support.commands_log import MASTER_KEY, START_MS, WORKSPACE, CommandsLog, a_workspace, outcome

SERVER = CreateKey(name="server", environment="live", key_kind=KeyKind.SECRET)
LIMITED = CreateKey(
    name="page",
    environment="live",
    key_kind=KeyKind.PUBLISHABLE,
    streams=["web"],
    scopes=["events:write"],
    allowed_ips=["203.0.113.0/24"],
    origins=["https://shop.example.com"],
    expires_ms=START_MS + 10_000_000_000,
)


def limited(kind: KeyKind) -> CreateKey:
    """In all that can be limited of the kind."""
    streams = LIMITED.streams if kind in STREAM_KINDS else []
    return msgspec.structs.replace(LIMITED, key_kind=kind, streams=streams)


def made(log: CommandsLog, payload: CreateKey = SERVER, **how: Any) -> Key:
    verdict = log.ask(payload, **how)
    assert outcome(verdict) == 201 and verdict is not None
    return msgspec.json.decode(verdict.body, type=Key)


def keys_of(log: CommandsLog) -> dict[str, Key]:
    return {state.id: state for state in log.entities() if isinstance(state, Key)}


@pytest.mark.requirement("A-008")
@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_key_is_what_was_asked_for(kind: KeyKind) -> None:
    log = a_workspace()
    asked = limited(kind)
    key = made(log, asked)
    assert all(getattr(key, field) == getattr(asked, field) for field in CreateKey.__struct_fields__)
    assert (key.workspace, key.created_ms, key.revoked_ms, key.rotated_to) == (WORKSPACE, START_MS, None, "")
    assert key.token_hash == TokenHasher(MASTER_KEY).hash(mint_token(MASTER_KEY, kind, "live", key.id))


@pytest.mark.parametrize("kind", sorted(set(KeyKind) - STREAM_KINDS))
def test_a_limit_that_would_mean_nothing_is_refused(kind: KeyKind) -> None:
    """Their surfaces have no streams to choose from."""
    log = a_workspace()
    assert outcome(log.ask(msgspec.structs.replace(LIMITED, key_kind=kind))) == "invalid_request"


def test_the_same_request_makes_the_same_key() -> None:
    """So its repeat shows the same secret, which is derived from the key's id."""
    log = a_workspace()
    assert made(log, key="once") == made(log, key="once")
    assert made(log).id != made(log).id


def test_a_key_that_would_have_expired_is_not_made() -> None:
    log = a_workspace()
    assert outcome(log.ask(msgspec.structs.replace(SERVER, expires_ms=START_MS))) == "invalid_request"
    assert outcome(log.ask(msgspec.structs.replace(SERVER, expires_ms=START_MS + 1))) == 201


@pytest.mark.requirement("A-011")
def test_a_rotated_key_holds_for_its_overlap_beside_the_new_one() -> None:
    log = a_workspace()
    before = made(log, LIMITED)
    log.now_ms += 1_000
    verdict = log.ask(RotateKey(id=before.id, overlap_seconds=60))
    assert outcome(verdict) == 201 and verdict is not None
    after = msgspec.json.decode(verdict.body, type=Key)
    assert after.id != before.id and after.token_hash != before.token_hash
    assert all(getattr(after, field) == getattr(before, field) for field in CreateKey.__struct_fields__)
    old = keys_of(log)[before.id]
    assert (old.rotated_to, old.overlap_until_ms) == (after.id, log.now_ms + 60_000)
    assert old.holds(log.now_ms + 59_999) and not old.holds(log.now_ms + 60_000)
    assert outcome(log.ask(RotateKey(id=before.id))) == "key_not_active"
    assert outcome(log.ask(RotateKey(id=after.id, overlap_seconds=0))) == 201
    assert not keys_of(log)[after.id].holds(log.now_ms)
    assert OVERLAP_SECONDS_DEFAULT == 86_400


@pytest.mark.requirement("A-013")
def test_a_revoked_key_stays_revoked() -> None:
    log = a_workspace()
    key = made(log)
    log.now_ms += 5
    assert outcome(log.ask(RevokeKey(id=key.id))) == 200
    log.now_ms += 5
    assert outcome(log.ask(RevokeKey(id=key.id))) == 200
    assert keys_of(log)[key.id].revoked_ms == START_MS + 5
    assert outcome(log.ask(RotateKey(id=key.id))) == "key_not_active"


@pytest.mark.requirement("A7")
@pytest.mark.parametrize("payload", [RevokeKey, RotateKey])
@pytest.mark.parametrize("how", [{"workspace": "ws_other"}, {"environment": "test"}])
def test_a_key_is_its_workspaces_and_environments_alone(payload: Any, how: dict[str, str]) -> None:
    log = a_workspace()
    key = made(log)
    refused = outcome(log.ask(payload(id=key.id), **how))
    assert refused == ("workspace_not_found" if "workspace" in how else "key_not_found")
    assert keys_of(log) == {key.id: key}
    assert outcome(log.ask(payload(id="key_nowhere"))) == "key_not_found"


def test_a_workspace_has_a_number_of_keys_that_are_not_revoked() -> None:
    log = a_workspace()
    keys = [made(log) for _ in range(KEYS_PER_WORKSPACE_MAX)]
    assert outcome(log.ask(SERVER)) == "key_limit_reached"
    assert outcome(log.ask(RotateKey(id=keys[0].id))) == "key_limit_reached"
    log.ask(RevokeKey(id=keys[0].id))
    assert outcome(log.ask(SERVER)) == 201


def test_every_change_is_audited_and_a_use_is_not() -> None:
    log = a_workspace()
    key = made(log)
    log.ask(RotateKey(id=key.id))
    log.ask(RevokeKey(id=key.id))
    log.send(TouchKeys(used_ms={key.id: START_MS}))
    audits = [(audit.action, audit.resource, audit.outcome) for audit in log.audits.values()]
    assert audits[1:] == [(action, f"key/{key.id}", "done") for action in ("key.create", "key.rotate", "key.revoke")]


# (times told in order, what is kept)
@pytest.mark.parametrize(
    ("told_ms", "kept_ms"),
    [([START_MS - 9], START_MS - 9), ([START_MS - 5, START_MS - 9], START_MS - 5), ([START_MS + 10**12], START_MS)],
)
def test_the_newest_use_is_kept(told_ms: list[int], kept_ms: int) -> None:
    log = a_workspace()
    key = made(log)
    for used_ms in told_ms:
        log.send(TouchKeys(used_ms={key.id: used_ms, "key_nowhere": used_ms}))
    assert keys_of(log) == {key.id: msgspec.structs.replace(key, last_used_ms=kept_ms)}


def test_a_use_told_from_elsewhere_touches_nothing() -> None:
    log = a_workspace()
    key = made(log)
    log.send(TouchKeys(used_ms={key.id: START_MS}), workspace="ws_other")
    assert keys_of(log) == {key.id: key}


def test_records_read_again_bring_nothing_back() -> None:
    """A use that was told before a revocation and is read again after it leaves the key revoked."""
    log = a_workspace()
    key = made(log)
    log.send(TouchKeys(used_ms={key.id: START_MS}))
    log.ask(RevokeKey(id=key.id))
    log.ask(RotateKey(id=made(log).id, overlap_seconds=1))
    before = dict(log.control)
    for offset in range(len(log.log)):
        log.read_again(offset)
        assert log.control == before
        log.read_again(offset, changes_kept=log.changes_before[offset])
        assert log.control == before


def test_only_hashes_of_secrets_are_kept() -> None:
    log = a_workspace()
    for kind in KeyKind:
        key = made(log, limited(kind))
        secret = mint_token(MASTER_KEY, kind, "live", key.id)[-20:].encode()
        assert not any(secret in value for value in (*log.control.values(), *log.table.entries.values()))
        assert all(secret not in Entity.decode(value).state for value in log.control.values())
