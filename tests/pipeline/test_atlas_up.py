"""A development run from start to stop, with a real broker and small stand-ins for the processes above it."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient

from cli.main import main as atlas
from deploy.local import dev_file
from deploy.local.broker import serving_cluster
from deploy.local.home import is_free
from deploy.local.spawn import wait_until
from operations.settings import PROCESSES, Ports
from schemas.topics import Topic
from tests.support.ports import free_port_base

ROOT = Path(__file__).parents[2]
START_SECONDS, STOP_SECONDS = 60.0, 20.0


class Run:
    """`atlas up` in a process of its own; what it says is in `told`."""

    def __init__(self, home: Path, base: int) -> None:
        self.home, self.ports = home, Ports(base)
        self.env = {**os.environ, "ATLAS_HOME": str(home), "ATLAS_PORT_BASE": str(base)}
        self.output = home.with_name(f"{home.name}-{base}.out")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.atlas_up_stand_in"],
                cwd=ROOT,
                env=self.env,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )

    @property
    def told(self) -> str:
        return self.output.read_text()

    def wait_serving(self) -> "Run":
        wait_until(lambda: dev_file.read(self.home) is not None or self.process.poll() is not None, START_SECONDS)
        assert dev_file.read(self.home) is not None, self.told
        return self

    def diary(self) -> list[str]:
        path = self.home / "diary"
        return path.read_text().splitlines() if path.exists() else []

    def all_ports_free(self) -> bool:
        ports = [self.ports.kafka, self.ports.controller, *map(self.ports.operations, PROCESSES)]
        return all(is_free("127.0.0.1", port) for port in ports)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_SECONDS)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(home: Path = tmp_path / "home", base: int | None = None) -> Run:
        runs.append(Run(home, base or free_port_base()))
        return runs[-1]

    yield begin
    for run in runs:
        run.end()


def test_a_run_starts_serves_and_stops_in_order(start: Callable[..., Run]) -> None:
    run = start().wait_serving()
    content = dev_file.read(run.home)
    base = run.ports.base
    assert content == {
        "kafka": f"127.0.0.1:{base + 10}",
        "events": {
            "url": f"http://127.0.0.1:{base}",
            "workspace_id": "ws_1",
            "live_key": "atlas_live_sk_1",
            "test_key": "atlas_test_sk_1",
        },
        "metrics": [f"http://127.0.0.1:{base + 20 + place}/metrics" for place in range(len(PROCESSES))],
    }
    assert stat.S_IMODE((run.home / "dev.json").stat().st_mode) == 0o600
    assert set(Topic) <= AdminClient({"bootstrap.servers": content["kafka"]}).list_topics(timeout=20).topics.keys()
    status = CliRunner().invoke(atlas, ["status"], env=run.env)
    assert status.exit_code == 0 and status.output.count(" ready\n") == len(PROCESSES), status.output

    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(STOP_SECONDS) == 0, run.told
    stops = [line.split()[0] for line in run.diary() if line.endswith("stops")]
    assert stops[0] == "gateway" and set(stops) == set(PROCESSES)
    assert "did not stop in time" not in run.told and dev_file.read(run.home) is None and run.all_ports_free()


@pytest.mark.requirement("F14")
def test_a_second_run_is_refused_with_a_sentence(start: Callable[..., Run], tmp_path: Path) -> None:
    first = start().wait_serving()
    same_home = start(first.home)
    assert same_home.process.wait(START_SECONDS) == 1
    assert f"another `atlas up` (pid {first.process.pid}) runs in {first.home}." in same_home.told
    same_ports = start(tmp_path / "elsewhere", first.ports.base)
    assert same_ports.process.wait(START_SECONDS) == 1
    assert f"port {first.ports.kafka} (Kafka) is taken" in same_ports.told and "ATLAS_PORT_BASE" in same_ports.told
    assert dev_file.read(first.home) is not None and first.process.poll() is None, "the first goes on undisturbed"


@pytest.mark.requirement("F1")
def test_a_killed_broker_and_a_killed_process_come_back(start: Callable[..., Run]) -> None:
    run = start().wait_serving()
    pid = next(int(line.split()[-1]) for line in run.diary() if line.startswith("delivery runs"))
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: sum(line.startswith("delivery runs") for line in run.diary()) == 2, START_SECONDS)
    assert "delivery was ended by SIGKILL" in run.told
    bootstrap = json.loads((run.home / "dev.json").read_text())["kafka"]
    cluster_id = serving_cluster(bootstrap, timeout_seconds=5)
    os.kill(_listener(run.ports.kafka), signal.SIGKILL)
    assert wait_until(lambda: "broker was ended by SIGKILL" in run.told, START_SECONDS)
    assert wait_until(lambda: serving_cluster(bootstrap) == cluster_id, START_SECONDS)


@pytest.mark.skipif(sys.platform != "linux", reason="the lifeline is a Linux call")
def test_nothing_outlives_a_killed_run_and_the_next_goes_on(start: Callable[..., Run]) -> None:
    killed = start().wait_serving()
    cluster_id = serving_cluster(f"127.0.0.1:{killed.ports.kafka}", timeout_seconds=5)
    killed.process.kill()
    killed.process.wait()
    again = start(killed.home, killed.ports.base)  # at once: it waits for what is still ending
    assert wait_until(lambda: again.told.count("Atlas is ready") == 2, START_SECONDS), again.told
    assert serving_cluster(f"127.0.0.1:{again.ports.kafka}", timeout_seconds=5) == cluster_id
    again.end()
    assert again.all_ports_free()


def test_status_without_a_run_says_so(tmp_path: Path) -> None:
    told = CliRunner().invoke(atlas, ["status"], env={"ATLAS_HOME": str(tmp_path)})
    assert told.exit_code == 1 and "Start it: atlas up" in told.output


def test_config_shows_settings_and_no_secret(tmp_path: Path) -> None:
    env = {"ATLAS_HOME": str(tmp_path), "ATLAS_MASTER_KEY": "ab" * 32, "ATLAS_PORT_BASE": "20000"}
    told = CliRunner().invoke(atlas, ["config"], env=env)
    assert told.exit_code == 0 and "127.0.0.1:20010" in told.output and "abab" not in told.output
    values = dict(line.split(None, 1) for line in told.output.splitlines())
    assert (values["master_key"], values["jwt_secret"], values["surfaces"]) == (
        *("(set)", "(not set)"),
        "events, work, spine, burn",
    )
    assert values["retry_schedules"] == "events:30s,1m,5m,15m,1h,3h,6h,12h;work:1s,5s,25s,2m,10m,1h..24h"
    bad = CliRunner().invoke(atlas, ["config"], env={**env, "ATLAS_PARTITIONS": "many"})
    assert bad.exit_code == 1 and "ATLAS_PARTITIONS must be a whole number" in bad.output


def _listener(port: int) -> int:
    """The pid of what serves on the port; asked of the system, since `atlas up` doesn't tell its broker's."""
    import psutil

    return next(
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid
    )
