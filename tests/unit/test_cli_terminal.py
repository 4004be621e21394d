"""What commands print of others' data is harmless to a terminal, and JSON stays what it was."""

import json

import orjson
import pytest

from cli.dead_letters import described
from cli.listen import shown
from cli.terminal import plain
from schemas.records import DeadLetter

# Harmful to a terminal or to who reads it.
HARMFUL = {
    "escape": "\x1b[2J",
    "bell": "\x07",
    "carriage return": "good\rbad",
    "delete": "\x7f",
    "C1 control sequence": "\x9b2J",
    "right to left override": "\u202egpj.exe",
    "isolate": "\u2066x\u2069",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "zero width": "a\u200bb\ufeff",
    "tag characters": "a\U000e0041b",
    "private use": "\ue000",
}


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL.keys())
def test_nothing_harmful_is_printed_and_json_stays_the_same(text: str) -> None:
    for written in (orjson.dumps({"key": text}).decode(), json.dumps({"key": text}, indent=2)):
        printed = plain(written)
        assert printed.replace("\n", "").isprintable()
        assert json.loads(printed) == {"key": text}


@pytest.mark.parametrize("text", ["", "plain", "Größe 5 €", "注文 完了", "naïve — “quoted”", "טקסט"])
def test_text_of_every_language_stays_as_it_is(text: str) -> None:
    assert plain(text) == text


def test_half_a_pair_is_told() -> None:
    assert plain("\ud800") == "\\ud800"


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("text", HARMFUL.values(), ids=HARMFUL.keys())
def test_what_is_delivered_here_is_shown_harmless(text: str) -> None:
    lines = shown(f"/{text}", {"X-Atlas-Attempt": text}, text.encode(), None, 0.0).split("\n")
    assert len(lines) == 2 and all(line.isprintable() for line in lines)


@pytest.mark.requirement("S13")
def test_a_dead_letters_content_is_shown_harmless() -> None:
    harmful = "".join(HARMFUL.values())
    letter = DeadLetter(
        id="dl_1",
        topic="events.ws_1.live.orders",
        partition=0,
        offset=1,
        timestamp_ms=0,
        reason="unreadable",
        message=harmful,
        key=harmful.encode(),
        value=harmful.encode(),
        value_bytes=len(harmful.encode()),
    )
    printed = plain(orjson.dumps(described(letter, content=True)).decode())
    assert printed.isprintable()
    assert [json.loads(printed)[name] for name in ("message", "key", "value")] == [harmful] * 3
