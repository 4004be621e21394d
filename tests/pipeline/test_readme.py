"""README.md, docs/apis.md and docs/kafka-routes.md, run as typed: only addresses and places are the test's own."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.system import ROOT, System
from deploy.local.spawn import wait_until
from tests.support.api import EventsApi
from tests.support.ports import free_port, free_port_base

COMMAND_AND_ANSWER = re.compile(r"```sh\n(curl .*?)```(?:\n```json\n(.*?)```)?", re.DOTALL)
BLOCK = re.compile(r"```(sh|json|text)\n(.*?)```", re.DOTALL)
SETUP = re.compile(r"```sh setup\n(.*?)```", re.DOTALL)
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
            return re.sub(r"whsec_[A-Za-z0-9+/=]+|[0-9A-Z]{10,26}|[0-9a-f]{8,}|\d+", "…", value)
    return type(value).__name__


class Reader:
    """Types what the page says, in a directory's terminal; only addresses, ports and places are this run's."""

    def __init__(self, atlas: System, setup: str, log: Path) -> None:
        self._here = {f"http://127.0.0.1:{port}": atlas.dev[surface]["url"] for port, surface in PORTS.items()}
        port = free_port()
        self._here |= {"127.0.0.1:9000": f"127.0.0.1:{port}", "--port 9000": f"--port {port}"}
        self._here |= {".atlas/": f"{atlas.home}/", ".venv/bin/atlas": "exec python -m cli.main"}
        self._env = os.environ | {
            "OPENAI_API_KEY": "sk-none",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self._setup = setup
        self._log = log
        self._in_background: list[subprocess.Popen[bytes]] = []

    def types(self, command: str) -> Any:
        """What the command answers, as JSON."""
        return json.loads(self.types_for_text(command))

    def types_for_text(self, command: str) -> str:
        script = self._script(command)
        done = subprocess.run(script, capture_output=True, text=True, timeout=30, check=True, env=self._env, cwd=ROOT)
        return done.stdout

    def starts(self, command: str) -> None:
        """A command that ends with `&`; returns when it listens."""
        said = self._log.open("wb")
        script = self._script(command.rstrip().removesuffix("&"))
        self._in_background.append(subprocess.Popen(script, stdout=said, stderr=said, env=self._env, cwd=ROOT))
        assert wait_until(lambda: "listening" in self._log.read_text(), 20), self._log.read_text()

    def sees(self, text: str) -> None:
        """The background command comes to say this."""
        wanted = shape(text)
        assert wait_until(lambda: shape(self._log.read_text()).endswith(wanted), 20), self._log.read_text()

    def leaves(self) -> None:
        for process in self._in_background:
            process.kill()
            process.wait()

    def _script(self, command: str) -> list[str]:
        text = self._setup + "\n" + command
        for written, here in self._here.items():
            text = text.replace(written, here)
        return ["bash", "-euo", "pipefail", "-c", text]


@pytest.mark.timeout(180)
@pytest.mark.requirement("A-005", "A-006", "A-007", "A-014", "A-022", "A-025", "A-039", "A-045")
def test_the_quickstart_answers_as_the_readme_says(atlas: System, tmp_path: Path) -> None:
    """Every block in its order: what is typed is run as it stands, and answers as the block below it says."""
    quickstart = (ROOT / "README.md").read_text().partition("## Quickstart")[2].partition("\n## ")[0]
    (_, start), (_, setup), *blocks = BLOCK.findall(quickstart)
    assert start == "ATLAS_ALLOW_PRIVATE_TARGETS=1 make run\n", "what the fixture does"
    kinds = [kind for kind, _ in blocks]
    assert kinds == ["sh", "json"] * 4 + ["sh"] + ["sh", "json"] * 2 + ["text", "json"]
    reader = Reader(atlas, setup, tmp_path / "listener.log")
    answered: Any = None
    try:
        for kind, text in blocks:
            match kind:
                case "sh" if text.endswith("&\n"):
                    reader.starts(text)
                case "sh":
                    answered = reader.types(text)
                case "json":
                    assert shape(answered) == shape(json.loads(text)), answered
                case _:
                    reader.sees(text)
                    answered = an_event_with_attempts(reader, blocks[4][1])
    finally:
        reader.leaves()


def an_event_with_attempts(reader: Reader, step_3: str) -> Any:
    """Step 3 once more; the endpoint has seen the attempt a moment before its outcome can be read."""
    shown = reader.types(step_3)
    assert wait_until(lambda: bool(shown.update(reader.types(step_3)) or shown["attempts"]), 20)
    return shown


@pytest.mark.timeout(180)
@pytest.mark.requirement("B-015", "B-016")
def test_the_examples_of_the_other_apis_answer_as_their_page_says(atlas: System, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "apis.md").read_text()
    (setup,) = SETUP.findall(page)
    steps = COMMAND_AND_ANSWER.findall(page)
    assert len(steps) == 7
    reader = Reader(atlas, setup, tmp_path / "unused.log")
    for command, answer in steps:
        answered = reader.types(command)
        if answer:
            assert shape(answered) == shape(json.loads(answer)), answered
        else:
            assert {error["field"] for error in answered["errors"]} >= {"title"}, answered


@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed: the page's reader is not run")
def test_a_streams_events_are_read_from_a_topic_as_its_page_says(atlas: System, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "kafka-routes.md").read_text()
    (setup,) = SETUP.findall(page)
    (_, make_workflow), (_, make_stream), (_, send), (_, read_topic) = BLOCK.findall(page)
    reader = Reader(atlas, setup, tmp_path / "unused.log")
    assert reader.types(make_workflow)["id"] == "wf_lake"
    api = EventsApi(atlas.dev["events"]["url"], atlas.dev["events"]["live_key"])
    assert reader.types(make_stream)["default_routes"] == ["wf_lake"]
    event = reader.types(send)
    api.wait_for_status(event["id"], "delivered")
    headers, record = reader.types_for_text(read_topic).splitlines()
    assert f"atlas-event-id={event['id']}" in headers and record == 'ord-7: {"total": 7}'


@pytest.mark.timeout(180)
def test_the_policy_of_the_guardrails_page_is_taken(atlas: System, tmp_path: Path) -> None:
    """As JSON by the API and as YAML by `whatif`: the page shows one policy in both forms."""
    page = (ROOT / "docs" / "guardrails.md").read_text()
    (setup,), (put,) = SETUP.findall(page), (text for kind, text in BLOCK.findall(page) if kind == "sh")
    (written,) = (text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "financial_limits" in text)
    as_json = json.loads(re.search(r"-d '(.*?)'", put, re.DOTALL)[1])  # type: ignore[index]
    assert yaml.safe_load(written) == as_json
    reader = Reader(atlas, setup, tmp_path / "unused.log")
    try:
        held = reader.types(put)
        assert [cap["hard_usd"] for cap in held["financial_limits"]["caps"]] == [50.0, 300.0, 5.0]
        assert (held["budget_mode"], held["burst"]["per_minute"], held["ttl_seconds"]) == ("strict", 300, 3600)
    finally:
        reader.types(put.replace(re.findall(r"-d '(.*?)'", put, re.DOTALL)[0], "{}"))


@pytest.mark.timeout(180)
@pytest.mark.requirement("W-044", "W-048")
@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_program_on_the_page_runs_in_node(atlas: System, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "apis.md").read_text()
    (setup,), (program,) = SETUP.findall(page), re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    reader, place = Reader(atlas, setup, tmp_path / "listener.log"), tmp_path / "tasks.mjs"
    reader.types(COMMAND_AND_ANSWER.findall(page)[0][0])
    assert reader.types(f"cat > {place} <<'END'\n{program}END\nnode {place}") == [200, 2]
