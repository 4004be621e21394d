"""What is measured: a SQLite file, and a PostgreSQL server of the run's own, from the system's package."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

SQLITE, POSTGRESQL = "sqlite", "postgresql"
SERVER_SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "wal_compression": "on", "fsync": "on"}
"""Its defaults are for small machines of long ago. It syncs as in production; projection asks not to wait for it."""


@contextmanager
def database(name: str, home: Path) -> Iterator[str]:
    """Its URL; empty at first."""
    if name == SQLITE:
        yield f"sqlite:///{home}/read-model.sqlite"
        return
    from tests.support.postgresql import Server, binaries

    programs = binaries()
    if programs is None:
        sys.exit("PostgreSQL is not installed here (Debian: apt-get install postgresql)")
    server = Server(programs, SERVER_SETTINGS)
    server.start()
    try:
        yield server.new_database()
    finally:
        server.stop()
        server.remove()


def servers_cpu_seconds(name: str) -> float:
    """What PostgreSQL's processes on this machine have used so far."""
    if name == SQLITE:
        return 0.0
    used = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] == "postgres" and process.info["cpu_times"] is not None:
            used += process.info["cpu_times"].user + process.info["cpu_times"].system
    return used
