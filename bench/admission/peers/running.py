"""Runs one peer as a process of its own over a filled topic; it measures itself, from its first event to its last."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.admission.meter import Speed
from bench.admission.peers.venv import quixstreams_python
from operations.topic_admin import ensure_topics
from schemas.topics import TopicSpec
from tests.support.kafka_topics import PARTITIONS

HERE = Path(__file__).parent
LIMIT_SECONDS = 150.0
RESULT = "RESULT "


class PeerFailed(Exception):
    """It ended without a result; the message carries its last words."""


def run_peer(name: str, kafka: str, topic: str, count: int, directory: Path) -> Speed:
    home = directory / f"peer-{name}"
    home.mkdir(parents=True)
    verdicts = f"peer-{name}-verdicts"
    ensure_topics(kafka, [TopicSpec(verdicts, PARTITIONS, {})])
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
        "BOOTSTRAP": kafka,
        "TOPIC_IN": topic,
        "TOPIC_OUT": verdicts,
        "COUNT": str(count),
        "DATA_DIR": str(home),
        "GROUP": f"peer-{name}",
    }
    command = {
        "faust": [sys.executable, str(HERE / "faust_app.py"), "worker", "-l", "warn", "--without-web"],
        "quixstreams": [str(quixstreams_python()), str(HERE / "quix_app.py")] if name == "quixstreams" else [],
    }[name]
    try:
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"{name} took longer than {LIMIT_SECONDS:g} s: {(error.stderr or b'')[-500:]!r}") from error
    for line in done.stdout.splitlines():
        if line.startswith(RESULT):
            said = json.loads(line.removeprefix(RESULT))
            return Speed(said["events"], said["seconds"], said["cpu_seconds"])
    raise PeerFailed(f"{name} said no result:\n{(done.stdout + done.stderr)[-2000:]}")
