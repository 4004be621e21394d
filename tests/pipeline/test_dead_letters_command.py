"""`atlas dead-letters`: what was set aside, as whoever is called at night asks for it."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import dead_letters
from cli.main import main
from schemas.records import DeadLetter
from schemas.topics import Topic
from tests.support.kafka_topics import ensure_base_topics, produce
from tests.support.ports import free_port

AT_MS = 1_700_000_000_000


def run(kafka: str, home: Path, *arguments: str) -> Result:
    env = {"ATLAS_KAFKA": kafka, "ATLAS_MASTER_KEY": "ab" * 32, "ATLAS_HOME": str(home)}
    return CliRunner(env=env).invoke(main, ["dead-letters", *arguments])


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def topic(kafka: str) -> str:
    """Four records of one topic, the third of them not UTF-8."""
    ensure_base_topics(kafka)
    name = f"events.ws_{uuid.uuid4().hex[:10]}.live.orders"
    for number, (reason, value) in enumerate(
        [("invalid", b"{}"), ("unreadable", b"\xc3\x01"), ("invalid", b"\xff"), ("empty_value", None)]
    ):
        letter = DeadLetter(
            id=f"dl_{number}",
            topic=name,
            partition=0,
            offset=number,
            timestamp_ms=AT_MS + number,
            reason=reason,
            message=f"sentence {number}",
            key=b"k",
            value=value,
            value_bytes=len(value or b""),
        )
        produce(kafka, Topic.DEAD_LETTERS, letter.encode(), partition=number % 3)
    return name


def test_the_newest_are_shown_last_with_place_and_reason_and_without_content(
    kafka: str, topic: str, tmp_path: Path
) -> None:
    shown = lines(run(kafka, tmp_path, "--topic", topic, "--last", "3"))
    assert [(one["offset"], one["reason"], one["message"]) for one in shown] == [
        (1, "unreadable", "sentence 1"),
        (2, "invalid", "sentence 2"),
        (3, "empty_value", "sentence 3"),
    ]
    assert (shown[0]["at"], shown[0]["topic"], shown[0]["value_bytes"]) == ("2023-11-14T22:13:20.001Z", topic, 2)
    assert not any({"key", "value"} & one.keys() for one in shown)


def test_one_reason_with_what_the_records_held(kafka: str, topic: str, tmp_path: Path) -> None:
    shown = lines(run(kafka, tmp_path, "--topic", topic, "--reason", "invalid", "--content"))
    assert [(one["key"], one["value"]) for one in shown] == [("k", "{}"), ("k", "base64:/w==")]
    assert lines(run(kafka, tmp_path, "--topic", topic, "--reason", "poisoned")) == []


def test_a_broker_that_is_away_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "KAFKA_SECONDS", 0.5)
    result = run(f"127.0.0.1:{free_port()}", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: dead-letters can't be read: ") and result.stderr.count("\n") == 1
