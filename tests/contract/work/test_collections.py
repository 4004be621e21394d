"""Every surface's documents in other people's hands: Redocly lints the OpenAPI, newman runs the Postman collection."""

import json
from pathlib import Path

import pytest

from ingest_gateway.surfaces.documents.operations import operations_of
from ingest_gateway.surfaces.documents.postman import SWITCH
from ingest_gateway.surfaces.shared.contract import load_document
from ingest_gateway.surfaces.surface import Surface
from tests.support.four_surfaces import ALL, DOWNLOADS, KEYS
from tests.support.openai_server import openai_server
from tests.support.programs import CLIENTS, needs_clients, told
from tests.support.work_installation import WorkInstallation, WorkSurface

PLAN = json.dumps({"tasks": [{"title": "Collect"}]})
SECONDS = 60
pytestmark = needs_clients


@pytest.mark.requirement("W-002")
async def test_redocly_finds_no_error(tmp_path: Path) -> None:
    for surface in ALL:
        document = {**load_document(surface.name), "servers": [{"url": "https://atlas.example.com"}]}
        (tmp_path / f"{surface.name}.json").write_text(json.dumps(document))
    (tmp_path / "redocly.yaml").write_text("extends: [recommended]\ntelemetry: off\n")
    documents = [f"{surface.name}.json" for surface in ALL]
    code, said = await told(CLIENTS / "redocly", "lint", *documents, cwd=tmp_path)
    assert code == 0, said


@pytest.mark.requirement("W-004", "W-005", "W-006", "W-022")
@pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)
async def test_newman_runs_the_collection(installation: WorkInstallation, tmp_path: Path, surface: Surface) -> None:
    """With the environment as it is downloaded, tokens put in: every request is answered with a 2xx. Only the live
    stream, which does not end, is left out until it is asked for.
    """
    async with openai_server() as model:
        model.says = [PLAN]
        env = {"ATLAS_LLM_BASE_URL": model.url, "ATLAS_SURFACES": surface.name}
        async with installation.surface((surface,), **env) as running:
            answered = await run_collection(running, DOWNLOADS[surface.name], KEYS[surface.name], tmp_path)
    assert {name: code for name, code in answered.items() if not 200 <= code < 300} == {}
    operations = operations_of(load_document(surface.name))
    asked = [one.node["summary"] for one in operations if one.node.get(SWITCH) != "watchLive"]
    assert sorted(answered) == sorted(asked)


async def run_collection(running: WorkSurface, name: str, key: str, directory: Path) -> dict[str, int]:
    """The status of each request, by its name."""
    collection = (await running.ask("GET", f"/v1/{name}.postman_collection.json", key=None)).body
    environment = (await running.ask("GET", f"/v1/{name}.postman_environment.json", key=None)).json
    tokens = {"apiKey": running.keys[key], "sessionToken": running.a_session()}
    for value in environment["values"]:
        value["value"] = tokens.get(value["key"], value["value"])
    (directory / "collection.json").write_bytes(collection)
    (directory / "environment.json").write_text(json.dumps(environment))
    report = ("--reporters", "json", "--reporter-json-export", "report.json", "--timeout", SECONDS * 1_000)
    code, said = await told(
        CLIENTS / "newman", "run", "collection.json", "-e", "environment.json", *report, cwd=directory
    )
    assert code == 0, said
    executions = json.loads((directory / "report.json").read_text())["run"]["executions"]
    return {one["item"]["name"]: one["response"]["code"] for one in executions if "response" in one}
