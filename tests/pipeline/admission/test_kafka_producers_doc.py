"""docs/kafka-producers.md is run as it stands: each example against a stream of its own; what it says comes true."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from domain.admission import reading
from processors.admission import agent, metrics
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.support.worker import Worker

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "kafka-producers.md"
FENCE = re.compile(r"^```(sh|python)\n", re.M)
RUN_SECONDS_MAX = 60

# Of each example: how many records are admitted, and for which reasons others are set aside.
EXPECTED: dict[str, tuple[int, list[str]]] = {
    "JSON with kcat": (1, []),
    "A file of events, one a line, in one transaction": (3, []),
    "JSON with confluent-kafka": (100, []),
    "Avro with confluent-kafka and fastavro": (1, []),
    "A bad record beside a good one": (1, ["invalid"]),
    "Waiting for the decision": (1, []),
}


def examples() -> dict[str, tuple[str, str]]:
    """By title: language and code of the one example under each heading of the third level."""
    found = {}
    title, language, code = "", "", list[str]()
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            title = ""
        elif line.startswith("### "):
            title = line.removeprefix("### ")
        elif line in ("```sh", "```python"):
            language, code = line.removeprefix("```"), []
        elif line == "```" and title:
            found[title] = (language, "\n".join(code) + "\n")
        else:
            code.append(line)
    return found


def test_every_example_of_the_page_is_run() -> None:
    assert examples().keys() == EXPECTED.keys()
    settings = 1  # the block that sets the two variables
    assert len(FENCE.findall(PAGE.read_text(encoding="utf-8"))) == len(EXPECTED) + settings


def test_the_variables_come_from_a_development_run(tmp_path: Path) -> None:
    settings = FENCE.split(PAGE.read_text(encoding="utf-8"))[2].partition("```")[0]
    (tmp_path / ".atlas").mkdir()
    told = {"kafka": "127.0.0.1:17", "events": {"workspace_id": "ws_1"}}
    (tmp_path / ".atlas" / "dev.json").write_text(json.dumps(told))
    said = run("sh", settings + 'echo "$KAFKA $TOPIC"', tmp_path, {})
    assert said == "127.0.0.1:17 events.ws_1.live.orders-prod\n"


@pytest.mark.parametrize("title", EXPECTED)
def test_the_example_does_what_the_page_says(
    title: str, broker: str, admission: Worker, a_stream: MakeStream, written: Written, tmp_path: Path
) -> None:
    language, code = examples()[title]
    if language == "sh" and shutil.which("kcat") is None:
        pytest.skip("kcat is not installed: the page's kcat examples are not run")
    stream = a_stream(name="orders-prod", routes=["wf_one"])
    said = run(language, code, tmp_path, {"KAFKA": broker, "TOPIC": stream.name})

    admitted, reasons = EXPECTED[title]
    decisions = written.decisions(stream, admitted + len(reasons))
    assert [decision.outcome for decision in decisions].count("admitted") == admitted
    assert all(decision.direct for decision in decisions if decision.outcome == "admitted")
    assert [letter.reason for letter in written.dead_letters(stream, len(reasons))] == reasons
    assert len(written.deliveries(stream, admitted)) == admitted
    if title == "Waiting for the decision":
        assert said.split() == ["admitted", decisions[0].event_id]


def run(language: str, code: str, directory: Path, variables: dict[str, str]) -> str:
    """In an empty directory from which `schemas` can be seen, as in a checkout."""
    (directory / "schemas").symlink_to(ROOT / "schemas")
    command = ["bash", "-euo", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-c", code]
    done = subprocess.run(
        command,
        cwd=directory,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_tells_every_reason_there_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    sources = Path(agent.__file__).read_text() + Path(reading.__file__).read_text()
    reasons = set(re.findall(r'NotAnEvent\(\s*"([a-z_]+)"', sources)) | {"conflict"}
    assert reasons >= {
        "empty_value",
        "unreadable",
        "invalid",
        "wrong_stream",
        "unknown_stream",
        "too_large",
        "poisoned",
    }
    assert reasons == set(metrics.DEAD_LETTER_REASONS)
    assert set(re.findall(r"^\| `([a-z_]+)` \| ", text.split("## What happens to bad records")[1], re.M)) == reasons


def test_the_page_tells_the_sizes_that_hold() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"{reading.DIRECT_BYTES_MAX:,} bytes" in text
