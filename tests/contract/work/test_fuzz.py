"""Schemathesis against each surface: no 5xx, no undocumented status, no answer that breaks its schema."""

import json
import os
import sys
from pathlib import Path

import pytest

from ingest_gateway.surfaces.burn.app import BURN
from ingest_gateway.surfaces.surface import Surface
from ingest_gateway.surfaces.work.app import WORK
from tests.support.four_surfaces import ALL, KEYS
from tests.support.openai_server import openai_server
from tests.support.programs import told
from tests.support.work_installation import WorkInstallation
from tests.support.worker import ROOT

EXAMPLES = os.environ.get("ATLAS_FUZZ_EXAMPLES", "3")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
LEFT_OUT = "^/v1/events/stream$"
"""A live stream doesn't end."""
HOOKS = {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
OPTIONS = (
    *("--checks", CHECKS, "--max-examples", EXAMPLES, "--phases", "examples,fuzzing", "--workers", "1"),
    *("--generation-with-security-parameters", "false", "--exclude-path-regex", LEFT_OUT),
    *("--seed", "1", "--generation-database", "none", "--no-color"),
)
"""Bad credentials from one address are counted, and soon answered with 429 alone; test_errors.py has them."""


@pytest.mark.timeout(300)
@pytest.mark.requirement("W-023", "W-002")
@pytest.mark.parametrize("surface", ALL, ids=lambda surface: surface.name)
async def test_schemathesis_finds_nothing(installation: WorkInstallation, tmp_path: Path, surface: Surface) -> None:
    async with openai_server() as model:
        model.says = [json.dumps({"tasks": [{"title": "Collect"}]})]
        env = {"ATLAS_LLM_BASE_URL": model.url, "ATLAS_SURFACES": surface.name, "ATLAS_READ_TIMEOUT_SECONDS": "2"}
        async with installation.surface((surface,), **env) as running:
            url = f"{running.url}/v1/openapi.json"
            key = running.a_session() if surface is WORK else running.keys[KEYS[surface.name]]
            header = f"AtlasBurn-API-Key: {key}" if surface is BURN else f"Authorization: Bearer {key}"
            command = (Path(sys.executable).parent / "schemathesis", "run", url, "--header", header)
            code, said = await told(*command, *OPTIONS, cwd=tmp_path, env=HOOKS)
    assert code == 0, said[-6_000:]
