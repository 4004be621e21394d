"""A broker of a test's own. Its directory is formatted by copying one that was formatted before, with ids of its own:
Kafka's tool for it is a JVM, which takes as long as the broker needs to start.
"""

import fcntl
import os
import re
import shutil
import tempfile
from pathlib import Path

from deploy.local import jars
from deploy.local.broker import Broker, new_cluster_id
from tests.support.ports import free_port
from tests.support.shared_broker import DIRECTORY_VARIABLE

IDS = re.compile(r"^(cluster\.id|directory\.id)=.*$", re.MULTILINE)


def a_broker(home: Path) -> Broker:
    """On free ports, and not started."""
    format_home(home)
    return Broker(home, free_port(), free_port(), heap_mb=256)


def format_home(home: Path) -> None:
    """Does nothing outside a test run: a broker formats its home itself where nobody did."""
    if DIRECTORY_VARIABLE not in os.environ or (home / "data").exists():
        return
    shutil.copytree(_formatted(), home, dirs_exist_ok=True)
    meta = home / "data" / "meta.properties"
    meta.write_text(IDS.sub(lambda found: f"{found[1]}={new_cluster_id()}", meta.read_text()))


def _formatted() -> Path:
    """Of this version of Kafka; formatted by the first that asks for it in this run."""
    run = Path(os.environ[DIRECTORY_VARIABLE].split(":", 1)[1])
    ready = run / f"formatted-{jars.kafka_version()}"
    with (run / "formatting").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            with tempfile.TemporaryDirectory(dir=run) as scratch:
                broker = Broker(Path(scratch) / "broker", 1, 2)
                broker.prepare()
                (broker.home / "server.properties").unlink()
                broker.home.rename(ready)
    return ready
