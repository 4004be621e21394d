"""Event payloads to send: real GitHub webhooks where they are at hand, and made ones of like shapes for everyone else.

Both give `(type, data)`: a dot.case type and a JSON object as text, to arrive byte for byte as it was sent.
"""

import json
import random
import re

import pytest

from tests.support.outside import DATA, outside, why_skipped

NAMES = ("id", "node_id", "url", "name", "full_name", "owner", "labels", "body", "created_at", "draft", "größe", "名前")
TEXTS = (
    "",
    "main",
    "Fix <b>bold</b> & 'quotes'",
    'a "quoted" \\ word',
    "line\nbreak",
    "žluťoučký 🐎",
    "\u2028",
    "x" * 900,
)


def github_webhooks() -> list[tuple[str, str]]:
    path = outside(DATA, "github-webhooks.ndjson")
    if path is None:
        pytest.skip(why_skipped(DATA, "GitHub's webhooks are") + "; made ones are tested beside this")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(_type_of(line["event"], line["action"]), json.dumps(line["payload"])) for line in lines]


def made_webhooks(count: int = 174, seed: int = 7) -> list[tuple[str, str]]:
    """Of about a kilobyte to a hundred, three to eight levels deep, with every kind of value, spaced and unspaced."""
    chance = random.Random(seed)
    made = []
    while len(made) < count:
        number = len(made)
        value = _object(chance, depth=3 + number % 6)
        value["number"] = number
        spaced = chance.random() < 0.5
        text = json.dumps(value, ensure_ascii=chance.random() < 0.5, separators=None if spaced else (",", ":"))
        if len(text) < 100_000:
            made.append((f"check_run.{('created', 'completed', 'rerequested')[number % 3]}", text))
    return made


def _type_of(event: str, action: str | None) -> str:
    kind = f"{event}.{action or 'received'}".lower()
    return re.sub(r"[^a-z0-9._-]", "_", kind)


def _object(chance: random.Random, depth: int) -> dict[str, object]:
    names = chance.sample(NAMES, k=chance.randint(3, len(NAMES)))
    return {name: _value(chance, depth - 1) for name in names}


def _value(chance: random.Random, depth: int) -> object:
    kinds = ["text", "whole", "fraction", "fact", "nothing"] + (["object", "list"] * 2 if depth > 0 else [])
    match chance.choice(kinds):
        case "object":
            return _object(chance, depth)
        case "list":
            return [_value(chance, depth - 1) for _ in range(chance.randint(0, 4))]
        case "whole":
            return chance.randint(-(2**53), 2**64)
        case "fraction":
            return chance.uniform(-1e9, 1e9)
        case "fact":
            return chance.random() < 0.5
        case "text":
            return chance.choice(TEXTS)
    return None
