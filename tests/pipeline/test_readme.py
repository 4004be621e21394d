"""README.md's quickstart and docs/apis.md, run as typed: only addresses and dev.json's place are the test's own."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from bench.system import ROOT, System
from tests.support.ports import free_port_base

COMMAND_AND_ANSWER = re.compile(r"```sh\n(curl .*?)```(?:\n```json\n(.*?)```)?", re.DOTALL)
KEY_COMMAND = re.compile(r"^export ATLAS_API_KEY=.*$", re.MULTILINE)
SETUP = re.compile(r"```sh setup\n(.*?)```", re.DOTALL)
IDS = re.compile(r"evt_[0-9A-Z]{26}")
PORTS = {"8080": "events", "8081": "work", "8082": "spine", "8083": "burn"}


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("readme") / "home", free_port_base()) as atlas:
        yield atlas


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


def typed(atlas: System, setup: str, command: str) -> Any:
    """What the command answers, as JSON."""
    for port, surface in PORTS.items():
        command = command.replace(f"http://127.0.0.1:{port}", atlas.dev[surface]["url"])
    script = setup.replace(".atlas/", f"{atlas.home}/") + "\n" + command
    env = os.environ | {"OPENAI_API_KEY": "sk-none"}
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=30, check=True, env=env)
    return json.loads(done.stdout)


@pytest.mark.timeout(180)
@pytest.mark.requirement("A-005", "A-006", "A-007", "A-014", "A-022", "A-025", "A-039", "A-045")
def test_the_quickstart_answers_as_the_readme_says(atlas: System) -> None:
    readme = (ROOT / "README.md").read_text()
    steps = COMMAND_AND_ANSWER.findall(readme)
    assert [bool(answer) for _command, answer in steps] == [True, True, True, False], "three steps and step 0"
    setup = KEY_COMMAND.findall(readme)[0]
    event_id = ""
    for command, answer in steps:
        answered = typed(atlas, setup, IDS.sub(event_id, command) if event_id else command)
        assert "error" not in answered, answered
        if answer:
            assert shape(answered) == shape(json.loads(answer)), answered
        event_id = answered["id"] if answered["object"] == "event" else event_id


@pytest.mark.timeout(180)
@pytest.mark.requirement("B-015", "B-016")
def test_the_examples_of_the_other_apis_answer_as_their_page_says(atlas: System) -> None:
    page = (ROOT / "docs" / "apis.md").read_text()
    (setup,) = SETUP.findall(page)
    steps = COMMAND_AND_ANSWER.findall(page)
    assert len(steps) == 7
    for command, answer in steps:
        answered = typed(atlas, setup, command)
        if answer:
            assert shape(answered) == shape(json.loads(answer)), answered
        else:
            assert {error["field"] for error in answered["errors"]} >= {"title"}, answered
