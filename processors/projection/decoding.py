"""The log's records read and made into rows by processes of their own, one for outcomes and one for all else.

Making rows takes the interpreter's lock as long as writing them does; so a rebuild uses two cores. `python -m
processors.projection.decoding` is such a process: what to read comes by standard input, batches go out by standard
output, each behind its length. It ends with its parent, whose end closes both.
"""

import os
import queue
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from typing import IO, NamedTuple

import msgspec

from processors.projection.log_batches import LogBatch, PartitionOffsets, RebuildFailed, log_batches
from processors.projection.packed import packed, unpacked

AHEAD_BATCHES = 100
LENGTH = struct.Struct("<I")
END_SECONDS = 10.0
SWITCH_SECONDS = 0.001  # what receives and what writes share the interpreter


class Wanted(NamedTuple):
    """`partitions`: topic, partition, where to begin, where to end."""

    bootstrap: str
    partitions: list[tuple[str, int, int, int]]


def decoded(
    bootstrap: str, begun: PartitionOffsets, outcomes: PartitionOffsets, rest: PartitionOffsets
) -> Generator[LogBatch, None, None]:
    """All of both; a batch of outcomes comes before another of its time. Raises RebuildFailed."""
    processes = [Decoder(bootstrap, begun, part) if part else None for part in (outcomes, rest)]
    before_seconds = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        first, second = (iter(()) if process is None else process.batches() for process in processes)
        yield from in_turn(first, second)
    finally:
        sys.setswitchinterval(before_seconds)
        for process in processes:
            if process is not None:
                process.end()


def in_turn(outcomes: Iterator[LogBatch], rest: Iterator[LogBatch]) -> Iterator[LogBatch]:
    """By the log's time: see Transactions."""
    one, other = next(outcomes, None), next(rest, None)
    while one is not None or other is not None:
        if one is not None and (other is None or one.first_ms <= other.last_ms):
            yield one
            one = next(outcomes, None)
        else:
            assert other is not None, "one of them is there"
            yield other
            other = next(rest, None)


class Decoder:
    """One such process. `end` is always to be called."""

    def __init__(self, bootstrap: str, begun: PartitionOffsets, ends: PartitionOffsets) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "processors.projection.decoding"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self._arrived: queue.Queue[LogBatch | None] = queue.Queue(AHEAD_BATCHES)
        wanted = Wanted(bootstrap, [(*tp, begun.get(tp, 0), end) for tp, end in ends.items()])
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(wanted) + b"\n")
        self._process.stdin.flush()
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._receive, args=[self._process.stdout], daemon=True)
        self._thread.start()

    def batches(self) -> Iterator[LogBatch]:
        while (batch := self._arrived.get()) is not None:
            yield batch
        if self._failure is not None:
            raise self._failure
        if self._process.wait(END_SECONDS):
            raise RebuildFailed(f"a process that reads the log ended with {self._process.returncode}; see above")

    def stop_reading(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self._ended.set()
        self.stop_reading()
        self._process.wait()
        while not self._arrived.empty():
            self._arrived.get()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _receive(self, source: IO[bytes]) -> None:
        try:
            while not self._ended.is_set() and (data := _frame(source)) is not None:
                self._arrived.put(unpacked(data))
        except Exception as error:
            self._failure = error
        self._arrived.put(None)


def _frame(source: IO[bytes]) -> bytes | None:
    """None at the end of what comes, and where it is cut short: the exit code then says why."""
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    data = source.read(length)
    return data if len(data) == length else None


def main() -> int:
    source, out = sys.stdin.buffer, sys.stdout.buffer
    wanted = msgspec.json.decode(source.readline(), type=Wanted)
    threading.Thread(target=_end_with_parent, args=[source], daemon=True).start()
    begun = {(topic, partition): begin for topic, partition, begin, _ in wanted.partitions}
    ends = {(topic, partition): end for topic, partition, _, end in wanted.partitions}
    try:
        for batch in log_batches(wanted.bootstrap, begun, ends):
            data = packed(batch)
            out.write(LENGTH.pack(len(data)) + data)
        out.flush()
    except (RebuildFailed, BrokenPipeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _end_with_parent(source: IO[bytes]) -> None:
    source.read()
    os._exit(1)


if __name__ == "__main__":
    code = 1
    try:
        code = main()
    except Exception:
        traceback.print_exc()
    os._exit(code)  # the thread that waits for the parent holds standard input
