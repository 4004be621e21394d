"""Children and what they started are ended, and nobody else's process is, whatever number it has."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.local.spawn import end_now, signal_group, spawn, wait_until

SLEEPS = "import time; time.sleep(60)"
STARTS_ANOTHER = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]).pid, flush=True)"
GIVE_UP_SECONDS = 30.0


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = spawn([sys.executable, "-c", SLEEPS], log=tmp_path / "bystander.log")
    yield process
    end_now(process)


def test_what_a_child_started_is_ended_after_the_child_itself_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    child = spawn([sys.executable, "-c", STARTS_ANOTHER], log=log)
    assert child.wait(GIVE_UP_SECONDS) == 0
    other = int(log.read_text())
    assert Path(f"/proc/{other}").exists() or sys.platform != "linux"
    end_now(child)
    assert wait_until(lambda: not is_alive(other), GIVE_UP_SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_got_the_number_of_an_ended_child_is_left_alone(
    bystander: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    ended: Any = SimpleNamespace(pid=bystander.pid, returncode=0)
    signal_group(ended, number)
    with pytest.raises(subprocess.TimeoutExpired):
        bystander.wait(0.2)


def is_alive(pid: int) -> bool:
    """False also of a zombie, which its new parent has not waited for yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")
