"""Errors that come under status 200, in the forms of the providers' own documents and SDKs."""

import json
from typing import Any

import pytest

from ingest_gateway.surfaces.burn.edge.errors_inside import ErrorWatch
from tests.support.provider_sdks import WITH_SDKS

ANTHROPIC: dict[str, Any] = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
GEMINI: dict[str, Any] = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
OPENROUTER: dict[str, Any] = {
    **{"id": "gen-1", "object": "chat.completion.chunk", "provider": "OpenAI"},
    "error": {"code": "server_error", "message": "Provider disconnected"},
    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
}


def response_of_the_sdk(**fields: Any) -> Any:
    from openai.types.responses import Response

    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    return Response(
        **{"id": "resp_1", "created_at": 1.0, "model": "gpt-4o", "object": "response", "output": [], "tools": []},
        **{"parallel_tool_calls": True, "tool_choice": "auto", "status": "failed", "error": error} | fields,
    )


def failed() -> Any:
    from openai.types.responses import ResponseFailedEvent

    return ResponseFailedEvent(response=response_of_the_sdk(), sequence_number=2, type="response.failed").model_dump()


def error_event() -> Any:
    from openai.types.responses import ResponseErrorEvent

    error = ResponseErrorEvent(code="server_error", message="gone", param=None, sequence_number=3, type="error")
    return error.model_dump()


def failed_response() -> Any:
    return response_of_the_sdk().model_dump()


def completed_response() -> Any:
    return response_of_the_sdk(status="completed", error=None).model_dump()


def status(answer: bytes, *, streams: bool, whole: bool) -> int | None:
    """Fed as one piece, or a byte at a time."""
    watch = ErrorWatch(streams=streams)
    for piece in [answer] if whole else [bytes([byte]) for byte in answer]:
        watch.feed(piece)
    return watch.status


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("frame", "meant"),
    [
        (ANTHROPIC, 529),
        ({"type": "error", "error": {"type": "api_error", "message": "Internal"}}, 500),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "…"}}, 429),
        pytest.param(failed, 429, marks=WITH_SDKS),
        pytest.param(error_event, 500, marks=WITH_SDKS),
        (GEMINI, 503),
        (OPENROUTER, 500),
        ({"error": {"message": "The server had an error", "type": "server_error", "code": None, "param": None}}, 500),
        ({"error": {"message": "Rate limit reached", "type": "tokens", "code": "rate_limit_exceeded"}}, 429),
        ({"error": {"message": "no credits", "code": 402}}, 402),
        ({"error": "model not loaded"}, 500),
        ({"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "gone"}, "delta": {}}]}, 502),
        ({"object": "error", "message": "too long", "type": "BadRequestError", "param": None, "code": 400}, 400),
        ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None}, 429),
        # none
        ({"choices": [{"delta": {"content": '{"error": {"code": 500}}'}}]}, None),
        ({"choices": [{"delta": {"content": "an error"}}], "error": None}, None),
        ({"type": "response.completed", "response": {"status": "completed", "error": None}}, None),
        ({"type": "response.incomplete", "response": {"status": "incomplete", "error": None}}, None),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "error"}}, None),
        ({"choices": [{"delta": {"content": "x"}, "error": None}], "error": ""}, None),
        ({"choices": [{"delta": {"content": "x"}}], "error": {}}, None),
        ({"choices": [{"delta": {"content": "x"}}], "base_resp": {"status_code": 0, "status_msg": ""}}, None),
    ],
)
def test_in_a_stream(frame: Any, meant: int | None, whole: bool) -> None:
    frame = frame() if callable(frame) else frame
    before = b": comment\n\nevent: message\ndata: {}\n\n"
    for end in (b"\n\n", b"\r\n\r\n", b""):
        answer = before + b"event: x\ndata: " + json.dumps(frame).encode() + end
        assert status(answer, streams=True, whole=whole) == meant
    behind = answer + b"\n\ndata: [DONE]\n\n"
    assert status(behind, streams=True, whole=whole) == meant


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("body", "meant"),
    [
        (ANTHROPIC, 529),
        pytest.param(failed_response, 429, marks=WITH_SDKS),
        (GEMINI, 503),
        ([GEMINI], 503),
        ({"error": {"message": "…", "type": "invalid_request_error", "code": None}}, 400),
        ({"choices": [{"message": {}, "error": {"code": 502, "message": "gone"}}]}, 502),
        ({"object": "error", "message": "Only some models are allowed", "code": 40303}, 500),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}, "choices": None}, 401),
        ({"__type": "ThrottlingException", "message": "Too many requests"}, 429),
        ({"Output": {"__type": "com.amazon.coral.service#InternalFailure"}, "Version": "1.0"}, 500),
        pytest.param(completed_response, None, marks=WITH_SDKS),
        ({"choices": [{"message": {"content": "error"}}]}, None),
        ({"data": []}, None),
    ],
)
def test_in_a_body(body: Any, meant: int | None, whole: bool) -> None:
    body = body() if callable(body) else body
    assert status(json.dumps(body).encode(), streams=False, whole=whole) == meant


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        (b"event: error\ndata: Internal Server Error\n\n", 500),
        (b'event: error\ndata: {"message": "Overloaded", "status_code": 529}\n\n', 529),
        (b'event: error\r\ndata: {"error": {"type": "tokens", "code": "rate_limit_exceeded"}}\r\n\r\n', 429),
        (b'event: ping\ndata: {"message": "no error"}\n\n', None),
        # as google-genai expects it: the error of a stream is JSON in many lines, not a frame
        (b'data: {}\n\n{\n  "error": {\n    "code": 503,\n    "status": "UNAVAILABLE"\n  }\n}\n', 503),
    ],
)
def test_frames_of_another_form(answer: bytes, meant: int | None, whole: bool) -> None:
    assert status(answer, streams=True, whole=whole) == meant


@pytest.mark.parametrize("answer", [b"", b"error", b"data: {error\n\n", b'data: {"error": ' + b"[" * 10_000 + b"\n"])
def test_what_cant_be_read_is_no_error(answer: bytes) -> None:
    assert status(answer, streams=True, whole=True) is None


def test_a_long_line_is_no_error_and_what_comes_behind_it_is_read() -> None:
    long = b'data: {"error": "' + b"x" * 100_000 + b'"}'
    watch = ErrorWatch(streams=True)
    for piece in (long[:70_000], long[70_000:], b"\n\n"):
        watch.feed(piece)
    assert watch.status is None
    watch.feed(b"data: " + json.dumps(GEMINI).encode() + b"\n\n")
    assert watch.status == 503
