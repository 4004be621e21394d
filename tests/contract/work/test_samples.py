"""The document's own samples, as they stand there: curl, TypeScript and Node against the surface.

Edited are the base URL, the token and the project's id, and in the verification sample the `#` that TypeScript doesn't
know and its type annotations, which Node doesn't run (X-34). Skipped where the document is not at hand
(tests/support/outside.py).
"""

import asyncio
import hashlib
import hmac
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support.outside import DOCUMENTS, outside, why_skipped
from tests.support.programs import needs_node, told
from tests.support.work_installation import WorkSurface
from tests.traceability.client import install_client

DOCUMENT = outside(DOCUMENTS, "001_*.txt")
pytestmark = [
    pytest.mark.skipif(DOCUMENT is None, reason=why_skipped(DOCUMENTS, "the APIs' documents are")),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]
HOST = "https://api-atlas.wrxstack.com"


def samples(start: str) -> list[str]:
    """Each from a line that begins so to the next empty one."""
    assert DOCUMENT is not None
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.findall(rf"^({re.escape(start)}.*?)(?=\n\n)", text, re.M | re.S)


async def run(sample: str, work: WorkSurface, cwd: Path) -> tuple[int, str]:
    edited = sample.replace(HOST, work.url)
    edited = re.sub(r"atlas_pat_(REPLACE_ME|\.\.\.)", work.keys["pat"], edited)
    assert edited.count("wrxstack") == 0
    if shutil.which("uuidgen") is None:
        edited = edited.replace("$(uuidgen)", "0b6b2d0e-6e0d-4f0e-9d3c-2a1f7c55d9b1")
    process = await asyncio.create_subprocess_shell(
        edited, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, executable="/bin/bash"
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


@pytest.mark.requirement("W-021", "W-040", "W-044", "W-046", "W-049")
async def test_the_curls(work: WorkSurface, tmp_path: Path) -> None:
    project_id = await work.a_project()
    first, created = samples("curl -H"), samples("curl -X POST")
    assert first and created
    code, said = await run(created[0].replace("prj_...", project_id), work, tmp_path)
    task = json.loads(said)
    assert (code, task["title"], task["dueOn"]) == (0, "Review Q3 forecast", "2026-05-01T17:00:00Z")
    code, said = await run(first[0], work, tmp_path)
    assert code == 0 and json.loads(said) == {"items": [task], "nextCursor": None}
    page = samples("# First page")[0]
    code, said = await run(page, work, tmp_path)
    assert code == 0 and json.loads(said)["items"] == [task]


@needs_node
@pytest.mark.requirement("W-059", "W-060", "W-061")
async def test_the_client(work: WorkSurface, tmp_path: Path) -> None:
    project_id = await work.a_project()
    assert DOCUMENT is not None
    found = re.search(r"^import { createAtlasClient }.*?^}\);\n.*?^}\);$", DOCUMENT.read_text("utf-8"), re.M | re.S)
    assert found is not None
    code = found[0].replace(HOST, work.url).replace("prj_...", project_id)
    (tmp_path / "sample.mjs").write_text(code + "\nconsole.log(JSON.stringify([items, created.title]));")
    install_client(tmp_path)
    said = await told("node", "sample.mjs", cwd=tmp_path, env={"ATLAS_API_KEY": work.keys["pat"]})
    assert said == (0, '[[],"Review Q3 forecast"]\n')


@pytest.mark.requirement("W-054", "W-058", "X-34")
@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
async def test_the_verification(tmp_path: Path) -> None:
    assert DOCUMENT is not None
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(r"^# Verify the X-Atlas-Signature.*?^}$", text, re.M | re.S)
    assert found is not None
    code = found[0].replace("# Verify", "// Verify").replace(": string", "").replace(": boolean", "")
    body, secret = '{"title":"Über"}', "whsec_x"
    good = "sha256=" + hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    bad = "sha256=" + "0" * 64
    calls = "".join(
        f"\nconsole.log(verify({json.dumps(body)}, {json.dumps(header)}, {json.dumps(secret)}));"
        for header in (good, bad)
    )
    (tmp_path / "verify.mjs").write_text(code + calls)
    assert await told("node", "verify.mjs", cwd=tmp_path) == (0, "true\nfalse\n")
