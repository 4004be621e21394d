"""The chunk of usage is taken out of a stream, wherever pieces are cut; every other byte passes."""

import random

import pytest

from ingest_gateway.surfaces.burn.edge.unasked_usage import (
    HELD_BYTES_MAX,
    REMEMBERED_MAX,
    REMEMBERED_SECONDS,
    Refusing,
    UsageChunkFilter,
    refuses_to_tell,
)

WORD = b'data: {"choices":[{"index":0,"delta":{"content":"h\xc3\xa9"}}],"usage":null}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n'
SPACED = b'event: x\nid: 7\ndata: {"usage" : {"prompt_tokens": 5}, "choices" : [ ]}\n\n'
MANY_LINES = b'data: {"choices":\ndata: [],\ndata: "usage":{"prompt_tokens":5}}\n\n'
NULL = b'data: {"id":"c","choices":null,"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n'
ALONE = b'data: {"object":"chat.completion.chunk","usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n'
AZURE = b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n'
EMPTY = b'data: {"choices":[],"usage":null}\n\n'
LAST_WORD = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5}}\n\n'
QUOTED = b'data: {"choices":[{"delta":{"content":"\\"choices\\":[] \\"usage\\":{}"}}]}\n\n'
PING, DONE = b": OPENROUTER PROCESSING\n\n", b"data: [DONE]\n\n"
STREAMS = [
    ([WORD, WORD, USAGE, DONE], [WORD, WORD, DONE]),
    ([WORD, SPACED, DONE], [WORD, DONE]),
    ([WORD, MANY_LINES, DONE], [WORD, DONE]),
    ([AZURE, PING, WORD, EMPTY, LAST_WORD, USAGE, DONE], [AZURE, PING, WORD, EMPTY, LAST_WORD, DONE]),
    ([QUOTED, USAGE], [QUOTED]),
    ([WORD, NULL, ALONE, DONE], [WORD, DONE]),
    ([WORD, ALONE.replace(b"{", b'{"error":{"code":502},', 1), DONE], None),
    ([WORD, USAGE.rstrip(b"\n")], [WORD]),
    ([WORD, DONE.rstrip(b"\n")], [WORD, DONE.rstrip(b"\n")]),
    ([b"data: no json\n\n", b'{"choices":[]}', b"\n\n\n\n", USAGE, DONE], None),
    ([b'data: {"choices":[{"delta":{"content":"' + b"x" * 3 * HELD_BYTES_MAX + b'"}}]}\n\n', USAGE, DONE], None),
]


def passed(pieces: list[bytes]) -> bytes:
    reader = UsageChunkFilter()
    return b"".join([*(reader.feed(piece) for piece in pieces), reader.rest()])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(("frames", "left"), STREAMS)
def test_all_but_the_chunk_of_usage(frames: list[bytes], left: list[bytes] | None, end: bytes) -> None:
    frames = [frame.replace(b"\n", end) for frame in frames]
    usage = USAGE.replace(b"\n", end)
    kept = [frame for frame in frames if frame != usage] if left is None else [one.replace(b"\n", end) for one in left]
    stream, wanted = b"".join(frames), b"".join(kept)
    assert passed(frames) == passed([stream]) == wanted
    if len(stream) < 10_000:
        assert passed([stream[at : at + 1] for at in range(len(stream))]) == wanted
    chance = random.Random(7)
    for _ in range(50):
        cuts = sorted(chance.sample(range(len(stream)), min(5, len(stream) - 1)))
        assert passed([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]) == wanted


def test_nothing_that_can_be_read_is_held_back() -> None:
    reader = UsageChunkFilter()
    assert reader.feed(WORD) == WORD
    assert reader.feed(WORD + USAGE[:20]) == WORD
    assert reader.feed(USAGE[20:] + DONE) == DONE
    assert reader.feed(b": ping\n") == b": ping\n", "a comment at rest"
    assert reader.feed(b"\n" + WORD) == b"\n" + WORD


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (400, b'{"error":{"message":"Unrecognized request argument supplied: stream_options"}}', True),
        (422, b'{"detail":[{"loc":["body","stream_options","include_usage"],"msg":"extra fields"}]}', True),
        (400, b'{"error":{"message":"max_tokens is too large"}}', False),
        (500, b"stream_options", False),
        (200, b"stream_options", False),
    ],
)  # fmt: skip
def test_a_refusal_names_the_member(status: int, body: bytes, refused: bool) -> None:
    assert refuses_to_tell(status, body) is refused


def test_refusals_are_remembered_for_an_hour_and_not_without_end() -> None:
    now = 0.0
    refusing = Refusing(clock=lambda: now)
    refusing.add("groq", "m")
    assert refusing.has("groq", "m") and not refusing.has("groq", "n") and not refusing.has("openai", "m")
    now = REMEMBERED_SECONDS
    assert not refusing.has("groq", "m")
    for number in range(REMEMBERED_MAX + 1):
        refusing.add("groq", str(number))
    assert [refusing.has("groq", str(number)) for number in (0, 1, REMEMBERED_MAX)] == [False, True, True]
