"""What records of `control` mean to the KV namespace of edge workers."""

import json
from typing import Any

import pytest

from domain.guardrails.kv_entries import Change, Delete, Put, change_of
from processors.kv_mirror.unmirrored import Unmirrored
from schemas.entities import Key, KeyKind, KillFlag, State, Workspace
from schemas.guardrail_policy import Scope

NOW_MS = 1_779_114_896_789  # 2026-05-18T14:34:56.789Z
WORKSPACE = "ws_4F9KQ2C7Z1"


def mirrored(state: State) -> Change | None:
    entity = state.to_entity()
    return change_of(entity.key, entity.encode(), NOW_MS)


def a_flag(ends_ms: int | None, scope: Scope = Scope.ORG, scope_id: str = "") -> KillFlag:
    told = {"layer": "dumb_loop_detector", "reason": "seen 4 times in 60s", "scope": scope, "scope_id": scope_id}
    return KillFlag(id=WORKSPACE, workspace=WORKSPACE, created_ms=0, expires_ms=ends_ms, **told)


def a_key(kind: KeyKind = KeyKind.ORG, **more: Any) -> Key:
    who = {"id": "key_1", "workspace": WORKSPACE, "environment": "live", "name": "edge", "token_hash": "ab" * 32}
    return Key(created_ms=0, key_kind=kind, **{**who, **more})


@pytest.mark.requirement("B-025", "B-027", "B-030", "B-048")
def test_a_flag_stands_under_its_organization_until_it_expires() -> None:
    change = mirrored(a_flag(NOW_MS + 7_200_000))
    assert isinstance(change, Put)
    assert change.key == "guardrail:org_4F9KQ2C7Z1"
    assert change.expires_seconds == (NOW_MS + 7_200_000) // 1_000 + 1, "rounded up"
    assert json.loads(change.value) == {
        "state": "suspended",
        "layer": "dumb_loop_detector",
        "reason": "seen 4 times in 60s",
        "expires_at": "2026-05-18T16:34:56.789Z",
    }


@pytest.mark.parametrize(
    ("ends_ms", "expires_seconds"),
    [
        (None, None),  # until somebody resumes
        (NOW_MS + 1, NOW_MS // 1_000 + 61),  # KV keeps nothing for less than a minute
        (NOW_MS + 60_000, NOW_MS // 1_000 + 61),
        (NOW_MS + 90_000, NOW_MS // 1_000 + 91),
    ],
)
def test_how_long_kv_keeps_it(ends_ms: int | None, expires_seconds: int | None) -> None:
    change = mirrored(a_flag(ends_ms))
    assert isinstance(change, Put) and change.expires_seconds == expires_seconds
    assert (json.loads(change.value)["expires_at"] is None) is (ends_ms is None)


@pytest.mark.requirement("B-050", "L1")
def test_a_flag_that_is_gone_or_has_expired_is_deleted() -> None:
    gone = Delete("guardrail:org_4F9KQ2C7Z1")
    assert change_of(b"kill_flag/ws_4F9KQ2C7Z1", None, NOW_MS) == gone
    assert mirrored(a_flag(NOW_MS)) == gone
    assert mirrored(a_flag(NOW_MS - 1)) == gone


@pytest.mark.requirement("B-031")
def test_a_flag_on_a_part_stays_with_the_gateways() -> None:
    flag = a_flag(None, Scope.MODEL, "gpt-4")
    assert mirrored(flag) is None
    assert change_of(flag.to_entity().key, None, NOW_MS) is None


@pytest.mark.requirement("B-057")
def test_keys_of_organizations() -> None:
    change = mirrored(a_key())
    assert isinstance(change, Put) and change.key == "key:" + "ab" * 32
    assert json.loads(change.value) == {"org_id": "org_4F9KQ2C7Z1", "key_id": "key_1", "expires_at": None}
    assert mirrored(a_key(revoked_ms=1)) == Delete("key:" + "ab" * 32), "no grace period"
    assert mirrored(a_key(KeyKind.SECRET)) is None
    assert mirrored(a_key(environment="test")) == Delete("key:" + "ab" * 32), "there is one ledger, the live one"


def test_everything_else_is_not_kvs_affair() -> None:
    assert mirrored(Workspace(id=WORKSPACE, workspace=WORKSPACE, created_ms=0, name="w")) is None
    assert change_of(b"stream/stm_1", None, NOW_MS) is None


def test_the_last_word_on_each_key_is_sent_in_the_order_of_these_last_words() -> None:
    unmirrored, other = Unmirrored(end=3), Put("b", b"2")
    for offset, change in enumerate([Put("a", b"1"), other, None, Delete("a")]):
        unmirrored.read(offset, change, at_ms=10 + offset)
    assert (unmirrored.changes(9), unmirrored.next_offset, unmirrored.since_ms) == ([other, Delete("a")], 4, 10)
    assert unmirrored.changes(1) == [other]
    unmirrored.done(Delete("a"))
    assert (unmirrored.changes(9), unmirrored.since_ms) == ([other], 11)
    unmirrored.done(other)
    assert (unmirrored.changes(9), unmirrored.since_ms) == ([], None)


def test_nothing_of_the_past_is_due_before_the_end_as_of_the_beginning() -> None:
    unmirrored = Unmirrored(end=3)
    due = []
    for offset in range(5):
        unmirrored.read(offset, Put("a", b"%d" % offset), at_ms=1)
        due.append(unmirrored.is_due)
    assert due == [False, False, True, True, True]


def test_an_end_that_no_record_shows_counts_as_well() -> None:
    """Compaction took the newest ones; or the end was not known when reading began."""
    for unmirrored in (Unmirrored(end=9), Unmirrored(end=None)):
        unmirrored.read(2, Put("a", b"1"), at_ms=1)
        assert not unmirrored.is_due
        unmirrored.end_reached(9)
        assert unmirrored.is_due and unmirrored.next_offset == 9
