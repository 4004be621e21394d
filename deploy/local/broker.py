"""One Kafka broker (KRaft, broker and controller in one) as a child process, for `atlas up` and for the tests.

Promises: formatted once a home; `start` returns when it serves; data outlives `stop` and `kill`; it ends with
its parent.
Leaves out: who restarts it (the supervisor), and topics (operations/topic_admin.py).
"""

import os
import signal
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local import jars
from deploy.local.spawn import end, end_now, last_lines, spawn, wait_until
from operations.private_files import write_whole

SERVING_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0
PAUSED_SECONDS = 5.0
BROKER_LOG_BYTES_MAX = 16 * 1024 * 1024
QUICK_START_FLAGS = ("-Xshare:auto", "-Xlog:cds*=off", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOG_FLAGS = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.storage.internals.log.LogManager=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
)


class BrokerFailed(Exception):
    """The broker did not come up; the message carries its last log lines."""


class Broker:
    """`home` holds everything of it: server.properties, data/, broker.log."""

    def __init__(
        self,
        home: Path,
        port: int,
        controller_port: int,
        heap_mb: int = 512,
        *,
        properties: Mapping[str, str] | None = None,
        cluster_id: str | None = None,
    ) -> None:
        """`properties` come before those of the template. `cluster_id`: the cluster whose nodes are formatted one by
        one; a new one of its own otherwise.
        """
        self.home = home
        self.port = port
        self.controller_port = controller_port
        self.heap_mb = heap_mb
        self._own_properties = dict(properties or {})
        self._cluster_id = cluster_id
        self.log = home / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """None while it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Starts it and waits until it serves. Raises BrokerFailed, ToolMissing, JarsUnusable."""
        self.prepare()
        self.launch()
        self.wait_until_serving()

    def prepare(self) -> None:
        """Fetches the jars when they are missing, writes the properties, formats the data directory once."""
        class_path = jars.class_path()
        self._refuse_newer_data(jars.kafka_version())
        self.home.mkdir(parents=True, exist_ok=True)
        template = (jars.KAFKA_FILES / "server.properties").read_text()
        values = {"port": self.port, "controller_port": self.controller_port, "data": self.home / "data"}
        for name, value in values.items():
            template = template.replace("{" + name + "}", str(value))
        own = [f"{name}={value}" for name, value in self._own_properties.items()]
        kept = [line for line in template.splitlines() if line.partition("=")[0] not in self._own_properties]
        write_whole(self._properties, ("\n".join([*kept, *own]) + "\n").encode())
        if not self._meta.exists():
            self._format(class_path)

    def command(self) -> list[str]:
        """The command line of a prepared broker."""
        java = jars.java()
        heap = (f"-Xms{min(256, self.heap_mb)}m", f"-Xmx{self.heap_mb}m", "-XX:+ExitOnOutOfMemoryError")
        flags = [*heap, *quick_start_flags(java), *LOG_FLAGS]
        return [java, *flags, "-cp", jars.class_path(), "kafka.Kafka", str(self._properties)]

    def launch(self) -> None:
        """Starts the process of a prepared broker without waiting for it."""
        if self.pid is not None:
            return
        if self.log.exists() and self.log.stat().st_size > BROKER_LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        self._process = spawn(self.command(), log=self.log, cwd=self.home, when_parent_dies=signal.SIGTERM)

    def wait_until_serving(self, timeout_seconds: float = SERVING_TIMEOUT_SECONDS) -> None:
        """Returns when it answers metadata requests; raises BrokerFailed when it ended or the time is over."""
        if wait_until(lambda: self.pid is None or self.serves(), timeout_seconds) and self.pid is not None:
            return
        what = "ended" if self.pid is None else f"does not serve after {timeout_seconds:g} s"
        raise BrokerFailed(f"the broker on {self.bootstrap} {what}:\n" + "\n".join(last_lines(self.log, 15)))

    def serves(self) -> bool:
        """True when it answers metadata requests, and not another broker on its port."""
        cluster_id = serving_cluster(self.bootstrap)
        return cluster_id is not None and f"cluster.id={cluster_id}" in self._meta.read_text().splitlines()

    def stop(self) -> None:
        """A clean shutdown (SIGTERM); killed when it takes longer than 10 s."""
        if self._process is not None:
            self.resume()
            end(self._process, STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """kill -9, and returns when the process is gone."""
        if self._process is not None:
            end_now(self._process)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers. Returns when its last thread has stopped answering."""
        self._signal(signal.SIGSTOP)
        wait_until(self._has_stopped, PAUSED_SECONDS, 0.005)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @property
    def _properties(self) -> Path:
        return self.home / "server.properties"

    @property
    def _meta(self) -> Path:
        return self.home / "data" / "meta.properties"

    @property
    def _made_by(self) -> Path:
        """The version of Kafka that formatted the data."""
        return self.home / "kafka-version"

    def _has_stopped(self) -> bool:
        if self.pid is None:
            return True
        try:
            return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # another process's child, whose end we cannot see
            return True

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)

    def _refuse_newer_data(self, version: str) -> None:
        """A broker does not read what a newer one has formatted, and says so in a hundred lines."""
        made_by = self._made_by.read_text().strip() if self._made_by.exists() else version
        if jars.version_order(version) < jars.version_order(made_by):
            raise BrokerFailed(
                f"the data in {self.home} was made by Kafka {made_by}, and {version} does not read it: "
                f"set ATLAS_KAFKA_VERSION={made_by}, or another ATLAS_HOME"
            )

    def _format(self, class_path: str) -> None:
        cluster_id = self._cluster_id or new_cluster_id()
        java = jars.java()
        tool = [java, *quick_start_flags(java), "-cp", class_path, "kafka.tools.StorageTool"]
        done = subprocess.run(
            [*tool, "format", "--cluster-id", cluster_id, "--config", str(self._properties)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise BrokerFailed(f"the data directory can't be formatted:\n{(done.stdout + done.stderr).strip()[-2000:]}")
        self._made_by.write_text(jars.kafka_version() + "\n")


def new_cluster_id() -> str:
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")


def quick_start_flags(java: str) -> tuple[str, ...]:
    """With an archive of its classes, where there is one, a broker starts in half the time (class_archive.py)."""
    archive = jars.class_archive(java)
    return (*QUICK_START_FLAGS, f"-XX:SharedArchiveFile={archive}") if archive.exists() else QUICK_START_FLAGS


def serving_cluster(bootstrap: str, timeout_seconds: float = 1.0) -> str | None:
    """The cluster id that a broker answers with there; None when none answers."""
    host, port = bootstrap.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout_seconds).close()
    except OSError:
        return None
    try:
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": 1_000})
        metadata = client.list_topics(timeout=timeout_seconds)
    except KafkaException:
        return None
    return metadata.cluster_id if metadata.brokers else None
