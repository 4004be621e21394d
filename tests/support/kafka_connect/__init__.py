"""A Kafka Connect worker with Debezium, from Maven Central, with the configurations of deploy/connect.

The jars named in jars.sha256 are fetched once into `$ATLAS_CACHE/connect-jars`, by default .cache/connect-jars, beside
which a fetch is made and checked before it is put there. The worker runs until it is killed, or its parent is gone.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local import jars
from deploy.local.spawn import end_now, last_lines, spawn, wait_until
from tests.support.ports import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CONFIGURATIONS = ROOT / "deploy/connect"
FETCH_SECONDS_MAX = 300
START_SECONDS_MAX = 200
QUICK_START = {"plugin_discovery": "service_load"}  # else all classes are walked through at each start
MAIN = "org.apache.kafka.connect.cli.ConnectStandalone"


class ConnectMissing(Exception):
    """Maven or Java is not there, or the jars could not be fetched; the message says which."""


def class_path() -> str:
    """Fetches what is missing. Raises ConnectMissing, and AssertionError for a jar that is not the pinned one."""
    cache = os.environ.get("ATLAS_CACHE")
    directory = (Path(cache).expanduser().absolute() if cache else ROOT / ".cache") / "connect-jars"
    directory.parent.mkdir(parents=True, exist_ok=True)
    pinned = dict(reversed(line.split()) for line in (HERE / "jars.sha256").read_text().splitlines())
    with (HERE / "pom.xml").open() as pom:
        fcntl.flock(pom, fcntl.LOCK_EX)
        if not all((directory / name).exists() for name in pinned):
            _fetch(directory, pinned)
    return os.pathsep.join(str(directory / name) for name in pinned)


def _fetch(directory: Path, pinned: Mapping[str, str]) -> None:
    maven = shutil.which("mvn")
    if maven is None or shutil.which("java") is None:
        raise ConnectMissing("there is no Maven or no Java to fetch Kafka Connect with")
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".connect-") as made:
        arriving = Path(made) / "jars"
        command = [maven, "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
        try:
            subprocess.run(
                [*command, f"-DoutputDirectory={arriving}"],
                check=True,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=FETCH_SECONDS_MAX,
            )
        except subprocess.TimeoutExpired:
            raise ConnectMissing("Maven did not fetch Kafka Connect in time") from None
        except subprocess.CalledProcessError as error:
            raise ConnectMissing(f"Maven could not fetch Kafka Connect: {error.stdout[-1000:]}") from None
        wrong = [name for name, digest in pinned.items() if _sha256(arriving / name) != digest]
        assert not wrong, f"not the pinned jars: {wrong}"
        shutil.rmtree(directory, ignore_errors=True)
        arriving.rename(directory)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"


class ConnectWorker:
    """A standalone worker with some of deploy/connect's connectors. `environment`: what their `${env:…}` stand for."""

    def __init__(self, home: Path, connectors: Sequence[str], environment: Mapping[str, str]) -> None:
        self.log = home / "connect.log"
        self.port = free_port()
        self._home = home
        self._connectors = connectors
        told = {"CONNECT_PORT": str(self.port), "CONNECT_OFFSETS": str(home / "connect.offsets")}
        self._environment = {"PATH": os.environ["PATH"], **told, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        """Returns when every connector's task runs. `settings`: of the worker, `_` for each dot, in place of the
        file's.
        """
        worker = self._home / "worker.properties"
        changed = "".join(f"{name.replace('_', '.')}={value}\n" for name, value in (QUICK_START | settings).items())
        worker.write_text((CONFIGURATIONS / "worker.properties").read_text() + changed)
        files = [str(CONFIGURATIONS / f"{name}.properties") for name in self._connectors]
        memory = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        command = [jars.java(), *memory, "-cp", class_path(), MAIN, str(worker), *files]
        self._process = spawn(
            command, log=self.log, env=self._environment, cwd=self._home, when_parent_dies=signal.SIGKILL
        )
        if not wait_until(lambda: self._ended() or self.runs_all(), START_SECONDS_MAX, 1.0) or self._ended():
            raise RuntimeError("Kafka Connect did not start:\n" + "\n".join(last_lines(self.log, 40)))

    def runs_all(self) -> bool:
        return all('"tasks":[{"id":0,"state":"RUNNING"' in self.status(name) for name in self._connectors)

    def status(self, connector: str) -> str:
        """As its REST interface tells it; empty where it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/connectors/{connector}/status", timeout=5
            ) as told:
                return str(told.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def kill(self) -> None:
        """kill -9: what it has not written to its offsets is read again by the next."""
        if self._process is not None:
            end_now(self._process)

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None
