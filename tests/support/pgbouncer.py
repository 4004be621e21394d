"""A PgBouncer of one's own in transaction mode, from the system's package, before a PostgreSQL of the tests.

Every transaction may be given another of its few connections, and each is used by whoever comes next: what one session
leaves on a connection, another finds. `ignore_options` is `ignore_startup_parameters=options`, without which
it refuses clients that set parameters when they connect. It ends with the process that started it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from deploy.local.spawn import end_now, spawn, wait_until
from tests.support.ports import free_port

SERVER_USER = "postgres"
START_TIMEOUT_SECONDS = 10.0


def program() -> str | None:
    """None where PgBouncer is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def pgbouncer(database_url: str, *, ignore_options: bool, connections: int = 4) -> Iterator[str]:
    """The URL of the same database through it."""
    path = program()
    assert path is not None, "ask `program` first"
    url = make_url(database_url)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="atlas-pgbouncer-") as made:
        home = Path(made)
        (home / "users").write_text(f'"{url.username}" ""\n')
        configuration = home / "pgbouncer.ini"
        configuration.write_text(_configuration(url.host, url.port, port, home, ignore_options, connections))
        process = spawn([*_as_user(home), path, str(configuration)], log=home / "log")
        through = url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        try:
            if not wait_until(lambda: _serves(through), START_TIMEOUT_SECONDS):
                raise RuntimeError("PgBouncer did not start:\n" + (home / "log").read_text())
            yield through
        finally:
            end_now(process)


def _as_user(home: Path) -> list[str]:
    """What goes before a command that refuses to run as root; `home` is made that user's own."""
    if os.geteuid() != 0:
        return []
    for owned in (home, *home.iterdir()):
        shutil.chown(owned, SERVER_USER)
    return ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups", "--pdeathsig=KILL"]


def _configuration(
    host: str | None, server_port: int | None, port: int, home: Path, ignore_options: bool, connections: int
) -> str:
    ignored = "options" if ignore_options else ""
    return f"""
[databases]
* = host={host} port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {home / "users"}
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 100
ignore_startup_parameters = {ignored}
"""


def _serves(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
