"""A change that would break clients raises the document's version (W-009)."""

import copy
from typing import Any

import pytest

from ingest_gateway.surfaces.shared.contract import load_document
from tests.traceability.promises import SURFACES, broken, kept, promises_of

BREAK_HINT = "raise the document's info.version, say it in CHANGELOG.md, and run `make docs`"


@pytest.mark.requirement("W-009")
@pytest.mark.parametrize("surface", SURFACES)
def test_what_was_promised_still_holds(surface: str) -> None:
    assert broken(kept(surface), promises_of(surface, load_document(surface))) == [], BREAK_HINT


def changed(path: str, value: Any) -> dict[str, Any]:
    """The work document with something else at the path; None: without it."""
    document: Any = copy.deepcopy(load_document("work"))
    at, (*steps, last) = document, path.split("|")
    for step in steps:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return dict(document)


@pytest.mark.requirement("W-009")
@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("paths|/v1/tasks|get", None, "work GET /v1/tasks 200"),
        ("components|schemas|Task|required", ["id"], "work GET /v1/tasks/{task} 200 tells title"),
        ("components|schemas|NewTask|required", ["projectId", "title", "dueOn"], "work POST /v1/tasks needs dueOn"),
    ],
)
def test_a_break_is_seen_until_the_version_is_raised(path: str, value: Any, line: str) -> None:
    before = promises_of("work", load_document("work"))
    document = changed(path, value)
    assert line in broken(before, promises_of("work", document))
    document["info"]["version"] = "2.0"
    assert broken(before, promises_of("work", document)) == []


def test_what_is_added_breaks_nobody() -> None:
    before = promises_of("work", load_document("work"))
    more = changed("components|schemas|Task|required", ["id", "title", "shiny"])
    assert "work GET /v1/tasks/{task} 200 tells shiny" in promises_of("work", more)
    new = copy.deepcopy(load_document("work"))
    new["paths"]["/v1/new"] = {
        "post": {"requestBody": {"content": {"application/json": {"schema": {"required": ["a"]}}}}, "responses": {}}
    }
    assert broken(before, promises_of("work", new)) == []
