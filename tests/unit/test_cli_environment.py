"""Commands in a terminal of their own find the development run of their home, whatever ports it was started with."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main


@pytest.mark.parametrize(
    ("run", "said", "kafka"),
    [
        (None, {}, "127.0.0.1:9092"),
        ("127.0.0.1:31010", {}, "127.0.0.1:31010"),
        ("127.0.0.1:31010", {"ATLAS_PORT_BASE": ""}, "127.0.0.1:31010"),
        ("127.0.0.1:31010", {"ATLAS_PORT_BASE": "32000"}, "127.0.0.1:32010"),
        ("127.0.0.1:31010", {"ATLAS_KAFKA": "kafka.example:9092"}, "kafka.example:9092"),
    ],
)
def test_where_a_command_looks(
    run: str | None, said: dict[str, str], kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if run is not None:
        (tmp_path / "dev.json").write_text(json.dumps({"kafka": run, "metrics": []}))
    for name in ("ATLAS_KAFKA", "ATLAS_PORT_BASE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"ATLAS_HOME": str(tmp_path), "ATLAS_MASTER_KEY": "0" * 64, **said}.items():
        monkeypatch.setenv(name, value)
    shown = CliRunner().invoke(main, ["config"])
    assert shown.exit_code == 0, shown.output
    assert dict(line.split(maxsplit=1) for line in shown.output.splitlines())["kafka"] == kafka
