"""The quickstart of README.md, run as typed: only the address and the place of dev.json are this test's own."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.system import ROOT, System
from tests.support.ports import free_port_base

COMMAND_AND_ANSWER = re.compile(r"```sh\n(curl .*?)```(?:\n```json\n(.*?)```)?", re.DOTALL)
KEY_COMMAND = re.compile(r"^export ATLAS_API_KEY=.*$", re.MULTILINE)
IDS = re.compile(r"evt_[0-9A-Z]{26}")


def shape(value: Any) -> Any:
    """Names and kinds, without the values that differ from installation to installation."""
    match value:
        case dict():
            return {name: shape(one) for name, one in value.items()}
        case list():
            return [shape(one) for one in value]
        case str():
            return re.sub(r"[0-9A-Z]{10,26}|[0-9a-f]{8,}|\d", "…", value)
    return type(value).__name__


@pytest.mark.timeout(180)
@pytest.mark.requirement("A-005", "A-006", "A-007", "A-014", "A-022", "A-025", "A-039", "A-045")
def test_the_quickstart_answers_as_the_readme_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    steps = COMMAND_AND_ANSWER.findall(readme)
    assert [bool(answer) for _command, answer in steps] == [True, True, True, False], "three steps and step 0"
    export = KEY_COMMAND.findall(readme)[0].replace(".atlas/", f"{tmp_path}/home/")
    with System(tmp_path / "home", free_port_base()) as atlas:
        event_id = ""
        for command, answer in steps:
            typed = command.replace("http://127.0.0.1:8080", atlas.dev["events"]["url"])
            typed = IDS.sub(event_id, typed) if event_id else typed
            shown = subprocess.run(
                ["bash", "-euc", f"{export}\n{typed}"], capture_output=True, text=True, timeout=30, check=True
            ).stdout
            answered = json.loads(shown)
            assert "error" not in answered, shown
            if answer:
                assert shape(answered) == shape(json.loads(answer)), shown
            event_id = answered["id"] if answered["object"] == "event" else event_id
