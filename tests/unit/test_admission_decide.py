"""What becomes of an event: a table of single decisions, and properties over whole histories with crashes."""

import itertools
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.idempotency import KEY_LIFE_MS
from domain.idempotency.events import (
    Admitted,
    Conflicted,
    KeyDecision,
    KeyEntry,
    KeyScope,
    Replayed,
    decide,
)
from schemas.log_records import SourceRecord

HOUR_MS = 3_600_000
RECEIVED_MS = 1_779_114_131_482  # 2026-05-18T14:22:11.482Z
SOURCE = SourceRecord("events.ws_1.live.orders", "topic-1", 3, 100)
ELSEWHERE = SourceRecord("events.ws_1.live.orders", "topic-1", 3, 101)
REMADE = SourceRecord("events.ws_1.live.orders", "topic-2", 3, 100)
SEEN = KeyEntry("evt_1", b"hash-1", RECEIVED_MS, ["wf_1"], SOURCE)
SECOND = KeyEntry("evt_2", b"hash-2", RECEIVED_MS + 30 * HOUR_MS, ["wf_2"], ELSEWHERE, SEEN)


def candidate(
    source: SourceRecord = ELSEWHERE, payload: bytes = b"hash-1", after_ms: int = 0, routes: tuple[str, ...] = ("wf_9",)
) -> KeyEntry:
    return KeyEntry("evt_9", payload, RECEIVED_MS + after_ms, list(routes), source)


def new(one: KeyEntry, before: KeyEntry | None = None) -> Admitted:
    return Admitted(msgspec.structs.replace(one, before=before), is_new=True)


@pytest.mark.requirement("A-029", "A-030", "F33")
@pytest.mark.parametrize(
    ("seen", "one", "decided"),
    [
        pytest.param(None, candidate(), new(candidate()), id="never seen: new"),
        pytest.param(SEEN, candidate(), Replayed(SEEN), id="the same at once: replay"),
        pytest.param(SEEN, candidate(payload=b"other"), Conflicted(SEEN), id="another payload: conflict"),
        pytest.param(SEEN, candidate(after_ms=KEY_LIFE_MS - 1), Replayed(SEEN), id="a millisecond before its end"),
        pytest.param(
            SEEN,
            candidate(after_ms=KEY_LIFE_MS, payload=b"other"),
            new(candidate(after_ms=KEY_LIFE_MS, payload=b"other"), SEEN),
            id="24 hours later: free again, for any payload",
        ),
        pytest.param(SEEN, candidate(after_ms=-HOUR_MS), Replayed(SEEN), id="an earlier time, on another topic"),
        pytest.param(SEEN, candidate(SOURCE), Admitted(SEEN, is_new=False), id="the very record, read again"),
        pytest.param(
            SEEN, candidate(SOURCE, payload=b"?"), Admitted(SEEN, is_new=False), id="whatever else it now seems"
        ),
        pytest.param(
            SEEN, candidate(REMADE), Replayed(SEEN), id="the same place in a topic made anew is another record"
        ),
        pytest.param(
            SECOND, candidate(SOURCE), Admitted(SEEN, is_new=False), id="read again after its key was given away"
        ),
        pytest.param(
            SECOND,
            candidate(REMADE, after_ms=HOUR_MS, payload=b"other"),
            Conflicted(SEEN),
            id="read again: its own day's entry counts",
        ),
        pytest.param(
            SECOND,
            candidate(REMADE, after_ms=25 * HOUR_MS),
            Conflicted(SECOND),
            id="between the two: the newer holds it",
        ),
    ],
)
def test_what_becomes_of_it(seen: KeyEntry | None, one: KeyEntry, decided: KeyDecision) -> None:
    assert decide(seen, one) == decided


def test_an_entry_keeps_one_before_and_not_all() -> None:
    third = candidate(REMADE, after_ms=60 * HOUR_MS)
    decided = decide(SECOND, third)
    assert isinstance(decided, Admitted)
    assert decided.entry.before == msgspec.structs.replace(SECOND, before=None)


def test_an_entry_survives_its_encoding() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(SECOND), type=KeyEntry) == SECOND
    old = msgspec.msgpack.encode(["evt_1", b"hash-1", RECEIVED_MS, ["wf_1"], ["t", "i", 3, 100]])
    assert msgspec.msgpack.decode(old, type=KeyEntry).before is None, "one written before there was a `before`"


class Arrival(NamedTuple):
    key: str
    payload: bytes
    at_ms: int


ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from([b"x", b"y"]),
        st.sampled_from([0, 1, 11, 13, 23, 24, 25]).map(HOUR_MS.__mul__),
    ),
    min_size=1,
    max_size=8,
).map(lambda steps: arrivals(steps))


def arrivals(steps: list[tuple[str, bytes, int]]) -> list[Arrival]:
    """With times that never go back, as on one partition."""
    at_ms, made = RECEIVED_MS, []
    for key, payload, later_ms in steps:
        at_ms += later_ms
        made.append(Arrival(key, payload, at_ms))
    return made


def run(table: dict[str, KeyEntry], records: list[Arrival], first_offset: int) -> list[KeyDecision]:
    """Decides these records over the table, as one batch does."""
    decided = []
    for offset, (key, payload, at_ms) in enumerate(records, first_offset):
        source = SourceRecord("t", "i", 0, offset)
        outcome = decide(table.get(key), KeyEntry(f"evt_{offset}", payload, at_ms, ["wf"], source))
        if isinstance(outcome, Admitted) and outcome.is_new:
            table[key] = outcome.entry
        decided.append(outcome)
    return decided


def admitted(decided: list[KeyDecision]) -> list[KeyEntry | None]:
    """Of each record its entry where it was let in, without the one before, which a re-read may lack."""
    return [msgspec.structs.replace(one.entry, before=None) if isinstance(one, Admitted) else None for one in decided]


@pytest.mark.requirement("F20", "F15")
@given(ARRIVALS, st.integers(0, 7), st.sets(st.sampled_from("ab")))
def test_a_batch_that_is_read_again_lets_in_the_same(records: list[Arrival], committed: int, flushed: set[str]) -> None:
    """A crash after a part of the batch's changelog was written: each key may or may not have its new entry."""
    committed = min(committed, len(records) - 1)
    batch = records[committed:]
    assume(batch[-1].at_ms - batch[0].at_ms < 2 * KEY_LIFE_MS)
    table: dict[str, KeyEntry] = {}
    run(table, records[:committed], 0)
    after = dict(table)
    first_time = run(after, batch, committed)
    crashed = table | {key: after[key] for key in flushed if key in after}
    again = run(crashed, batch, committed)
    assert admitted(again) == admitted(first_time)


@given(ARRIVALS)
def test_of_a_key_one_a_day_is_let_in(records: list[Arrival]) -> None:
    decided = run({}, records, 0)
    for key in "ab":
        mine = [(one, record.at_ms) for one, record in zip(decided, records, strict=True) if record.key == key]
        times = [at_ms for one, at_ms in mine if isinstance(one, Admitted)]
        assert all(later - earlier >= KEY_LIFE_MS for earlier, later in itertools.pairwise(times))
        for one, at_ms in mine:
            if not isinstance(one, Admitted):
                assert 0 <= at_ms - one.entry.received_ms < KEY_LIFE_MS


def test_keys_that_read_alike_stay_apart() -> None:
    scope = KeyScope("ws_1", "live", "events")
    keys = [
        scope.table_key(None, "evt_1"),
        scope.table_key("evt_1", "evt_1"),
        scope.table_key("evt_1", "evt_2"),
        scope.table_key("", "evt_1"),
        KeyScope("ws_1", "test", "events").table_key(None, "evt_1"),
        KeyScope("ws_2", "live", "events").table_key(None, "evt_1"),
        KeyScope("ws_1", "live", "spine").table_key(None, "evt_1"),
    ]
    assert keys[1] == keys[2], "with a key, the id says nothing"
    assert len(set(keys)) == len(keys) - 1
    assert {len(key) for key in keys} == {16}
    assert scope.table_key("evt_1", "evt_1") == keys[1], "asked again, the same"


def test_a_table_key_stays_what_it_was() -> None:
    """Tables of earlier versions are read on: 16 bytes of BLAKE2b over scope, kind and text."""
    scope = KeyScope("ws_1", "live", "events")
    assert scope.table_key("order-1", "evt_1").hex() == "87178db0e87e3ea87f1f91e727597519"
    assert scope.table_key(None, "evt_1").hex() == "83585aab1a2ba8a22c9f4a7573e217ac"
