"""The one broker of a test run: started by the first test that asks, shared by all xdist workers, gone with the run.

`python -m tests.support.shared_broker <directory> <pytest pid>` runs it: writes its address to <directory>/bootstrap
and stops when <directory>/stop is there, or when that pytest process is gone, so that a killed test run leaves no
broker behind either. It is not stopped by its process id, which may be another process's by then.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from deploy.local.broker import Broker
from deploy.local.spawn import wait_until
from tests.support.ports import free_port

DIRECTORY_VARIABLE = "ATLAS_TEST_RUN"
ROOT = Path(__file__).parents[2]
STOP_SECONDS = 20.0
START_TIMEOUT_SECONDS = 300.0  # a first run may fetch the jars


def of_this_run() -> str:
    """The address of the one broker that all processes of this test run share."""
    pid, directory = os.environ[DIRECTORY_VARIABLE].split(":", 1)
    return bootstrap(Path(directory), int(pid))


def bootstrap(directory: Path, run_pid: int) -> str:
    """The address of the run's broker, started now if nobody did before."""
    answer = directory / "bootstrap"
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answer.exists():
            _start(directory, run_pid)
    return answer.read_text()


def stop(directory: Path) -> None:
    """Ends the run's broker if there is one and removes all of it."""
    answer = directory / "bootstrap"
    if answer.exists():
        (directory / "stop").touch()
        wait_until(lambda: not answer.exists(), STOP_SECONDS)
    shutil.rmtree(directory, ignore_errors=True)


def _start(directory: Path, run_pid: int) -> None:
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.shared_broker", str(directory), str(run_pid)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (directory / "pid").write_text(str(process.pid))  # for a test that waits for it; it is never signalled
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not (directory / "bootstrap").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the test broker did not start:\n" + (directory / "output").read_text())
        time.sleep(0.05)
    process.returncode = 0  # not waited for here: it outlives this worker, and its parent is then init


def _lives(pid: int) -> bool:
    """False also for a zombie: ended, but not yet collected by its parent."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main(directory: Path, run_pid: int) -> None:
    broker = Broker(directory / "broker", free_port(), free_port())
    try:
        broker.start()
        arriving = directory / "bootstrap.arriving"
        arriving.write_text(broker.bootstrap)
        arriving.rename(directory / "bootstrap")
        while _lives(run_pid) and not (directory / "stop").exists():
            time.sleep(0.1)
    finally:
        broker.kill()  # nothing of it is kept, so there is nothing to shut down cleanly
        (directory / "bootstrap").unlink(missing_ok=True)
        if not _lives(run_pid):
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
