"""What a development run owns: its directory (ATLAS_HOME, one run at a time) and its ports. It refuses in sentences."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.local.spawn import wait_until

PORT_GRACE_SECONDS = 3.0  # the processes of a killed run end within this time
LISTENING = "0A"  # the state's code in /proc/net/tcp


class HomeTaken(Exception):
    """Another `atlas up` runs in this ATLAS_HOME."""


class PortTaken(Exception):
    """Something else listens where Atlas should; the message names the port, its use and, when known, its holder."""


@contextlib.contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """Holds ATLAS_HOME for this process; the lock goes with the process, however it ends. Raises HomeTaken."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "atlas.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise HomeTaken(
                f"another `atlas up` (pid {lock.read().strip() or 'unknown'}) runs in {home}. "
                "Stop it, or set ATLAS_HOME and ATLAS_PORT_BASE to run another next to it."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def require_free(host: str, uses: Mapping[int, str], grace_seconds: float = PORT_GRACE_SECONDS) -> None:
    """`uses` says what each port is for. Raises PortTaken, naming every one that is taken."""
    wait_until(lambda: all(is_free(host, port) for port in uses), grace_seconds)
    taken = [f"port {port} ({use}) is taken{_by_whom(port)}" for port, use in uses.items() if not is_free(host, port)]
    if taken:
        raise PortTaken("; ".join(taken) + ". Stop what holds it, or set ATLAS_PORT_BASE to move all ports of Atlas.")


def is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def port_holder(port: int) -> str | None:
    """`name (pid n)` of what listens on a TCP port; None where that is unknown (no Linux, another user's process)."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        with contextlib.suppress(OSError):
            if any(_leads_to(fd) in sockets for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def _leads_to(descriptor: Path) -> str:
    """Empty for one that was closed since it was listed."""
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for columns in (line.split() for line in lines):
            local_port = int(columns[1].rsplit(":", 1)[1], 16)
            if local_port == port and columns[3] == LISTENING:
                inodes.add(columns[9])
    return inodes


def _by_whom(port: int) -> str:
    holder = port_holder(port)
    return f" by {holder}" if holder else ""
