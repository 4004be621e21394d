"""The surface's documents as they are served, and other people's tools that use them: Redocly, newman, Schemathesis."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from ingest_gateway.surfaces.contract import load_document
from tests.support.openai_server import openai_server
from tests.support.openapi import breaches, resolve
from tests.support.work_installation import WorkInstallation, WorkSurface

CLIENTS = Path(__file__).parents[2] / "clients"
TOOLS = CLIENTS / "node_modules" / ".bin"
NAME = "/v1/atlas-public-api"
PLAN = json.dumps({"tasks": [{"title": "Collect"}]})
needs_tools = pytest.mark.skipif(
    shutil.which("node") is None or not TOOLS.exists(), reason="tests/clients is not installed: make clients"
)


async def told(*command: object, cwd: Path) -> tuple[int, str]:
    """A program's exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


@pytest.mark.requirement("W-001", "W-002", "W-005", "W-007", "W-008")
async def test_downloads_and_the_reference(work: WorkSurface) -> None:
    served = await work.ask("GET", "/v1/openapi.json", key=None)
    assert served.json == {**load_document("work"), "servers": [{"url": work.url}]}
    for kind, content in (("openapi", served.json), ("postman_collection", None), ("postman_environment", None)):
        download = await work.ask("GET", f"{NAME}.{kind}.json", key=None)
        assert download.status == 200 and download.headers["Content-Type"] == "application/json"
        name = f"atlas-public-api.{kind}.json"
        assert download.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert content is None or download.json == content
    known = {"If-None-Match": served.headers["ETag"]}
    assert (await work.ask("GET", "/v1/openapi.json", key=None, headers=known)).status == 304
    page = await work.ask("GET", "/v1/docs", key=None)
    assert b'spec-url="openapi.json"' in page.body and b'src="http' not in page.body
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    for coding in ("gzip", "identity"):
        headers = {"Accept-Encoding": coding}
        script = await work.ask("GET", "/v1/docs/redoc.standalone.js", key=None, headers=headers)
        assert script.status == 200 and b"Redoc" in script.body


@pytest.mark.requirement("W-023")
async def test_every_answer_is_as_the_document_says(work: WorkSurface) -> None:
    """Of each operation, asked with nothing right: the status is in the document and the problem fits its schema."""
    document = load_document("work")
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post", "patch", "delete"}:
            where = path.replace("{", "").replace("}", "")
            for key in (None, "read_only_pat", "session"):
                answer = await work.ask(method.upper(), where, {} if method in ("post", "patch") else None, key=key)
                responses = item[method]["responses"]
                assert str(answer.status) in responses, f"{method} {path}: {answer.status}"
                content = resolve(document, responses[str(answer.status)]).get("content", {})
                if answer.body:
                    (schema,) = (media["schema"] for media in content.values())
                    assert list(breaches(document, schema, answer.json)) == []


@needs_tools
@pytest.mark.requirement("W-002")
async def test_redocly_finds_no_error(work: WorkSurface, tmp_path: Path) -> None:
    (tmp_path / "openapi.json").write_bytes((await work.ask("GET", "/v1/openapi.json", key=None)).body)
    (tmp_path / "redocly.yaml").write_text("extends: [recommended]\ntelemetry: off\n")
    code, said = await told(TOOLS / "redocly", "lint", "openapi.json", cwd=tmp_path)
    assert code == 0, said


@needs_tools
@pytest.mark.requirement("W-004", "W-005", "W-006", "W-022")
async def test_newman_runs_the_collection(installation: WorkInstallation, tmp_path: Path) -> None:
    """With the environment as it is downloaded, tokens put in: every request is answered with a 2xx."""
    async with openai_server() as model:
        model.says = [PLAN]
        env = {"ATLAS_LLM_BASE_URL": model.url, "ATLAS_SURFACES": "work"}
        async with installation.surface(**env) as work:
            collection = (await work.ask("GET", f"{NAME}.postman_collection.json", key=None)).body
            environment = (await work.ask("GET", f"{NAME}.postman_environment.json", key=None)).json
            tokens = {"apiKey": work.keys["pat"], "sessionToken": work.a_session()}
            for value in environment["values"]:
                value["value"] = tokens.get(value["key"], value["value"])
            (tmp_path / "collection.json").write_bytes(collection)
            (tmp_path / "environment.json").write_text(json.dumps(environment))
            report = ["--reporters", "json", "--reporter-json-export", "report.json"]
            code, said = await told(
                TOOLS / "newman", "run", "collection.json", "-e", "environment.json", *report, cwd=tmp_path
            )
            assert code == 0, said
    executions = json.loads((tmp_path / "report.json").read_text())["run"]["executions"]
    answered = {one["item"]["name"]: one["response"]["code"] for one in executions if "response" in one}
    assert {name: code for name, code in answered.items() if not 200 <= code < 300} == {}
    assert len(answered) == len([path for item in load_document("work")["paths"].values() for path in _methods(item)])


def _methods(item: dict[str, object]) -> list[str]:
    return [name for name in item if name in ("get", "post", "put", "patch", "delete")]
