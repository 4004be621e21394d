"""Runs wrk with load.lua, and reads what it prints."""

import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.peers.events import PLACES, Shape, Target, event_format

SCRIPT = Path(__file__).with_name("load.lua")
RESULT, DONE = "RESULT ", "DONE"
COUNTED_SECONDS_MAX = 30
"""A gateway that is not finished with its number of requests by then is measured over that time."""
TIMEOUT_SECONDS = 30
MISSING = (
    "bench-peers: the load generator wrk is not there. Install it: `apt-get install -y wrk` (Debian, Ubuntu), "
    "`dnf install -y wrk` (Fedora), `brew install wrk` (macOS)."
)


class WrkFailed(Exception):
    """It gave no result; the message carries what it said."""


@dataclass(frozen=True)
class Load:
    """What wrk saw: a request counts when its answer has come. `refused`: answers of 400 and above."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    socket_errors: int
    client_cpu_seconds: float = 0.0


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def parse(output: str) -> Load:
    """Raises WrkFailed where there is no result, as after a connection that nobody took."""
    for line in output.splitlines():
        if line.startswith(RESULT):
            return Load(**json.loads(line.removeprefix(RESULT)))
    raise WrkFailed(f"wrk gave no result:\n{output.strip()[-2_000:]}")


def run(target: Target, shape: Shape, seconds: float, requests: int = 0) -> Load:
    """For so many seconds, or so many `requests` within COUNTED_SECONDS_MAX. Events are new in each call. Raises
    WrkFailed.
    """
    asked = COUNTED_SECONDS_MAX if requests else max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{shape.connections}", f"-d{asked}s", "--timeout", f"{TIMEOUT_SECONDS}s"]
    before = _children_cpu_seconds()
    with subprocess.Popen(
        [*command, "-s", str(SCRIPT), target.url(shape)],
        env={"PATH": os.environ["PATH"], **_environment(target, shape, requests)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(DONE):
                process.send_signal(signal.SIGINT)
    load = parse("".join(said))
    return Load(**{**vars(load), "client_cpu_seconds": _children_cpu_seconds() - before})


def _environment(target: Target, shape: Shape, requests: int) -> dict[str, str]:
    wrapping, run_id = target.wrapping(shape), secrets.token_hex(4)
    headers = {**target.headers, "Content-Type": wrapping.content_type}
    return {
        "EVENT": event_format(run_id, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())),
        "PLACES": ",".join(map(str, PLACES)),
        "SIZE": str(shape.size),
        "OPENS": wrapping.opens,
        "PARTS": wrapping.parts,
        "CLOSES": wrapping.closes,
        "HEADERS": "".join(f"{name}: {value}\r\n" for name, value in headers.items()),
        "KEY": f"key-{run_id}-%010d" if shape.keyed else "",
        "REQUESTS": str(requests),
    }


def _children_cpu_seconds() -> float:
    """Of the children that have ended: between two looks that is wrk alone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
