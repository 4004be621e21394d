"""The fake runtime has what the interface for agents has, as the real one does: mypy holds only the real one to it."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from operations.settings import Settings
from processors.runtime.agent import AgentRuntime, Control
from processors.runtime.outputs import Outputs
from processors.runtime.runtime import Runtime
from tests.support.fake_runtime import ConfirmedLog, FakeRuntime, MemoryControl, MemoryOutputs


def members(protocol: type[Any]) -> dict[str, Any]:
    return {name: member for name, member in vars(protocol).items() if not name.startswith("_")}


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()][1:]


@pytest.mark.parametrize(
    ("protocol", "made"),
    [
        (AgentRuntime, lambda directory: FakeRuntime(directory)),
        (Control, lambda directory: MemoryControl()),
        (Outputs, lambda directory: MemoryOutputs(ConfirmedLog())),
    ],
    ids=["AgentRuntime", "Control", "Outputs"],
)
def test_a_fake_has_every_member_with_the_same_parameters(protocol: type[Any], made: Any, tmp_path: Path) -> None:
    fake = made(tmp_path)
    found = members(protocol)
    assert len(found) >= 4
    for name, member in found.items():
        assert hasattr(fake, name), name
        if inspect.isfunction(member):
            assert parameters(getattr(type(fake), name)) == parameters(member), name
            assert inspect.iscoroutinefunction(getattr(type(fake), name)) == inspect.iscoroutinefunction(member), name


async def test_the_real_one_has_them_with_their_contracts_written_in_one_place(tmp_path: Path) -> None:
    settings = Settings.from_env(
        {"ATLAS_MASTER_KEY": "07" * 32, "ATLAS_HOME": str(tmp_path), "ATLAS_KAFKA": "127.0.0.1:1"}
    )
    runtime = Runtime(settings, "test")
    for name, member in members(AgentRuntime).items():
        assert hasattr(runtime, name), name
        assert len(inspect.getdoc(member) or "") > 20, f"{name} has a contract"
    await runtime.outbox.stop()
