"""Half characters become U+FFFD, and nothing else is touched, whatever backslashes stand around them."""

import json
import random

import pytest

from ingest_gateway.surfaces.burn.broken_text import mended

PIECES = ["\\\\", "\\ud83d", "\\ude00", "\\uDBFF", "\\n", '\\"', "\\u00e9", "ud83d", "u", "a", "é"]


def test_as_another_parser_reads_them() -> None:
    chance = random.Random(7)
    for _ in range(3_000):
        text = '"' + "".join(chance.choices(PIECES, k=chance.randint(0, 6))) + '"'
        read = "".join("\ufffd" if 0xD800 <= ord(one) <= 0xDFFF else one for one in json.loads(text))
        assert json.loads(mended(text.encode())) == read


@pytest.mark.parametrize(
    ("text", "whole"),
    [(b'"Jos\xe9"', '"Jos\ufffd"'), (b'"\xf0\x9f\x98"', '"\ufffd"'), (b'{"a":1}', '{"a":1}'), (b"no json", "no json")],
)
def test_bytes_that_are_no_utf8(text: bytes, whole: str) -> None:
    assert mended(text).decode() == whole
