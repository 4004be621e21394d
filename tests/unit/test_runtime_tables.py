"""A table's partition without a broker: where recovery starts, what is lost, what is refused, what is on disk."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.main import main
from operations.kafka_clients import MESSAGE_BYTES_MAX
from processors.runtime import table as table_module
from processors.runtime.changelog import LOSS_ACCEPTED, is_lost, start_offset, uuid_bytes
from processors.runtime.errors import TableRefused
from processors.runtime.table import (
    PACKED_BYTES_MAX,
    STAMP_EVERY_MS,
    STAMP_VALUE,
    ChangelogPosition,
    TablePartition,
    TableSpec,
    TableView,
    is_held,
    packed,
    shared_cache,
    unpacked,
)

HOUR_MS = 3_600_000
NOW_MS = 1_779_114_131_482
MINE, ANOTHER = b"1" * 16, b"2" * 16
AGING = TableSpec("seen", "admission-seen-changelog", 26 * 3_600)
LASTING = TableSpec("entities", "control-entities-changelog")
HOLDER = """
import sys
from rocksdict import Options, Rdict
held = Rdict(sys.argv[1], Options(raw_mode=True))
print("open", flush=True)
input()
"""


@pytest.mark.requirement("F22", "F23")
@pytest.mark.parametrize(
    ("spec", "next_offset", "age_hours", "low", "high", "start"),
    [
        (AGING, 10, 1, 0, 10, 10),
        (AGING, 10, 1, 0, 15, 10),
        (AGING, 10, 1, 10, 15, 10),
        (AGING, 10, 25, 12, 15, 12),  # what came in between has aged out
        (LASTING, 10, 1_000, 0, 15, 10),
    ],
)
def test_recovery_goes_on_behind_what_the_database_has(
    spec: TableSpec, next_offset: int, age_hours: int, low: int, high: int, start: int
) -> None:
    stored = ChangelogPosition(next_offset, MINE, NOW_MS - age_hours * HOUR_MS)
    assert start_offset(stored, MINE, low, high, NOW_MS, 3, spec) == start


def test_a_new_database_starts_at_the_first_record_there_is() -> None:
    assert start_offset(None, MINE, 7, 15, NOW_MS, 3, AGING) == 7


@pytest.mark.requirement("F22", "F23", "F24")
@pytest.mark.parametrize(
    ("spec", "stored_id", "next_offset", "low", "high", "says"),
    [
        (AGING, ANOTHER, 10, 0, 10, "created again"),
        (AGING, ANOTHER, 10, 0, 5_000, "created again"),  # grown past the old offset
        (LASTING, ANOTHER, 10, 0, 3, "created again"),
        (AGING, MINE, 10, 0, 9, "confirmed records are gone"),
        (AGING, MINE, 10, 12, 15, "offsets 10 to 11"),  # too young to have aged out
        (LASTING, MINE, 10, 11, 15, "offsets 10 to 10"),
    ],
)
def test_a_changelog_that_does_not_carry_the_database_on_is_refused_with_the_way_out(
    spec: TableSpec, stored_id: bytes, next_offset: int, low: int, high: int, says: str
) -> None:
    stored = ChangelogPosition(next_offset, stored_id, NOW_MS - 3 * HOUR_MS)
    with pytest.raises(TableRefused, match=says) as refused:
        start_offset(stored, MINE, low, high, NOW_MS, 3, spec)
    assert "partition 3" in str(refused.value)
    assert spec.changelog in str(refused.value)
    assert "atlas tables clear" in str(refused.value)


@pytest.mark.requirement("F22")
@pytest.mark.parametrize(
    ("decided_hours_ago", "retention_seconds", "lost"),
    [
        (None, 26 * 3_600, False),  # a new installation
        (1, 26 * 3_600, True),
        (23.9, 26 * 3_600, True),  # a key still lives then
        (26, 26 * 3_600, False),  # all of it has aged out
        (24 * 365, None, True),
        (None, None, False),
    ],
)
def test_an_empty_table_is_lost_where_its_group_decided_records_that_still_count(
    decided_hours_ago: float | None, retention_seconds: int | None, lost: bool
) -> None:
    decided_ms = None if decided_hours_ago is None else NOW_MS - round(decided_hours_ago * HOUR_MS)
    assert is_lost(decided_ms, retention_seconds, NOW_MS) is lost


Changes = st.dictionaries(st.binary(max_size=40), st.none() | st.binary(max_size=60), max_size=50)


@given(Changes)
def test_what_is_packed_comes_out_again_in_order(changes: dict[bytes, bytes | None]) -> None:
    out = [change for _key, value in packed(changes) for change in unpacked(value)]
    assert out == list(changes.items())


def test_packed_records_stay_below_what_a_broker_takes() -> None:
    changes: dict[bytes, bytes | None] = {b"%05d" % number: b"v" * 1_000 for number in range(2_000)}
    records = [value for _key, value in packed(changes)]
    assert len(records) > 1
    assert max(map(len, records)) < 2 * PACKED_BYTES_MAX < MESSAGE_BYTES_MAX
    assert dict(change for value in records for change in unpacked(value)) == changes


def test_a_topics_id_is_read_as_kafka_writes_it() -> None:
    assert uuid_bytes("AAAAAAAAAAAAAAAAAAAAAA") == bytes(16)


class Sent:
    """Takes what a view publishes; `changelog_end` as the broker would confirm it."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None]] = []
        self.changelog_end: dict[str, int] = {}

    def produce(self, topic: str, value: bytes | None, *, key: bytes | None = None, **_options: object) -> None:
        self.records.append((key, value))
        self.changelog_end[topic] = len(self.records)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., TablePartition]:
    def make(spec: TableSpec = LASTING) -> TablePartition:
        return TablePartition(spec, tmp_path / "tables" / "control" / spec.name / "0", shared_cache())

    return make


@pytest.mark.requirement("F22")
@pytest.mark.parametrize("spec", [AGING, LASTING])
def test_batches_that_change_nothing_leave_a_stamp_once_an_hour(
    spec: TableSpec, opened: Callable[..., TablePartition]
) -> None:
    partition, sent = opened(spec), Sent()
    for _ in range(3):
        view = TableView(partition, MINE)
        view.publish(sent, 0)  # type: ignore[arg-type]
        view.apply(sent)  # type: ignore[arg-type]
    assert [value for _key, value in sent.records] == [STAMP_VALUE]
    assert (stored := partition.position()) is not None
    assert stored.next_offset == 1, "a stamp counts as read"
    partition.published_ms -= STAMP_EVERY_MS
    TableView(partition, MINE).publish(sent, 0)  # type: ignore[arg-type]
    assert len(sent.records) == 2
    assert list(partition.scan(b"")) == []
    partition.close()


@pytest.mark.requirement("F15", "F21")
@pytest.mark.parametrize("spec", [AGING, LASTING])
def test_however_often_it_was_opened_a_compaction_takes_nothing_that_lives(spec: TableSpec, tmp_path: Path) -> None:
    """Several of one process, as a worker has them. The values end as if they had been written in 1970."""
    lives, written = 6, {}
    for life in range(lives):
        changes = {b"%d-%d" % (life, number): b"value" + bytes(4) for number in range(50)}
        written.update(changes)
        for name in ("one", "two", "three"):
            partition = TablePartition(spec, tmp_path / name, shared_cache())
            partition.write(changes, life + 1, MINE)
            partition.close()
    for name in ("one", "two", "three"):
        partition = TablePartition(spec, tmp_path / name, shared_cache())
        partition._db.compact_range(None, None)
        assert dict(partition.scan(b"")) == written
        assert (stored := partition.position()) is not None
        assert stored.next_offset == lives
        partition.close()


def test_a_view_shows_its_own_changes_over_what_is_written(opened: Callable[..., TablePartition]) -> None:
    partition = opened()
    partition.write({b"a1": b"old", b"a2": b"old", b"b": b"old"}, 5, MINE)
    view = TableView(partition, MINE)
    view.put(b"a1", b"new")
    view.delete(b"a2")
    view.put(b"a3", b"new")
    assert list(view.scan(b"a")) == [(b"a1", b"new"), (b"a3", b"new")]
    assert (view.get(b"a2"), view.get(b"b")) == (None, b"old")
    assert list(partition.scan(b"a")) == [(b"a1", b"old"), (b"a2", b"old")], "nothing is written before it is applied"
    partition.close()


@pytest.mark.requirement("F26")
def test_a_dying_twin_is_waited_for(opened: Callable[..., TablePartition]) -> None:
    twin = opened()
    twin.write({b"k": b"v"}, 1, MINE)
    leaving = threading.Timer(0.6, twin.close)
    leaving.start()
    partition = opened()
    assert not leaving.is_alive() or leaving.finished.is_set(), "it was not opened while the twin had it"
    assert partition.get(b"k") == b"v"
    partition.close()


@pytest.mark.requirement("F26")
def test_a_twin_that_stays_is_said_and_nothing_is_half_open(
    opened: Callable[..., TablePartition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "LOCK_WAIT_SECONDS", 0.3)
    twin = opened()
    with pytest.raises(TableRefused, match=r"another process has held .*entities/0.* running twice"):
        opened()
    twin.write({b"k": b"v"}, 1, MINE)
    assert twin.get(b"k") == b"v"
    twin.close()


@pytest.mark.requirement("F26", "F27")
@pytest.mark.parametrize(
    ("error", "held"),
    [
        ("IO error: While lock file: /d/LOCK: Resource temporarily unavailable", True),
        (
            "IO error: lock hold by current process, acquire time 1: /d/LOCK: No locks available",
            True,
        ),
        ("Corruption: block checksum mismatch: stored = 1, computed = 2 in /d/000009.sst offset 0 size 12", False),
    ],
)
def test_damage_is_not_taken_for_a_twin(error: str, held: bool) -> None:
    assert is_held(error) is held


def written_out(partition: TablePartition) -> Path:
    """Its entries in a file of their own; returns the file, the database is closed."""
    partition.write({b"%04d" % number: b"v" * 100 for number in range(2_000)}, 2_000, MINE)
    partition._db.flush()
    partition.close()
    return max(partition.directory.glob("*.sst"), key=lambda path: path.stat().st_size)


@pytest.mark.requirement("F27")
def test_a_damaged_file_is_named_and_one_command_has_it_rebuilt(
    opened: Callable[..., TablePartition], tmp_path: Path
) -> None:
    file = written_out(opened())
    content = bytearray(file.read_bytes())
    content[-53:] = b"\xff" * 53  # the footer, which is read as it opens
    file.write_bytes(content)
    with pytest.raises(TableRefused, match=file.name) as refused:
        opened()
    assert "atlas tables clear control" in str(refused.value)
    cleared = CliRunner().invoke(main, ["tables", "clear", "control"], env={"ATLAS_HOME": str(tmp_path)})
    assert cleared.exit_code == 0, cleared.output
    partition = opened()
    assert partition.position() is None
    partition.close()


@pytest.mark.requirement("F27")
def test_entries_in_a_damaged_block_are_an_error_and_not_fewer_entries(opened: Callable[..., TablePartition]) -> None:
    file = written_out(opened())
    content = bytearray(file.read_bytes())
    content[200:260] = bytes(60)
    file.write_bytes(content)
    partition = opened()
    with pytest.raises(Exception, match=file.name):
        list(partition.scan(b""))
    with pytest.raises(Exception, match=file.name):
        partition.get(b"0000")
    partition.close()


def clear(home: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["tables", "clear", "control", *options], env={"ATLAS_HOME": str(home)})
    return result.exit_code, result.output


def test_tables_in_use_are_not_cleared(opened: Callable[..., TablePartition], tmp_path: Path) -> None:
    opened().close()
    directory = tmp_path / "tables" / "control" / "entities" / "0"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None and worker.stdin is not None
        assert worker.stdout.readline() == "open\n"
        code, said = clear(tmp_path)
        worker.communicate("\n")
    assert (code, "stop it first" in said) == (1, True)
    assert directory.is_dir()
    assert clear(tmp_path)[0] == 0
    assert not directory.exists()


def test_accepting_a_loss_is_written_down_for_the_next_start(
    opened: Callable[..., TablePartition], tmp_path: Path
) -> None:
    opened().close()
    assert clear(tmp_path, "--accept-loss")[0] == 0
    assert [path.name for path in (tmp_path / "tables" / "control" / "entities").iterdir()] == [LOSS_ACCEPTED]


def test_where_there_is_nothing_it_says_so(tmp_path: Path) -> None:
    assert "nothing in" in clear(tmp_path)[1]
