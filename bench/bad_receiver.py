"""Endpoints that are slow, in a process of their own: `python -m bench.bad_receiver`.

`/slow` answers after 4.9 s, `/drip` sends a byte of its head a second. Prints its port; ends with its parent's pipe.
In the bench's own process they would compete with the clock that they are measured by.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.receiver import Receiver, answer, drip

ROOT = Path(__file__).parents[1]


@contextmanager
def bad_receiver() -> Iterator[str]:
    """The URL of a running one; it is gone after the block."""
    command = [sys.executable, "-m", "bench.bad_receiver"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def serve() -> None:
    with Receiver() as receiver:
        receiver.script("/slow", answer(200, after_seconds=4.9))
        receiver.script("/drip", drip(b"H" * 3_600, 1.0))
        print(receiver.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve()
