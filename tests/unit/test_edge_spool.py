"""The spool on disk: in order, bounded, whole after any end of its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingest_gateway.surfaces.burn.edge.spool import Spool
from tests.support.worker import ROOT

MEBIBYTE = 1024 * 1024


def drained(spool: Spool) -> list[bytes]:
    entries = []
    while (segment := spool.oldest()) is not None:
        entries += [entry for _end, entry in segment.entries()]
        spool.done(segment)
    return entries


def test_out_as_it_went_in(tmp_path: Path) -> None:
    """Over several segments, and what comes while it is taken out."""
    spool = Spool.create(tmp_path, MEBIBYTE, segment_bytes=100)
    entries = [f"entry {number}".encode() for number in range(50)]
    assert all(spool.append(entry) for entry in entries[:40])
    assert len(list(spool.directory.glob("*.seg"))) > 3
    first = spool.oldest()
    assert first is not None
    taken = [entry for _end, entry in first.entries()]
    assert all(spool.append(entry) for entry in entries[40:])
    spool.done(first)
    assert taken + drained(spool) == entries
    assert spool.empty and spool.size_bytes == 0
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_segment_taken_out_in_part_goes_on_there(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, MEBIBYTE)
    for entry in (b"a", b"b", b"c"):
        spool.append(entry)
    segment = spool.oldest()
    assert segment is not None
    segment.sent_bytes = next(segment.entries())[0]
    assert [entry for _end, entry in segment.entries()] == [b"b", b"c"]
    spool.close()


def test_bounded(tmp_path: Path) -> None:
    """What came first stays; there is room again when it has gone out."""
    spool = Spool.create(tmp_path, 1_000, segment_bytes=300)
    kept = [number for number in range(100) if spool.append(b"x" * 92)]  # 100 bytes with its head
    assert kept == list(range(10))
    assert sum(path.stat().st_size for path in spool.directory.glob("*.seg")) == 1_000
    segment = spool.oldest()
    assert segment is not None
    spool.done(segment)
    assert spool.append(b"x" * 92)
    spool.close()


@pytest.mark.parametrize("lost_bytes", [1, 5, 9, 12])
def test_a_torn_end_costs_the_torn_entry_alone(tmp_path: Path, lost_bytes: int) -> None:
    spool = Spool.create(tmp_path, MEBIBYTE)
    for entry in (b"first", b"second"):
        spool.append(entry)
    spool.close()
    [path] = tmp_path.glob("*/*.seg")
    os.truncate(path, path.stat().st_size - lost_bytes)
    [adopted] = Spool.adopt(tmp_path, MEBIBYTE)
    assert drained(adopted) == [b"first"]
    adopted.close()


def test_a_damaged_entry_is_not_taken_for_one(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, MEBIBYTE)
    for entry in (b"first", b"second"):
        spool.append(entry)
    [path] = tmp_path.glob("*/*.seg")
    path.write_bytes(path.read_bytes().replace(b"second", b"secone"))
    assert drained(spool) == [b"first"]
    spool.close()


def test_nobody_adopts_what_is_in_use(tmp_path: Path) -> None:
    owner = Spool.create(tmp_path, MEBIBYTE)
    owner.append(b"mine")
    assert Spool.adopt(tmp_path, MEBIBYTE) == []
    owner.close()
    [heir] = Spool.adopt(tmp_path, MEBIBYTE)
    assert drained(heir) == [b"mine"]
    heir.close()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import sys
from pathlib import Path
from ingest_gateway.surfaces.burn.edge.spool import Spool
spool = Spool.create(Path(sys.argv[1]), 1 << 30, segment_bytes=10_000)
number = 0
while True:
    spool.append(b"entry %09d" % number)
    number += 1
    if number == 1_000:
        print("running", flush=True)
"""


@pytest.mark.requirement("B-041")
def test_killed_at_any_moment_it_keeps_all_that_it_took(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGKILL)
    [heir] = Spool.adopt(tmp_path, 1 << 30)
    entries = drained(heir)
    assert len(entries) >= 1_000
    assert entries == [b"entry %09d" % number for number in range(len(entries))]
    heir.close()
