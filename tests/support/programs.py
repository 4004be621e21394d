"""Other people's programs that tests run."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parents[1] / "clients" / "node_modules" / ".bin"
NODE_MIN = (20, 19)
"""What Redocly's linter asks for."""


def node_version() -> tuple[int, ...]:
    """(0,) where there is none."""
    node = shutil.which("node")
    if node is None:
        return (0,)
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(map(int, re.findall(r"\d+", said)[:2])) or (0,)


needs_node = pytest.mark.skipif(node_version() < (20,), reason="Node 20 or newer is not installed")
needs_clients = pytest.mark.skipif(
    node_version() < NODE_MIN or not (CLIENTS / "newman").exists(),
    reason="tests/clients is not installed: make clients, with Node 20.19 or newer and npm",
)


async def told(*command: object, cwd: Path, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """A program's exit code and what it said. `env`: beside what this process has."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()
