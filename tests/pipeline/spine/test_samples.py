"""Code samples under Node: the document's two, as they stand, and our own, against a run of everything.

The document's are read from where the documents lie, when they are there. Their edits are the ones that DECISIONS name
(Samples of the documents): base URL, key and the org's id. The line numbers at the start of each line are not part of
the code, and TypeScript's types are none that Node runs. (The `})` that is called stray there is none: it parses.)
"""

import asyncio
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.pipeline.spine.test_story import matched, requests
from tests.support.receiver import Receiver
from tests.support.spine_installation import Spine

SEEDS = sorted((Path(__file__).parents[4] / "shared" / "seeds").glob("002_*.txt"))
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
    if not SEEDS:
        pytest.skip("the documents are not here")
    lines = SEEDS[0].read_text(encoding="utf-8").splitlines()
    begin = next(index for index, line in enumerate(lines) if first in line)
    end = next(index for index, line in enumerate(lines) if index > begin and last in line)
    return "\n".join(re.sub(r"^\d+", "", line) for line in lines[begin : end + 1])


@pytest.mark.requirement("S-002", "S-011", "S-012", "X-38")
async def test_the_documents_publish_sample_runs_as_it_stands(spine: Spine, tmp_path: Path) -> None:
    code = sample("const response = await fetch('https://api.your-domain.com/v1/events', {", "await response.json();")
    for written, meant in (
        ("https://api.your-domain.com", spine.url),
        ("YOUR_API_KEY", spine.key),
        ("org_xyz", spine.org),
    ):
        assert code.count(written) == 1
        code = code.replace(written, meant)
    script = tmp_path / "publish-event.mjs"
    script.write_text(code + "\nconsole.log(JSON.stringify(result));\n")
    result = json.loads(await node(str(script)))
    assert (result["status"], result["type"]) == ("published", "code.analysis.complete")


@pytest.mark.requirement("S-035", "X-40")
async def test_the_documents_verify_sample_accepts_what_is_delivered(
    spine: Spine, receiver: Receiver, tmp_path: Path
) -> None:
    code = sample("import crypto from 'crypto';", "12}")
    assert "function verifySignature(body: string, header: string, secret: string): boolean {" in code
    script = tmp_path / "verify.mjs"
    call = "verifySignature(fs.readFileSync(0, 'utf8'), process.env.SIGNATURE, process.env.SECRET)"
    script.write_text(f"import fs from 'fs';\n{re.sub(r': (string|boolean)', '', code)}\nconsole.log({call});\n")
    await spine.subscribe(receiver.url + "/hook", "code.*", secret=SECRET)
    await matched(spine, "code.analysis.complete", 1)
    (sent, *_) = await requests(receiver, 1)
    signature = sent.headers["x-signature"]
    assert await node(str(script), stdin=sent.body, SIGNATURE=signature, SECRET=SECRET) == "true\n"
    assert await node(str(script), stdin=sent.body + b" ", SIGNATURE=signature, SECRET=SECRET) == "false\n"


@pytest.mark.requirement("S-004", "S-035")
async def test_our_own_samples_run(spine: Spine, receiver: Receiver) -> None:
    await spine.subscribe(receiver.url + "/hook", "code.*", secret=SECRET)
    await matched(spine, "code.probe", 1)
    published = json.loads(await node(str(OURS / "publish.mjs"), ATLAS_URL=spine.url, ATLAS_KEY=spine.key))
    assert published["workflowsTriggered"] == 1
    found = [one for one in await requests(receiver, 2) if published["eventId"].encode() in one.body]
    verify = str(OURS / "verify.mjs")
    for signature, is_genuine in ((found[0].headers["x-signature"], "true\n"), ("sha256=00", "false\n")):
        assert await node(verify, stdin=found[0].body, SIGNATURE=signature, SECRET=SECRET) == is_genuine
