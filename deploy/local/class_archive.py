"""An archive of the classes that a broker loads, read and checked once, so that its JVM starts in half the time.

`python -m deploy.local.class_archive` makes it where it is missing: a broker of its own starts, serves and stops, and
its JVM leaves the archive. The JVM itself refuses one that does not fit its version or the jars, and then loads the
classes as ever; so nothing depends on it, and what goes wrong here is said and is no failure.
"""

import socket
import sys
import tempfile
from pathlib import Path

from deploy.local import jars
from deploy.local.broker import SERVING_TIMEOUT_SECONDS, Broker, BrokerFailed
from deploy.local.jars import JarsUnusable, ToolMissing
from deploy.local.messages import Say, say_on_stderr
from deploy.local.spawn import end, last_lines, spawn, wait_until

DUMP_SECONDS = 60.0


def ensure(say: Say = say_on_stderr) -> None:
    """Returns at once where the archive is there. Raises ToolMissing, JarsUnusable."""
    java = jars.java(say)
    jars.class_path(say)
    archive = jars.class_archive(java)
    if archive.exists():
        return
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".classes-") as made:
            arriving = Path(made) / archive.name
            _leave(arriving, Broker(Path(made) / "broker", *_two_free_ports(), heap_mb=256))
            arriving.rename(archive)
    except (BrokerFailed, OSError) as error:
        say(f"no archive of the broker's classes, so it will start slower: {error}")


def _leave(archive: Path, broker: Broker) -> None:
    """Raises BrokerFailed, OSError."""
    broker.prepare()
    java, *rest = broker.command()
    process = spawn([java, f"-XX:ArchiveClassesAtExit={archive}", *rest], log=broker.log, cwd=broker.home)
    serves = wait_until(lambda: broker.serves() or process.poll() is not None, SERVING_TIMEOUT_SECONDS)
    end(process, DUMP_SECONDS)
    if not serves or not archive.exists():
        raise BrokerFailed("\n".join(last_lines(broker.log, 15)))


def _two_free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


if __name__ == "__main__":
    try:
        ensure()
    except (ToolMissing, JarsUnusable) as unusable:
        say_on_stderr(str(unusable))
        sys.exit(1)
