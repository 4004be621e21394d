"""A table's partition on a real RocksDB, held equal to a dict: what was committed, what one batch changes on top. The
table in memory (domain/tables.py) is held to the same.

`Out` stands for the outbox: it takes the changelog's records and says where they ended, as the broker would.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.tables import MemoryTable, ReadableTable
from processors.runtime.table import (
    PACKED_BYTES_MAX,
    TablePartition,
    TableSpec,
    TableView,
    packed,
    shared_cache,
    unpacked,
)
from tests.support.fake_runtime import ConfirmedLog, MemoryOutputs

CACHE = shared_cache()
TOPIC_ID = b"0123456789abcdef"
STAMP = b"\x00stamp"  # of a batch that changed nothing
SPECS = {
    "kept": TableSpec("t", "g-t-changelog"),
    "aging": TableSpec("t", "g-t-changelog", retention_seconds=3_600),
}
KEYS = st.binary(max_size=3) | st.sampled_from([b"a", b"aa", b"ab", b"b", b"\xff", b"\xff\xff", b"meta", b""])
STEPS = st.lists(
    st.tuples(st.just("put"), KEYS, st.binary(max_size=8))
    | st.tuples(st.sampled_from(["delete", "ask ahead"]), KEYS, st.just(b""))
    | st.tuples(st.sampled_from(["commit", "drop", "reopen"]), st.just(b""), st.just(b"")),
    max_size=25,
)


PREFIXES = (b"", b"a", b"ab", b"\xff", b"meta")


def rows(table: dict[bytes, bytes], prefix: bytes, since: bytes = b"") -> list[tuple[bytes, bytes]]:
    return sorted((key, value) for key, value in table.items() if key.startswith(prefix) and key >= since)


class Out(MemoryOutputs):
    """The changelog in memory. `replayed` is what recovery would make of it."""

    def __init__(self, spec: TableSpec, start: int, replayed: dict[bytes, bytes]) -> None:
        super().__init__(ConfirmedLog())
        self._spec = spec
        self._next = start
        self._replayed = replayed

    def produce(self, topic: str, value: bytes | None, *, key: bytes | None = None, **options: Any) -> None:
        assert (topic, options) == (self._spec.changelog, {"partition": 3, "is_changelog": True})
        assert key is not None
        changes = unpacked(value or b"") if self._spec.is_packed or key == STAMP else [(key, value)]
        for changed, content in changes:
            if content is None:
                self._replayed.pop(changed, None)
            else:
                self._replayed[changed] = content
        self._next += 1
        self.changelog_end[topic] = self._next


class Model:
    """The table beside the dict that it must equal."""

    def __init__(self, spec: TableSpec, directory: Path) -> None:
        self._spec = spec
        self._directory = directory
        self.table = TablePartition(spec, directory, CACHE)
        self.committed: dict[bytes, bytes] = {}
        self.replayed: dict[bytes, bytes] = {}
        self.next_offset = 0
        self.begin()

    def begin(self) -> None:
        self.view = TableView(self.table, TOPIC_ID)
        self.seen = dict(self.committed)
        self.memory = MemoryTable()
        for key, value in self.seen.items():
            self.memory.put(key, value)

    def commit(self) -> None:
        out = Out(self._spec, self.next_offset, self.replayed)
        self.view.publish(out, 3)
        assert self.everything(self.table.scan(b"")) == self.committed, "nothing is written before it is confirmed"
        self.view.apply(out)
        self.next_offset = out.changelog_end.get(self._spec.changelog, self.next_offset)
        self.committed = dict(self.seen)
        self.begin()

    def reopen(self) -> None:
        self.table.close()
        self.table = TablePartition(self._spec, self._directory, CACHE)
        self.begin()

    def step(self, what: str, key: bytes, value: bytes) -> None:
        if what == "put":
            self.view.put(key, value)
            self.memory.put(key, value)
            self.seen[key] = value
        elif what == "delete":
            self.view.delete(key)
            self.memory.delete(key)
            self.seen.pop(key, None)
        elif what == "ask ahead":
            self.view.prefetch([key, b"a", b"never written", key])
            assert self.view.get(key) == self.seen.get(key)
        else:
            {"commit": self.commit, "drop": self.begin, "reopen": self.reopen}[what]()

    def check(self) -> None:
        tables: tuple[ReadableTable, ...] = self.view, self.memory
        for table in tables:
            assert all(table.get(key) == value for key, value in self.seen.items())
            assert table.get(b"never written") is None
            assert all(list(table.scan(prefix)) == rows(self.seen, prefix) for prefix in PREFIXES)
        for prefix, since in itertools.product(PREFIXES, (b"a", b"aa", b"ab\x01", b"\xff")):
            assert list(self.table.scan(prefix, since)) == rows(self.committed, prefix, since)
            assert list(self.memory.scan(prefix, since)) == rows(self.seen, prefix, since)
        assert self.everything(self.table.scan(b"")) == self.committed == self.replayed
        position = self.table.position()
        if self.next_offset:
            assert position is not None and (position.next_offset, position.topic_id) == (self.next_offset, TOPIC_ID)
        else:
            assert position is None

    @staticmethod
    def everything(rows: Iterator[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        return dict(rows)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_table_is_a_dict_that_commits_whole_batches(
    spec: TableSpec, steps: list[tuple[str, bytes, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = Model(spec, tmp_path_factory.mktemp("table"))
    try:
        for step in steps:
            model.step(*step)
            model.check()
    finally:
        model.table.destroy()


def test_destroyed_nothing_is_left(tmp_path: Path) -> None:
    directory = tmp_path / "seen" / "3"
    table = TablePartition(SPECS["kept"], directory, CACHE)
    table.write({b"k": b"v"}, 7, TOPIC_ID)
    table.destroy()
    assert not directory.exists()
    again = TablePartition(SPECS["kept"], directory, CACHE)
    assert (again.position(), again.get(b"k")) == (None, None)
    again.close()


CHANGES = st.dictionaries(st.binary(max_size=6), st.none() | st.binary(max_size=6))


@given(CHANGES)
def test_packed_changes_are_unpacked_as_they_were(changes: dict[bytes, bytes | None]) -> None:
    assert dict(change for _key, value in packed(changes) for change in unpacked(value)) == changes
    assert bool(list(packed(changes))) == bool(changes)


def test_many_changes_are_packed_into_records_that_a_broker_takes() -> None:
    changes: dict[bytes, Any] = {b"%d" % number: bytes(100_000) for number in range(100)}
    records = [value for _key, value in packed(changes)]
    assert len(records) > 10
    assert all(len(value) < 2 * PACKED_BYTES_MAX for value in records)
    assert dict(change for value in records for change in unpacked(value)) == changes
