"""What the last run of each test came to, kept in `.cache/requirements.json` over several runs.

The file holds {"tests": {"<node id>": {"outcome": "passed|failed|skipped", "requirements": ["A-029", …]}}}.
A run replaces the records of the test functions that it ran, all their cases, and keeps the others: so `make test` may
consist of several runs, renamed cases don't linger, and two runs at once lose nothing (a lock beside the file).
"""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from tests.traceability.catalogue import ROOT

RESULTS_PATH = ROOT / ".cache" / "requirements.json"


@dataclass(frozen=True)
class Result:
    """One test's outcome (passed, failed or skipped) and the rows that it carries."""

    outcome: str
    requirements: tuple[str, ...]


def function_of(node: str) -> str:
    """The node id of the test function that a case belongs to."""
    return node.split("[", 1)[0]


def load_results(path: Path = RESULTS_PATH) -> dict[str, Result]:
    """Results by node id; none when there was no run, or when the file can't be read."""
    try:
        tests = json.loads(path.read_text(encoding="utf-8"))["tests"]
        return {node: Result(test["outcome"], tuple(test["requirements"])) for node, test in tests.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def merge_results(new: dict[str, Result], path: Path = RESULTS_PATH) -> None:
    """Puts a run's results over those of earlier runs, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = {function_of(node) for node in new}
        kept = {node: result for node, result in load_results(path).items() if function_of(node) not in ran}
        merged = kept | new
        tests = {
            node: {"outcome": result.outcome, "requirements": list(result.requirements)}
            for node, result in sorted(merged.items())
        }
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"tests": tests}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(path)
