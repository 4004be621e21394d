"""The TypeScript client: made of the document as it is now, right before a server that answers oddly, and typed."""

import shutil
from pathlib import Path

import pytest

from tests.support.programs import CLIENTS, needs_clients, needs_node, told
from tests.traceability.catalogue import ROOT
from tests.traceability.client import FOLDER, files

DOCUMENT = ROOT / "schemas" / "openapi" / "work.yaml"
USE = """
import { AtlasError, createAtlasClient } from "@atlas/client";
const atlas = createAtlasClient({ baseUrl: "http://127.0.0.1", getAccessToken: async () => null });
const task = await atlas.tasks.create({ projectId: "prj_1", title: "Review", priority: "HIGH" });
const titles: string[] = (await atlas.tasks.list({ limit: 50 })).items.map((one) => one.title);
const gone: null = await atlas.tasks.delete(task.id, { ifMatch: task.version });
const secret: string = (await atlas.webhooks.create({ url: "https://x.example", events: ["task.created"] })).secret;
const code: string | null = new AtlasError(new Response(), {}).code;
console.log(titles, gone, secret, code);
"""
OPTIONS = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable"]


@pytest.mark.requirement("W-059")
def test_its_operations_are_the_documents() -> None:
    assert {name: (FOLDER / name).read_text(encoding="utf-8") for name in files()} == files(), "make docs"


@needs_node
@pytest.mark.requirement("W-059", "W-060")
async def test_it_repeats_what_is_safe_and_tells_what_is_refused() -> None:
    code, said = await told("node", "--test", "test/client.test.mjs", cwd=FOLDER)
    assert code == 0, said


@needs_clients
@pytest.mark.requirement("W-059", "W-061")
async def test_its_types_are_the_documents_and_refuse_what_is_wrong(tmp_path: Path) -> None:
    code, said = await told(CLIENTS / "openapi-typescript", DOCUMENT, "-o", tmp_path / "openapi.d.ts", cwd=tmp_path)
    assert code == 0, said
    written = (FOLDER / "openapi.d.ts").read_text(encoding="utf-8")
    assert (tmp_path / "openapi.d.ts").read_text(encoding="utf-8") == written, "make client-types"
    shutil.copytree(FOLDER, tmp_path / "node_modules" / "@atlas" / "client")
    (tmp_path / "use.mts").write_text(USE, encoding="utf-8")
    code, said = await told(CLIENTS / "tsc", *OPTIONS, "use.mts", cwd=tmp_path)
    assert code == 0, said
    (tmp_path / "use.mts").write_text(USE.replace('"HIGH"', '"SOON"'), encoding="utf-8")
    code, said = await told(CLIENTS / "tsc", *OPTIONS, "use.mts", cwd=tmp_path)
    assert code != 0 and "SOON" in said
