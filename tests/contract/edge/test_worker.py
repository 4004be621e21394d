"""The edge proxy as a Cloudflare Worker (deploy/edge-worker): its own tests, and what both must agree on."""

import hmac
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from domain.guardrails.prices import cost_of
from domain.security.api_tokens import TokenHasher, mint_token
from ingest_gateway.surfaces.burn.edge.endpoints import Dialect
from ingest_gateway.surfaces.burn.edge.inspection import inspect
from ingest_gateway.surfaces.burn.edge.providers import ProviderTarget
from ingest_gateway.surfaces.burn.forms import call_of, read_calls
from schemas.entities import KeyKind
from schemas.telemetry import UsageFrom
from tests.support.worker import ROOT
from tests.traceability import edge_worker

WORKER = ROOT / "deploy" / "edge-worker"
VECTORS = json.loads((WORKER / "test" / "fingerprints.json").read_text())
MASTER_KEY = bytes(range(32))


def _node_version() -> int:
    """The major one; 0 where there is none."""
    if shutil.which("node") is None:
        return 0
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.removeprefix("v").partition(".")[0])


@pytest.mark.requirement("B-027", "B-030", "B-041", "B-042", "B-047", "B-059", "L1", "L6")
@pytest.mark.timeout(300)
def test_the_worker_under_miniflare() -> None:
    """`make test` installs what it needs where there are npm and a registry."""
    npm = shutil.which("npm")
    if npm is None or _node_version() < 20 or not (WORKER / "node_modules" / ".installed").exists():
        pytest.skip("needs Node.js 20 and deploy/edge-worker's packages: make test-edge-worker")
    ran = subprocess.run([npm, "test"], cwd=WORKER, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stdout[-6_000:] + ran.stderr[-2_000:]


@pytest.mark.requirement("B-034")
@pytest.mark.parametrize("vector", VECTORS, ids=[vector["body"][:40] for vector in VECTORS])
def test_a_question_has_one_fingerprint_whichever_way_it_goes(vector: dict[str, str]) -> None:
    """The Worker's tests read the same file."""
    target = ProviderTarget("http://provider/v1/chat/completions", "/chat/completions")
    assert inspect(vector["body"].encode(), target, Dialect.OPENAI).fingerprint == vector["fingerprint"]


@pytest.mark.requirement("B-057", "B-087")
def test_the_workers_secret_is_what_keys_are_hashed_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path))
    monkeypatch.setenv("ATLAS_MASTER_KEY", MASTER_KEY.hex())
    printed = CliRunner().invoke(main, ["edge-worker-secret"])
    assert printed.exit_code == 0, printed.output
    token = mint_token(MASTER_KEY, KeyKind.ORG, "live", "key_1")
    hashed = hmac.digest(bytes.fromhex(printed.output.strip()), token.encode(), "sha256").hex()
    assert hashed == TokenHasher(MASTER_KEY).hash(token)
    assert MASTER_KEY.hex() not in printed.output


@pytest.mark.requirement("B-044")
def test_it_forwards_what_the_gateway_does() -> None:
    assert edge_worker.FILE.read_text(encoding="utf-8") == edge_worker.content(), "make docs writes it"


def test_the_lock_names_no_host() -> None:
    lock = json.loads((WORKER / "package-lock.json").read_text())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
    assert os.access(WORKER / "wrangler.toml", os.R_OK)


@pytest.mark.requirement("B-059")
@pytest.mark.parametrize(("estimated", "usage"), [(True, UsageFrom.ESTIMATED), (False, UsageFrom.REPORTED)])
def test_what_the_worker_tells_is_taken(estimated: bool, usage: UsageFrom) -> None:
    """Its own event, as its `tell` writes it."""
    told = {
        **{"ts": "2026-05-18T12:34:56.789Z", "event_id": "0b7d", "provider": "openai", "model": "gpt-4o"},
        **{"endpoint": "/chat/completions", "status": 200, "tokens_in": 9, "tokens_out": 5, "cached_tokens": 0},
        **{"cache_write_tokens": 4, "cache_write_1h_tokens": 1},
        **{"estimated": estimated, "latency_ms": 12, "fingerprint": VECTORS[0]["fingerprint"], "stream": True},
    }
    [(_index, call)], rejected = read_calls(json.dumps({"events": [told]}).encode())
    assert rejected == []
    counted = call_of(call, "key_1", 1_779_107_696_789)
    assert counted is not None and (counted.usage, counted.tokens_out) == (usage, 5)
    assert counted.cost_nano == cost_of("gpt-4o", 9, 5, written_tokens=3, written_long_tokens=1).nano
