"""The broker of a test run ends with the run, also when the run is killed."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.local.broker import serving_cluster
from deploy.local.spawn import wait_until
from tests.support import shared_broker


def test_the_broker_of_a_killed_run_ends_and_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as run:
        bootstrap = shared_broker.bootstrap(directory, run.pid)
        assert shared_broker.bootstrap(directory, run.pid) == bootstrap, "all share one"
        keeper_pid = int((directory / "pid").read_text())
        assert serving_cluster(bootstrap, timeout_seconds=5)
        run.kill()
    assert wait_until(lambda: not directory.exists(), 30)
    assert serving_cluster(bootstrap) is None
    os.waitpid(keeper_pid, 0)
