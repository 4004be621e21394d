"""What ends a process, or a command, for a reason that an operator can mend is told in one line: why, and what to do.

Each row starts the real process in a surrounding that is wrong in one way.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from operations.endings import ending_of
from operations.settings import ensure_master_key
from tests.support.ports import free_port
from tests.support.programs import told
from tests.support.worker import ROOT

GATEWAY, CONTROL = ("ingest_gateway",), ("processors", "control")


async def ended(module: tuple[str, ...], folder: Path, **env: str) -> tuple[int, list[str]]:
    """The exit code of a process that ends by itself, and its lines."""
    if "ATLAS_MASTER_KEY" not in env:
        ensure_master_key(folder)
    ports = {name: str(free_port()) for name in ("ATLAS_METRICS_PORT", "ATLAS_EVENTS_PORT")}
    inherited = {name: "" for name in os.environ if name.startswith(("ATLAS_", "SCHEMA_", "DATABASE_"))}
    surrounding = {**inherited, "ATLAS_HOME": str(folder), "ATLAS_KAFKA": "127.0.0.1:1", **ports, **env}
    async with asyncio.timeout(60):
        code, said = await told(sys.executable, "-m", *module, cwd=ROOT, env=surrounding)
    return code, said.splitlines()


def the_one_line(lines: list[str]) -> dict[str, str]:
    critical = [line for line in map(json.loads, lines) if line["level"] == "critical"]
    assert len(critical) == 1 and "exception" not in critical[0], lines
    assert not any("Traceback" in line for line in lines)
    found: dict[str, str] = critical[0]
    return found


async def test_a_setting_that_cannot_be_used(tmp_path: Path) -> None:
    code, lines = await ended(GATEWAY, tmp_path, ATLAS_PARTITIONS="none", ATLAS_LOG_LEVEL="loud")
    line = the_one_line(lines)
    assert (code, line["reason"]) == (2, "settings")
    assert "ATLAS_PARTITIONS" in line["error"] and "ATLAS_LOG_LEVEL" in line["error"]


@pytest.mark.parametrize("module", [GATEWAY, CONTROL], ids=["gateway", "control"])
async def test_an_operations_port_that_is_taken(module: tuple[str, ...], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, lines = await ended(module, tmp_path, ATLAS_METRICS_PORT=port)
    line = the_one_line(lines)
    assert (code, line["reason"]) == (1, "port_in_use")
    assert port in line["error"] and line["advice"]


async def test_a_schema_registry_that_is_away(tmp_path: Path) -> None:
    code, lines = await ended(CONTROL, tmp_path, SCHEMA_REGISTRY_URL=f"http://127.0.0.1:{free_port()}")
    line = the_one_line(lines)
    assert (code, line["reason"]) == (1, "schema_registry")


@pytest.mark.parametrize("module", [GATEWAY, CONTROL], ids=["gateway", "control"])
async def test_a_certificate_that_is_none(module: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    env = {"ATLAS_KAFKA_SECURITY_PROTOCOL": "SSL", "ATLAS_KAFKA_SSL_CA": str(tmp_path / "ca.pem")}
    code, lines = await ended(module, tmp_path, **env)
    line = the_one_line(lines)
    assert (code, line["reason"]) == (1, "certificate")


async def test_an_address_that_is_not_of_this_machine(tmp_path: Path) -> None:
    code, lines = await ended(GATEWAY, tmp_path, ATLAS_HOST="192.0.2.1")
    assert (code, the_one_line(lines)["reason"]) == (1, "address")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)), "kafka_unreachable"),
        (KafkaException(KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED)), "kafka_denied"),
        (KafkaException(KafkaError(KafkaError.POLICY_VIOLATION)), "kafka_refused"),
        (OSError(28, "No space left on device"), "disk_full"),
        (RuntimeError("IO error: No space left on device: While appending to file"), "disk_full"),
        (ExceptionGroup("several", [OSError(98, "Address already in use")]), "port_in_use"),
        (KafkaException(KafkaError(KafkaError._STATE, "a client that is closed")), None),
        (ValueError("a bug"), None),
    ],
    ids=str,
)
def test_what_is_known_is_told_and_a_bug_is_not(error: Exception, reason: str | None) -> None:
    found = ending_of(error)
    assert (found and found[0].reason) == reason


def test_a_bug_that_came_up_while_another_error_was_handled_stays_a_bug() -> None:
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise TypeError("a bug")  # noqa: B904 that is the point
    except TypeError as bug:
        assert ending_of(bug) is None
