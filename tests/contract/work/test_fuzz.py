"""Schemathesis against each surface: no 5xx, no undocumented status, no answer that breaks its schema."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest_gateway.surfaces.burn.app import BURN
from ingest_gateway.surfaces.events.app import EVENTS
from ingest_gateway.surfaces.spine.app import SPINE
from ingest_gateway.surfaces.surface import Surface
from ingest_gateway.surfaces.work.app import WORK
from tests.contract.work.test_documents import told
from tests.support.work_installation import WorkInstallation, WorkSurface

EXAMPLES = os.environ.get("ATLAS_FUZZ_EXAMPLES", "3")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
LEFT_OUT = "^/v1/(ai/.*|traces|events/stream)$"
"""Without a model AI says 503, as it should; Schemathesis can't write protobuf; a live stream doesn't end."""
SURFACES = os.environ.get("ATLAS_FUZZ_SURFACES", "work").split(",")
"""`make fuzz` asks all."""
BEARER = "Authorization: Bearer "
ALL: list[tuple[Surface, Callable[[WorkSurface], str]]] = [
    (WORK, lambda work: BEARER + work.a_session()),
    (EVENTS, lambda work: BEARER + work.keys["live"]),
    (SPINE, lambda work: BEARER + work.keys["spine"]),
    (BURN, lambda work: "AtlasBurn-API-Key: " + work.keys["burn"]),
]
CREDENTIALS = [one for one in ALL if one[0].name in SURFACES]


@pytest.mark.requirement("W-023", "W-002")
@pytest.mark.parametrize(("surface", "credential"), CREDENTIALS, ids=[surface.name for surface, _ in CREDENTIALS])
async def test_schemathesis_finds_nothing(
    installation: WorkInstallation, tmp_path: Path, surface: Surface, credential: Callable[[WorkSurface], str]
) -> None:
    async with installation.surface(surfaces=(surface,), ATLAS_READ_TIMEOUT_SECONDS="2") as running:
        code, said = await told(
            *(Path(sys.executable).parent / "schemathesis", "run", f"{running.url}/v1/openapi.json"),
            *("--header", credential(running), "--checks", CHECKS),
            *("--max-examples", EXAMPLES, "--phases", "examples,fuzzing", "--exclude-path-regex", LEFT_OUT),
            *("--workers", "1", "--no-color", "--seed", "1"),
            cwd=tmp_path,
        )
    assert code == 0, said[-6_000:]
