"""The processes of a whole installation, by what their command lines say: kill -9 of one of them, and its return."""

import urllib.error
import urllib.request

import psutil

from bench.system import System
from deploy.local.broker import serving_cluster
from deploy.local.spawn import wait_until
from operations.settings import PROCESSES

RETURNED_SECONDS = 90.0

VICTIMS = {
    "gateway": "ingest_gateway",
    "admission": "processors admission",
    "control": "processors control",
    "delivery": "processors delivery",
    "projection": "processors projection",
    "lifecycle": "processors lifecycle",
    "broker": "kafka.Kafka",
}


def kill(atlas: System, victim: str) -> None:
    """SIGKILL of the one process of this installation that has the name."""
    victims = _found(atlas, victim)
    assert len(victims) == 1, victims
    victims[0].kill()
    victims[0].wait(RETURNED_SECONDS)


def wait_for_return(atlas: System, victim: str) -> None:
    """Until it runs again and answers, whatever it says: a broker metadata, the others their operations port."""

    def answers() -> bool:
        if victim == "broker":
            return serving_cluster(atlas.dev["kafka"]) is not None
        return bool(_found(atlas, victim)) and _speaks(ready_urls(atlas)[victim])

    assert wait_until(answers, RETURNED_SECONDS, 0.1), f"{victim} was not started again"


def ready_urls(atlas: System) -> dict[str, str]:
    """Of each process but the broker."""
    metrics = dict(zip(PROCESSES, atlas.dev["metrics"], strict=True))
    return {name: url.removesuffix("/metrics") + "/readyz" for name, url in metrics.items()}


def _found(atlas: System, victim: str) -> list[psutil.Process]:
    children = psutil.Process(atlas.pid).children(recursive=True)
    return [process for process in children if VICTIMS[victim] in _command_line(process)]


def _speaks(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def _command_line(process: psutil.Process) -> str:
    """Empty for one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
