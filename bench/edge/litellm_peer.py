"""LiteLLM's proxy, for comparison: no dependency of Atlas, so its packages, each with its hash, go into an environment
of its own under .cache.

It runs without a database: its client for one needs Prisma's engine, a program that no package index has. Two of its
budgets work so: the provider's (`provider_budget_config`), and a key's, which a `custom_auth` of the bench gives each
key; with `custom_auth_run_common_checks` that is the very check, and since 2026 the reservation, that a key out of its
database gets. What settles a reservation it only sets up with a database, so the bench does as it would.
"""

import hashlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.edge.load import Way
from tests.support.ports import free_port

LOCK = Path(__file__).with_name("litellm.lock")
VENV = Path(__file__).parents[2] / ".cache" / "bench-litellm"
START_SECONDS = 120.0
MASTER = "sk-bench-litellm"
CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "{stub}/v1", api_key: sk-bench}}
litellm_settings: {{telemetry: false, num_retries: 0, set_verbose: false, callbacks: [{callbacks}]}}
"""
MASTER_KEY = f"general_settings: {{master_key: {MASTER}}}\n"
PROVIDERS_BUDGET = """\
router_settings:
  num_retries: 0
  provider_budget_config:
    openai: {{budget_limit: {usd:.9f}, time_period: 1d}}
"""
KEYS_BUDGET = f"""\
general_settings: {{master_key: {MASTER}, custom_auth: budgeted.authenticate, custom_auth_run_common_checks: true}}
"""
CUSTOM_AUTH = """\
from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.hooks.proxy_track_cost_callback import _ProxyDBLogger

settling = _ProxyDBLogger()


async def authenticate(request, api_key):
    return UserAPIKeyAuth(api_key=api_key, max_budget={usd:.9f})
"""


class Budget(StrEnum):
    """Which of its budgets is to hold."""

    PROVIDER = "provider"
    KEY = "key"


class Peer(NamedTuple):
    way: Way
    process: psutil.Process


def installed() -> Path | None:
    """Its Python; None, and a word, where it can't be installed."""
    python = VENV / "bin" / "python"
    done = VENV / "installed"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if done.exists() and done.read_text() == wanted:
        return python
    print("bench: installing LiteLLM for comparison (hashes checked)", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", str(LOCK)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"bench: LiteLLM can't be installed here, so it is left out: {error}", file=sys.stderr)
        return None
    done.write_text(wanted)
    return python


@contextmanager
def proxy(
    python: Path, directory: Path, stub: str, budget: Budget | None = None, budget_usd: float = 0.0
) -> Iterator[Peer]:
    """Its proxy with one worker, ready; its log stands in `directory`."""
    port = free_port()
    config = directory / f"litellm-{port}.yaml"
    more = KEYS_BUDGET if budget is Budget.KEY else MASTER_KEY
    if budget is Budget.PROVIDER:
        more += PROVIDERS_BUDGET.format(usd=budget_usd)
    callbacks = "budgeted.settling" if budget is Budget.KEY else ""
    config.write_text(CONFIG.format(stub=stub, callbacks=callbacks) + more)
    (directory / "budgeted.py").write_text(CUSTOM_AUTH.format(usd=budget_usd))
    command = [str(python.with_name("litellm")), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    with (directory / f"litellm-{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--num_workers", "1"], env=env, cwd=directory, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_until_ready(process, port, Path(log.name))
            way = Way(f"http://127.0.0.1:{port}/v1/chat/completions", {"Authorization": f"Bearer {MASTER}"})
            yield Peer(way, psutil.Process(process.pid))
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=2).close()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise RuntimeError("LiteLLM's proxy does not start: " + log.read_text(errors="replace")[-2_000:])
