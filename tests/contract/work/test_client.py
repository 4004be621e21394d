"""The TypeScript client's page, run as it stands."""

import re
from pathlib import Path

import pytest

from tests.support.programs import needs_node, told
from tests.support.work_installation import WorkSurface
from tests.traceability.client import FOLDER, install_client


@needs_node
@pytest.mark.requirement("W-059", "W-060", "W-061")
async def test_the_page_runs_as_typed(work: WorkSurface, tmp_path: Path) -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```js\n(.*?)```", page, re.S)
    (tmp_path / "program.mjs").write_text(program, encoding="utf-8")
    install_client(tmp_path)
    env = {"WORK_TOKEN": work.keys["pat"], "ATLAS_WORK_URL": work.url}
    code, said = await told("node", "program.mjs", cwd=tmp_path, env=env)
    assert (code, said.splitlines()) == (0, ["409 version_conflict", "1 IN_PROGRESS null"])
