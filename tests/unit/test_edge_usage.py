"""CallUsage read from answers as they pass: every provider's form, cut anywhere."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_gateway.surfaces.burn.edge.usage import BODY_BYTES_MAX, BodyReader, CallUsage, StreamReader


def sse(*frames: Any) -> bytes:
    return b"".join(b"data: " + (f if isinstance(f, bytes) else json.dumps(f).encode()) + b"\n\n" for f in frames)


OPENAI = sse(
    {"model": "gpt-4o", "choices": [{"delta": {"role": "assistant", "content": "Hi"}}], "usage": None},
    {"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2,
                                                "prompt_tokens_details": {"cached_tokens": 3}}},
    b"[DONE]",
)  # fmt: skip
ANTHROPIC = sse(
    {
        "type": "message_start",
        "message": {"model": "claude-sonnet-4", "usage": {"input_tokens": 7, "output_tokens": 1}},
    },
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi there"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
)
GEMINI = sse(
    {"candidates": [{"content": {"parts": [{"text": "H"}]}}], "usageMetadata": {"promptTokenCount": 4}},
    {"candidates": [], "modelVersion": "gemini-2.0-flash", "usageMetadata": {
        "promptTokenCount": 4, "candidatesTokenCount": 6, "thoughtsTokenCount": 3, "cachedContentTokenCount": 2}},
)  # fmt: skip
RESPONSES = sse(
    {"type": "response.created", "response": {"model": "gpt-4.1", "usage": None}},
    {"type": "response.output_text.delta", "delta": "Hi"},
    {"type": "response.completed", "response": {"model": "gpt-4.1", "usage": {
        "input_tokens": 8, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 5}}}},
)  # fmt: skip
OPENROUTER = sse({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.00014}})

STREAMS = [
    (OPENAI, CallUsage(9, 2, 3, False, "gpt-4o")),
    (ANTHROPIC, CallUsage(7, 5, 0, False, "claude-sonnet-4")),
    (GEMINI, CallUsage(4, 9, 2, False, "gemini-2.0-flash")),
    (RESPONSES, CallUsage(8, 2, 5, False, "gpt-4.1")),
    (OPENROUTER, CallUsage(1, 2, 0, False, "", 0.00014)),
]


@pytest.mark.requirement("B-042", "L5")
@pytest.mark.parametrize(("stream", "usage"), STREAMS)
@given(cuts=st.lists(st.integers(0, 600), max_size=8), crlf=st.booleans())
def test_every_stream_cut_anywhere(stream: bytes, usage: CallUsage, cuts: list[int], crlf: bool) -> None:
    whole = stream.replace(b"\n", b"\r\n") if crlf else stream
    reader = StreamReader()
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    for start, end in itertools.pairwise(places):
        reader.feed(whole[start:end])
    assert reader.usage(400) == usage
    assert reader.frames_unread == 0


@pytest.mark.requirement("B-073", "L5")
@pytest.mark.parametrize(
    ("stream", "usage"),
    [
        # cut before the last word on usage: 400 characters of prompt are 100 tokens
        (OPENAI.split(b"\n\n")[0] + b"\n\n", CallUsage(100, 1, 0, True, "gpt-4o")),
        (ANTHROPIC.rpartition(b"data: ")[0], CallUsage(7, 2, 0, True, "claude-sonnet-4")),  # "Hi there": 2 tokens
        (b"", CallUsage(100, 0, 0, True)),
        (b"data: {broken\n\ndata: 5\n\ndata: {\"usage\": 7}\n\n", CallUsage(100, 0, 0, True)),
        (sse({"usage": {"prompt_tokens": -4, "completion_tokens": 10**30}}), CallUsage(100, 1 << 40, 0, True)),
        (sse({"usage": {"prompt_tokens": -4, "completion_tokens": 10**15, "cost": -1}}),
         CallUsage(100, 1 << 40, 0, True)),
    ],
)  # fmt: skip
def test_what_is_not_told_is_estimated(stream: bytes, usage: CallUsage) -> None:
    reader = StreamReader()
    reader.feed(stream)
    assert reader.usage(400) == usage


@pytest.mark.requirement("B-042", "L5")
@pytest.mark.parametrize("piece_bytes", [4_096, 70_001, 4_000_000])
def test_usage_behind_an_image_in_one_frame(piece_bytes: int) -> None:
    """As OpenAI's `response.completed` has the images that were made, and Gemini's frames theirs."""
    output = [{"type": "image_generation_call", "result": "A" * 2_000_000}]
    told = {"input_tokens": 50, "output_tokens": 1_400, "total_tokens": 1_450}
    done = {"type": "response.completed", "response": {"output": output, "usage": told, "user": None}}
    stream = sse({"type": "response.created", "response": {"usage": None}}, done)
    reader = StreamReader()
    for start in range(0, len(stream), piece_bytes):
        reader.feed(stream[start : start + piece_bytes])
    usage = reader.usage(400)
    assert (usage.tokens_in, usage.tokens_out, usage.estimated) == (50, 1_400, False)


@pytest.mark.parametrize("half", [b"\\ud83d", b"\xf0\x9f"])
def test_usage_beside_half_a_character(half: bytes) -> None:
    frame = b'{"choices":[{"delta":{"content":"' + half + b'"}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
    stream, body = StreamReader(), BodyReader()
    stream.feed(b"data: " + frame + b"\n\n")
    body.feed(frame)
    assert stream.usage(400) == body.usage(400) == CallUsage(3, 2)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"model": "m", "choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 3,
          "completion_tokens": 2}}, CallUsage(3, 2, 0, False, "m")),
        ({"model": "m", "choices": [{"message": {"content": "Hi there"}}]}, CallUsage(100, 2, 0, True, "m")),
        ({"content": [{"type": "text", "text": "x"}], "usage": {"input_tokens": 6, "cache_read_input_tokens": 4,
          "cache_creation_input_tokens": 1, "output_tokens": 2}}, CallUsage(11, 2, 4, written_tokens=1)),
        ([{"usageMetadata": {"promptTokenCount": 4}}, {"usageMetadata": {"promptTokenCount": 4,
          "candidatesTokenCount": 6}}], CallUsage(4, 6)),
        ({"data": [{"embedding": [0.123456789] * 200_000}], "usage": {"prompt_tokens": 8, "total_tokens": 8}},
         CallUsage(8, 0)),
        ("no object", CallUsage(100, 0, 0, True)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("piece_bytes", [7_001, 3_000_000])
def test_bodies(body: Any, usage: CallUsage, piece_bytes: int) -> None:
    written = json.dumps(body).encode()
    reader = BodyReader()
    for start in range(0, len(written), piece_bytes):
        reader.feed(written[start : start + piece_bytes])
    assert reader.usage(400) == usage
    assert len(reader._whole) <= BODY_BYTES_MAX
