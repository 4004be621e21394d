"""Code samples under Node: the document's two, as they stand, and our own, against the surface.

The document's are read from where the documents lie, when they are there. Their edits are those of the
documents' samples: base URL, key and the org's id. The line numbers at the start of each line are not part of
the code, and TypeScript's types are none that Node runs. (The `})` that is called stray there is none: it parses.)
"""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from yarl import URL

from domain.delivery.bodies import content_for
from domain.delivery.signatures import callers_standard_key
from processors.delivery.http_client import HttpEndpoint, Post, SignatureStyle, signed_headers
from tests.support.outside import DOCUMENTS, outside, why_skipped
from tests.support.spine_surface import ORG, WORKSPACE, SpineSurface

DOCUMENT = outside(DOCUMENTS, "002_*.txt")
OURS = Path(__file__).parents[2] / "clients" / "spine"
SECRET = "whsec_xxxxxxxx"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed here")


async def node(*arguments: str, stdin: bytes = b"", **env: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "node",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **env},
    )
    out, complaint = await process.communicate(stdin)
    assert process.returncode == 0, complaint.decode()
    return out.decode()


def sample(first: str, last: str) -> str:
    """The lines of the document from the one that has `first` to the next that has `last`, without their numbers."""
    if DOCUMENT is None:
        pytest.skip(why_skipped(DOCUMENTS, "the APIs' documents are"))
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    begin = next(index for index, line in enumerate(lines) if first in line)
    end = next(index for index, line in enumerate(lines) if index > begin and last in line)
    return "\n".join(re.sub(r"^\d+", "", line) for line in lines[begin : end + 1])


@pytest.mark.requirement("S-002", "S-011", "S-012", "X-38")
async def test_the_documents_publish_sample_runs_as_it_stands(spine: SpineSurface, tmp_path: Path) -> None:
    code = sample("const response = await fetch('https://api.your-domain.com/v1/events', {", "await response.json();")
    edits = (("https://api.your-domain.com", spine.url), ("YOUR_API_KEY", spine.tokens["live"]), ("org_xyz", ORG))
    for written, meant in edits:
        assert code.count(written) == 1
        code = code.replace(written, meant)
    script = tmp_path / "publish-event.mjs"
    script.write_text(code + "\nconsole.log(JSON.stringify(result));\n")
    result = json.loads(await node(str(script)))
    assert (result["status"], result["type"]) == ("published", "code.analysis.complete")


@pytest.mark.requirement("S-035", "X-40")
async def test_the_documents_verify_sample_accepts_what_is_delivered(spine: SpineSurface, tmp_path: Path) -> None:
    code = sample("import crypto from 'crypto';", "12}")
    assert "function verifySignature(body: string, header: string, secret: string): boolean {" in code
    script = tmp_path / "verify.mjs"
    call = "verifySignature(fs.readFileSync(0, 'utf8'), process.env.SIGNATURE, process.env.SECRET)"
    script.write_text(f"import fs from 'fs';\n{re.sub(r': (string|boolean)', '', code)}\nconsole.log({call});\n")
    body, signature = await delivered(spine)
    assert await node(str(script), stdin=body, SIGNATURE=signature, SECRET=SECRET) == "true\n"
    assert await node(str(script), stdin=body + b" ", SIGNATURE=signature, SECRET=SECRET) == "false\n"


@pytest.mark.requirement("S-004", "S-035")
async def test_our_own_samples_run(spine: SpineSurface) -> None:
    body, signature = await delivered(spine)
    key = spine.tokens["live"]
    published = json.loads(await node(str(OURS / "publish.mjs"), ATLAS_URL=spine.url, ATLAS_KEY=key))
    assert published["workflowsTriggered"] == 1
    for given, is_genuine in ((signature, "true\n"), ("sha256=00", "false\n")):
        assert await node(str(OURS / "verify.mjs"), stdin=body, SIGNATURE=given, SECRET=SECRET) == is_genuine


async def delivered(spine: SpineSurface) -> tuple[bytes, str]:
    """Body and `X-Signature` of what delivery sends to a subscription for an event."""
    subscription = {"eventTypes": ["code.*"], "webhookUrl": "https://acme.example.com/", "secret": SECRET}
    await spine.request("POST", "/v1/events/subscriptions", json.dumps(subscription).encode())
    await spine.publish(b'{"type":"code.probe","source":"tests","data":{"note":"caf\xc3\xa9"}}')
    (target,) = spine.control.view.subscriptions_of(WORKSPACE, "live", "spine")
    body = content_for(target, spine.deliveries[-1]).body
    endpoint = HttpEndpoint(URL(target.url), SECRET, callers_standard_key(SECRET), style=SignatureStyle.SPINE)
    return body, signed_headers(endpoint, Post("dlv_1", 1, body), 1)["X-Signature"]
