"""What a development run owns: one home, one run; a taken port is told by name; dev.json appears whole and private."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import dev_file
from deploy.local.home import HomeTaken, PortTaken, locked_home, port_holder, require_free
from tests.support.ports import free_port

HOST = "127.0.0.1"


@pytest.mark.requirement("F14")
def test_a_second_run_in_one_home_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with locked_home(tmp_path), pytest.raises(HomeTaken) as refused, locked_home(tmp_path):
        pass
    assert str(refused.value) == (
        f"another `atlas up` (pid {os.getpid()}) runs in {tmp_path}. "
        "Stop it, or set ATLAS_HOME and ATLAS_PORT_BASE to run another next to it."
    )


@pytest.mark.requirement("F14")
def test_a_killed_run_leaves_its_home_free(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from deploy.local.home import locked_home\n"
        "with locked_home(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    with locked_home(tmp_path):
        assert (tmp_path / "atlas.lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.requirement("F14")
def test_a_taken_port_is_told_by_name_and_holder() -> None:
    taken, free = free_port(), free_port()
    with socket.create_server((HOST, taken)), pytest.raises(PortTaken) as refused:
        require_free(HOST, {taken: "the events API", free: "Kafka"}, grace_seconds=0)
    told = str(refused.value)
    assert f"port {taken} (the events API) is taken" in told and "ATLAS_PORT_BASE" in told
    assert str(free) not in told
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in told


def test_a_port_that_becomes_free_in_time_is_taken_over() -> None:
    port = free_port()
    program = f"import socket, time; s = socket.create_server(({HOST!r}, {port})); print(flush=True); time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as leftover:
        assert leftover.stdout is not None
        leftover.stdout.readline()
        require_free(HOST, {port: "Kafka"}, grace_seconds=30)


def test_nobody_holds_a_free_port() -> None:
    assert port_holder(free_port()) is None


def test_dev_json_is_whole_private_and_gone_after_the_run(tmp_path: Path) -> None:
    assert dev_file.read(tmp_path) is None
    for content in ({"kafka": "a"}, {"kafka": "b", "events": {"live_key": "k"}}):
        path = dev_file.write(tmp_path, content)
        assert dev_file.read(tmp_path) == json.loads(path.read_text()) == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["dev.json"]
    dev_file.remove(tmp_path)
    dev_file.remove(tmp_path)
    assert dev_file.read(tmp_path) is None
