"""`atlas status` where processes are started by hand: it asks Kafka, and the operations ports that it is given."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main as atlas
from deploy.local.broker import Broker
from tests.support.kafka_topics import a_stream_topic, produce
from tests.support.ports import free_port
from tests.support.worker import Worker

NOTHING_SET = {"ATLAS_MASTER_KEY": None, "ATLAS_STATUS_TARGETS": None}


def status(kafka: str, home: Path, *arguments: str) -> Result:
    env = {**NOTHING_SET, "ATLAS_HOME": str(home / "nothing"), "ATLAS_KAFKA": kafka}
    return CliRunner().invoke(atlas, ["status", *arguments], env=env)


def test_an_installation_is_seen_through_its_kafka(own_broker: Broker, tmp_path: Path) -> None:
    before = status(own_broker.bootstrap, tmp_path)
    assert before.exit_code == 1 and "missing: admission, decisions" in before.output

    control = Worker("control", own_broker.bootstrap, tmp_path)
    control.start_until_ready()
    try:
        port, silent = f"127.0.0.1:{control.operations_port}", f"127.0.0.1:{free_port()}"
        running = status(own_broker.bootstrap, tmp_path, "--operations", port, "--operations", silent)
        lines = {tuple(line.split()[:2]): line for line in running.output.splitlines()}
        assert running.exit_code == 1, "the others do not run"
        assert "1 members" in lines["control", "stable"] and ("admission", "none") in lines
        assert lines["process", port].endswith("ready") and "no answer" in lines["process", silent]
        assert "unread" not in running.output

        orders = a_stream_topic(own_broker.bootstrap)
        produce(own_broker.bootstrap, orders, b"{}")
        unread = status(own_broker.bootstrap, tmp_path).output.splitlines()[-1]
        assert unread.split()[:4] == ["unread", orders, "1", "records:"] and "create the stream, or delete" in unread
        told = json.loads(status(own_broker.bootstrap, tmp_path, "--json", "--operations", port).stdout)
        (without,) = told["unread_topics"]
        assert (without["topic"], without["records"]) == (orders, 1) and "create the stream" in without["what_to_do"]
        assert told["processes"] == [{"name": "process", "address": port, "missing": None}] and not told["well"]
        groups = {group["name"]: group for group in told["kafka"]["groups"]}
        assert groups["control"]["members"] == 1 and groups["admission"]["state"] == "none"

        assert control.stop() == 0
        stopped = status(own_broker.bootstrap, tmp_path).output
        assert "0 members" in stopped.split("control")[-1].splitlines()[0], "it left its group"
    finally:
        control.kill()


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["keys", "list", "--workspace", "ws_1"],
        ["limits", "show", "ws_1"],
        ["dead-letters"],
        ["export", "--workspace", "ws_1", "--stream", "orders", "--out", "nowhere.ndjson"],
        ["verify"],
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_a_kafka_that_is_away_is_told_in_a_sentence(command: list[str], tmp_path: Path) -> None:
    env = {"ATLAS_HOME": str(tmp_path), "ATLAS_KAFKA": f"127.0.0.1:{free_port()}", "ATLAS_MASTER_KEY": "0" * 64}
    result = CliRunner().invoke(atlas, command, env=env)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "answer" in result.output or "can't be read" in result.output
    assert "Traceback" not in result.output and len(result.output.splitlines()) <= 4
