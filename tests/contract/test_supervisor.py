"""The supervisor with small real processes: what ends is started again, all stop in their order, nothing is left."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from deploy.local.child import ProcessSpec
from deploy.local.spawn import wait_until
from deploy.local.supervisor import NotReady, StopRequested, Supervisor
from tests.support.scripts import UNTIL_ASKED, script

ROOT = Path(__file__).parents[2]
LONG_SECONDS = 30.0


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, told: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "logs", told.append)
    yield supervisor
    supervisor.stop()


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., ProcessSpec]:
    """A process that writes "<name> runs" and "<name> stops" into the diary, or one with a body of its own."""

    def make(name: str, stop_group: int = 0, body: str = UNTIL_ASKED, ready: bool = True) -> ProcessSpec:
        command = script(tmp_path / f"{name}.py", body, str(tmp_path / "diary"), name)
        return ProcessSpec(name, command, {}, lambda: None if ready else "it has not caught up", stop_group)

    return make


def lives(pid: int) -> bool:
    """False for a zombie too."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def look_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    def look() -> bool:
        supervisor.look()
        return condition()

    assert wait_until(look, LONG_SECONDS)


def diary(tmp_path: Path) -> list[str]:
    path = tmp_path / "diary"
    return path.read_text().splitlines() if path.exists() else []


def test_a_crashed_process_is_started_again_and_its_last_lines_are_told(supervisor, process, told) -> None:
    crashes = 'import sys\nprint("reading the table")\nsys.exit("the table is not there")'
    supervisor.start([process("admission", body=crashes)])
    look_until(supervisor, lambda: len(told) == 2)
    assert "admission exited with code 1" in told[0] and "starts again in 0.5 s" in told[0]
    assert told[0].endswith("Its last lines:\n    reading the table\n    the table is not there")
    assert "starts again in 1 s" in told[1]
    assert told[1].count("the table is not there") == 1, "only the lines of the life that ended"


def test_a_killed_process_comes_back_with_another_pid(supervisor, process, told, tmp_path) -> None:
    supervisor.start([process("delivery")])
    look_until(supervisor, lambda: diary(tmp_path) == ["delivery runs"])
    first = supervisor.pid("delivery")
    os.kill(first, signal.SIGKILL)
    look_until(supervisor, lambda: diary(tmp_path) == ["delivery runs", "delivery runs"])
    assert supervisor.pid("delivery") not in (None, first)
    assert "delivery was ended by SIGKILL" in told[0]


def test_all_stop_turn_by_turn(supervisor, process, tmp_path) -> None:
    supervisor.start([process("broker", 2), process("admission", 1), process("delivery", 1), process("gateway", 0)])
    look_until(supervisor, lambda: len(diary(tmp_path)) == 4)
    supervisor.stop()
    stops = diary(tmp_path)[4:]
    assert stops[0] == "gateway stops" and stops[3] == "broker stops"
    assert set(stops[1:3]) == {"admission stops", "delivery stops"}


def test_a_process_that_does_not_stop_is_killed_with_all_it_started(supervisor, process, told, tmp_path) -> None:
    stubborn = f"""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([{sys.executable!r}, "-c", "import time; time.sleep(600)"])
        with open(sys.argv[1], "a") as file:
            file.write(f"{{child.pid}}\\n")
        time.sleep(600)
    """
    supervisor.start([process("stubborn", body=stubborn)])
    look_until(supervisor, lambda: len(diary(tmp_path)) == 1)
    pids = [supervisor.pid("stubborn"), int(diary(tmp_path)[0])]
    with supervisor.handling_signals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # a second Ctrl-C: patience is over
        supervisor.stop()
    assert wait_until(lambda: not any(lives(pid) for pid in pids), LONG_SECONDS)
    assert told == ["stubborn did not stop in time and is killed"]


def test_a_stop_signal_ends_the_watch(supervisor, process) -> None:
    supervisor.start([process("gateway")])
    with supervisor.handling_signals(), pytest.raises(StopRequested):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        supervisor.watch()


def test_waiting_names_those_that_are_not_ready_and_what_they_say(supervisor, process) -> None:
    supervisor.start([process("gateway"), process("projection", ready=False)])
    supervisor.wait_ready(["gateway"], LONG_SECONDS)
    with pytest.raises(NotReady, match=r"not ready after 0\.3 s: projection: it has not caught up"):
        supervisor.wait_ready(["gateway", "projection"], 0.3)


def test_a_process_that_catches_up_is_given_the_time_it_needs(supervisor, process) -> None:
    left = iter(range(20, 0, -1))
    catching_up = dataclasses.replace(process("projection"), not_ready=lambda: next(map(str, left), None))
    supervisor.start([catching_up])
    supervisor.wait_ready(["projection"], 1.0)  # twenty looks take two seconds


@pytest.mark.skipif(sys.platform != "linux", reason="the lifeline is a Linux call")
def test_processes_do_not_outlive_a_killed_supervisor(tmp_path) -> None:
    command = script(tmp_path / "child.py", UNTIL_ASKED, str(tmp_path / "diary"), "child")
    program = f"""
        import subprocess, sys
        from pathlib import Path
        from deploy.local.child import ProcessSpec
        from deploy.local.supervisor import Supervisor
        supervisor = Supervisor(Path({str(tmp_path / "logs")!r}), print)
        supervisor.start([ProcessSpec("child", {command!r}, {{}}, lambda: None)])
        print(supervisor.pid("child"), flush=True)
        supervisor.watch()
    """
    with subprocess.Popen(
        [sys.executable, "-c", dedent(program)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as supervising:
        assert supervising.stdout is not None
        pid = int(supervising.stdout.readline())
        try:
            assert wait_until(lambda: diary(tmp_path) == ["child runs"], LONG_SECONDS)
        finally:
            supervising.kill()
    assert wait_until(lambda: not lives(pid), LONG_SECONDS)


def test_a_log_stays_within_its_bound_while_it_is_written(supervisor, process, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("deploy.local.child.LOG_BYTES_MAX", 20_000)
    talks = 'import time\nwhile True:\n    print("x" * 99, flush=True)\n    time.sleep(0.001)'
    supervisor.start([process("talker", body=talks)])
    log = tmp_path / "logs" / "talker.log"
    look_until(supervisor, lambda: log.with_name("talker.log.1").exists())
    cut_at = log.stat().st_size
    look_until(supervisor, lambda: log.stat().st_size > cut_at)
    assert log.read_bytes()[:100] == b"x" * 99 + b"\n", "its writer goes on at the start: no hole"
