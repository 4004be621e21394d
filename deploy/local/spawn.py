"""Starts one child process: own process group, own log file, ended with its parent (lifeline.py); and ends it.

Must be called from a thread that lives as long as the child may (the main thread): Linux ties the lifeline to it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LIFELINE = Path(__file__).with_name("lifeline.py")
LOG_TAIL_BYTES = 16 * 1024


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    when_parent_dies: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """The child's output goes to `log` (appended); nothing is read from standard input.

    A group of its own, so that a terminal's Ctrl-C reaches only the supervisor, which stops its children in order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    lifeline = [sys.executable, "-I", "-S", str(LIFELINE), str(os.getpid()), str(int(when_parent_dies))]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*lifeline, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Sends the signal to the child and to everything it started. Does nothing where all of them are gone.

    The group's number is the child's process id. After the child was waited for, the kernel may give that number to any
    new process, but not as long as others of the group live. So a process that has the number is not ours.
    """
    if process.returncode is not None and _is_taken(process.pid):
        return
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says "permission" of a group of zombies
        return


def _is_taken(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def end(process: subprocess.Popen[bytes], patience_seconds: float) -> int:
    """SIGTERM, then after `patience_seconds` SIGKILL; returns the exit code once the child is gone."""
    if process.poll() is None:
        signal_group(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
    return end_now(process)


def end_now(process: subprocess.Popen[bytes]) -> int:
    """SIGKILL to the whole group, so that nothing a child started outlives it."""
    signal_group(process, signal.SIGKILL)
    return process.wait()


def last_lines(log: Path, count: int, since_byte: int = 0) -> list[str]:
    """The end of a log, for people, of what was written after `since_byte`; bytes that are not UTF-8 are replaced."""
    if not log.exists():
        return []
    size = log.stat().st_size
    written_after = since_byte if since_byte <= size else 0  # else it was emptied in between
    with log.open("rb") as file:
        file.seek(max(written_after, size - LOG_TAIL_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()[-count:]


def wait_until(condition: Callable[[], bool], timeout_seconds: float, interval_seconds: float = 0.05) -> bool:
    """True as soon as the condition holds, False when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval_seconds)
    return True
