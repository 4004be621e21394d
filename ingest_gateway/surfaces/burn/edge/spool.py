"""A bounded spool on disk: records that can't be appended to the log now are kept in segments and taken out in order.

Each process has a directory of its own under one root, held by a lock that ends with the process; a directory whose
owner is gone is adopted by the next process that finds it. An entry is its length and CRC-32 (both 32 bits, little
endian), then its bytes, written by one `write`: killed at any moment, a process leaves whole entries and at most one
torn at the end, which the reader drops and counts. Written entries survive the process at once and the machine after
`sync`.

When the segments hold `bytes_max`, new entries are refused (the caller counts them). The oldest entries are sent first.
Only the names and sizes of segments are in memory. Used from one thread, `sync` from any.
"""

import fcntl
import os
import secrets
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

SEGMENT_BYTES = 4 * 1024 * 1024
ENTRY_BYTES_MAX = 4 * 1024 * 1024
LOCK = "lock"
_HEAD = struct.Struct("<II")


class Segment:
    """One file. `sent_bytes`: the offset up to which entries were taken out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = path.stat().st_size
        self.sent_bytes = 0

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Each entry not yet taken out, with the offset behind it; ends at the first that is torn."""
        with self.path.open("rb") as file:
            end = file.seek(self.sent_bytes)
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                length, checksum = _HEAD.unpack(head)
                entry = file.read(length) if length <= ENTRY_BYTES_MAX else b""
                if len(entry) != length or zlib.crc32(entry) != checksum:
                    return
                end += _HEAD.size + length
                yield end, entry

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class Spool:
    """One directory, locked. `create` makes a new one; `adopt` takes over one whose owner is gone."""

    def __init__(self, directory: Path, lock: int, bytes_max: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self._lock = lock
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._open: int | None = None
        self._segments = [Segment(path) for path in sorted(directory.glob("*.seg"))]
        self._next = int(self._segments[-1].path.stem) + 1 if self._segments else 0

    @classmethod
    def create(cls, root: Path, bytes_max: int, segment_bytes: int = SEGMENT_BYTES) -> Self:
        """Raises OSError."""
        directory = root / secrets.token_hex(8)
        unlocked = root / f".{directory.name}"  # under a name that nobody adopts
        unlocked.mkdir(parents=True)
        lock = _locked(unlocked)
        assert lock is not None, "nobody else knows of it"
        unlocked.rename(directory)
        return cls(directory, lock, bytes_max, segment_bytes)

    @classmethod
    def adopt(cls, root: Path, bytes_max: int) -> list[Self]:
        """The directories under `root` that no process owns, oldest first. Raises OSError."""
        found = []
        for directory in sorted(filter(Path.is_dir, root.glob("[!.]*")), key=lambda path: path.stat().st_mtime):
            lock = _locked(directory)
            if lock is not None:
                found.append(cls(directory, lock, bytes_max))
        return found

    @property
    def size_bytes(self) -> int:
        return sum(segment.size_bytes - segment.sent_bytes for segment in self._segments)

    @property
    def empty(self) -> bool:
        return not self._segments

    def append(self, entry: bytes) -> bool:
        """False if the spool is full. Raises OSError; then nothing of the entry was stored."""
        record = _HEAD.pack(len(entry), zlib.crc32(entry)) + entry
        if len(entry) > ENTRY_BYTES_MAX or self.size_bytes + len(record) > self._bytes_max:
            return False
        if self._open is None or self._segments[-1].size_bytes >= self._segment_bytes:
            self._begin_segment()
        assert self._open is not None
        if os.write(self._open, record) != len(record):
            self._end_segment()  # a torn entry is always the last of its segment
            raise OSError("the disk took a part of an entry only")
        self._segments[-1].size_bytes += len(record)
        return True

    def oldest(self) -> Segment | None:
        """The segment to take out from; nothing is written to it any more. None: the spool is empty."""
        if not self._segments:
            return None
        if len(self._segments) == 1:
            self._end_segment()
        return self._segments[0]

    def done(self, segment: Segment) -> None:
        """All of it was taken out."""
        assert segment is self._segments[0]
        segment.remove()
        del self._segments[0]

    def written_file(self) -> int | None:
        """A new file descriptor of the segment being written, for `sync`; None if there is none."""
        return None if self._open is None else os.dup(self._open)

    def close(self) -> None:
        """Remaining entries stay for the next process; an empty directory is removed."""
        self._end_segment()
        if self.empty:
            shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock)

    def _begin_segment(self) -> None:
        self._end_segment()
        path = self.directory / f"{self._next:08d}.seg"
        self._open = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._next += 1
        self._segments.append(Segment(path))

    def _end_segment(self) -> None:
        if self._open is not None:
            os.close(self._open)
            self._open = None


def sync(written_file: int) -> None:
    """After this, what was written survives a crash of the machine. Closes the descriptor; for any thread. Raises
    OSError.
    """
    try:
        os.fdatasync(written_file)
    finally:
        os.close(written_file)


def _locked(directory: Path) -> int | None:
    """The lock's file descriptor; None while another process (or this one) holds it, or where it was just removed."""
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
