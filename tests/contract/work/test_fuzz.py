"""Schemathesis against the surface: no 5xx, no undocumented status, no answer that breaks its schema."""

import os
import sys
from pathlib import Path

import pytest

from tests.contract.work.test_documents import told
from tests.support.work_installation import WorkInstallation

EXAMPLES = os.environ.get("ATLAS_FUZZ_EXAMPLES", "5")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.mark.requirement("W-023", "W-002")
async def test_schemathesis_finds_nothing(installation: WorkInstallation, tmp_path: Path) -> None:
    """AI is left out: without a model it says 503, as it should."""
    async with installation.surface(ATLAS_READ_TIMEOUT_SECONDS="1") as work:
        code, said = await told(
            *(Path(sys.executable).parent / "schemathesis", "run", f"{work.url}/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {work.a_session()}"),
            *("--checks", CHECKS, "--max-examples", EXAMPLES, "--phases", "examples,fuzzing"),
            *("--exclude-tag", "AI", "--workers", "1", "--no-color", "--seed", "1"),
            cwd=tmp_path,
        )
    assert code == 0, said[-6_000:]
