"""The processes of a whole installation, by what their command lines say, and kill -9 of one of them."""

import psutil

from bench.system import System

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
    words = VICTIMS[victim]
    victims = [p for p in psutil.Process(atlas.pid).children(recursive=True) if words in _command_line(p)]
    assert len(victims) == 1, victims
    victims[0].kill()


def _command_line(process: psutil.Process) -> str:
    """Empty for one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
