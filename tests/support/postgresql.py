"""A PostgreSQL server of one's own, from the system's package (Debian puts it under /usr/lib/postgresql).

It runs in a directory of its own on a free port, without fsync unless settings say otherwise, and ends with `stop`,
or a second after the process that started it is gone, however that happened. PostgreSQL refuses to run as root, so a
test run by root starts it as the package's own user.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import psycopg

from deploy.local.spawn import wait_until
from tests.support.ports import free_port

PACKAGED = Path("/usr/lib/postgresql")
SERVER_USER = "postgres"
START_TIMEOUT_SECONDS = 60.0
WATCH = 'while kill -0 "$1" 2>/dev/null; do sleep 1; done; kill -QUIT "$2"; sleep 1; rm -rf "$3"'


def binaries() -> Path | None:
    """Where initdb and postgres are; None where PostgreSQL is not installed."""
    found = [path.parent for path in sorted(PACKAGED.glob("*/bin/postgres"), reverse=True)]
    on_path = shutil.which("postgres")
    if not found and on_path is not None:
        found = [Path(on_path).resolve().parent]
    return found[0] if found else None


class Server:
    def __init__(self, programs: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self._programs = programs
        self._settings = {"fsync": "off", **settings}
        self._user = SERVER_USER if os.geteuid() == 0 else None
        self._directory = Path(tempfile.mkdtemp(prefix="atlas-postgresql-"))
        self._data = self._directory / "data"
        if self._user is not None:
            shutil.chown(self._directory, self._user)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        options = ("--auth=trust", "--username=atlas", "--no-sync", "--encoding=UTF8", "--locale=C")
        self._start("initdb", "--pgdata", str(self._data), *options).wait()

    def start(self) -> None:
        """Serves when it returns."""
        options = ("-p", str(self._port), "-k", str(self._directory), "-c", "listen_addresses=127.0.0.1")
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._process = self._start("postgres", "-D", str(self._data), *options, *settings)
        watched = (str(os.getpid()), str(self._process.pid), str(self._directory))
        self._watcher = subprocess.Popen(["sh", "-c", WATCH, "watch", *watched], start_new_session=True)
        if not wait_until(self._serves, START_TIMEOUT_SECONDS):
            raise RuntimeError("PostgreSQL did not start:\n" + (self._directory / "log").read_text())

    def stop(self) -> None:
        """At once, without a checkpoint: what was committed is recovered at the next start."""
        assert self._process is not None and self._watcher is not None
        os.killpg(self._watcher.pid, signal.SIGKILL)
        self._watcher.wait()
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()

    def remove(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def drop(self, url: str) -> None:
        """Each database is three hundred files, which would all have to be removed in the end."""
        self._execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def _url(self, database: str) -> str:
        return f"postgresql://atlas@127.0.0.1:{self._port}/{database}"

    def _serves(self) -> bool:
        try:
            psycopg.connect(self._url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _start(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / program), *arguments],
                user=self._user,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
