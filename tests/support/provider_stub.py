"""A model provider on this machine: the APIs of OpenAI, Anthropic and Gemini as far as SDKs and the proxy see them.

A real aiohttp server. A test says what it does next (`behave`, or `behave_by` call), and sees what came (`calls`) and
whether whoever called is still there (`abandoned`). Its answers say "Hello from the stub." in four pieces, three tokens
a piece.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

WORDS = ("Hello", " from", " the", " stub.")
TOKENS_IN, TOKENS_OUT = 11, 12


@dataclass
class ProviderRequest:
    """One request as it came."""

    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    method: str = "POST"

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _value in self.headers}

    def header(self, name: str) -> str:
        return next(value for given, value in self.headers if given.lower() == name.lower())


@dataclass
class Behaviour:
    """`status` with `error` body; `usage` False leaves usage out; `stall_after` frames it says nothing more until it is
    left or `go_on` is set; `cut_after` frames it breaks off; `raw` is sent as it is, in these pieces.
    """

    status: int = 200
    error: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    usage: bool = True
    stall_after: int | None = None
    cut_after: int | None = None
    wait_seconds: float = 0.0
    raw: Iterable[bytes] | None = None
    content_type: str = "text/event-stream"


class ProviderStub:
    def __init__(self) -> None:
        self.calls: list[ProviderRequest] = []
        self.behave = Behaviour()
        self.behave_by: Callable[[ProviderRequest], Behaviour] | None = None
        self.go_on = asyncio.Event()
        self.stalled = asyncio.Event()
        self.abandoned = asyncio.Event()
        self.url = ""
        self.runner: web.AppRunner | None = None

    async def stop(self) -> None:
        """From now on nobody answers there."""
        assert self.runner is not None
        await self.runner.cleanup()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = [(name, value) for name, value in request.headers.items()]
        call = ProviderRequest(request.path, request.rel_url.raw_query_string, headers, body, request.method)
        self.calls.append(call)
        behave = self.behave if self.behave_by is None else self.behave_by(call)
        if behave.wait_seconds:
            await self._stall(behave.wait_seconds)
        if behave.status != 200:
            return web.json_response(behave.error, status=behave.status, headers=behave.headers)
        if behave.raw is not None:
            return await self._send(request, behave.raw, behave)
        answer = answer_to(call, behave.usage)
        if isinstance(answer, list):
            return await self._send(request, answer, behave)
        return web.json_response(answer, headers={"x-request-id": "req_of_the_stub", **behave.headers})

    async def _send(self, request: web.Request, pieces: Iterable[bytes], behave: Behaviour) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": behave.content_type, "x-request-id": "req_of_the_stub"})
        await response.prepare(request)
        for count, piece in enumerate(pieces):
            if count == behave.stall_after:
                await self._stall(None)
            if count == behave.cut_after:
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(piece)
        await response.write_eof()
        return response

    async def _stall(self, seconds: float | None) -> None:
        self.stalled.set()
        try:
            async with asyncio.timeout(seconds):
                await self.go_on.wait()
        except TimeoutError:
            return
        except asyncio.CancelledError:
            self.abandoned.set()
            raise


def answer_to(call: ProviderRequest, usage: bool) -> Any:
    """A list of frames for a stream, else the body."""
    asked = call.json
    if call.path.endswith("/messages"):
        return _anthropic_stream() if asked.get("stream") else _anthropic(asked)
    if ":streamGenerateContent" in call.path:
        return [_frame(_gemini(word, usage)) for word in WORDS]
    if ":generateContent" in call.path:
        return _gemini("".join(WORDS), usage)
    if call.path.endswith("/responses"):
        return _responses_stream(asked) if asked.get("stream") else _response(asked)
    if call.path.endswith("/embeddings"):
        vector = {"object": "embedding", "index": 0, "embedding": [0.25] * 8}
        counts = {"prompt_tokens": TOKENS_IN, "total_tokens": TOKENS_IN}
        return {"object": "list", "data": [vector], "model": asked["model"], "usage": counts}
    return _chat_stream(asked, usage) if asked.get("stream") else _chat(asked, usage)


def _openai_usage() -> dict[str, Any]:
    counts = {"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT, "total_tokens": TOKENS_IN + TOKENS_OUT}
    return {**counts, "prompt_tokens_details": {"cached_tokens": 4}}


def _chat(asked: Any, usage: bool) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(WORDS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
    whole = head | {"choices": [choice]}
    return whole | {"usage": _openai_usage()} if usage else whole


def _chat_stream(asked: Any, usage: bool) -> list[bytes]:
    told = bool((asked.get("stream_options") or {}).get("include_usage")) and usage
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
    frames = []
    for word in WORDS:
        delta = {"role": "assistant", "content": word}
        choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": None}
        frames.append(_frame(base | {"choices": [choice]} | ({"usage": None} if told else {})))
    if told:
        frames.append(_frame(base | {"choices": [], "usage": _openai_usage()}))
    return [*frames, b"data: [DONE]\n\n"]


def _response(asked: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": "".join(WORDS), "annotations": []}]
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    counts = {"input_tokens": TOKENS_IN, "output_tokens": TOKENS_OUT, "total_tokens": TOKENS_IN + TOKENS_OUT}
    details = {"input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 0}}
    return {
        **{"id": "resp_1", "object": "response", "created_at": 1, "model": asked["model"], "status": "completed"},
        **{"output": [message], "usage": counts | details, "parallel_tool_calls": True, "tool_choice": "auto"},
        "tools": [],
    }


def _responses_stream(asked: Any) -> list[bytes]:
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    frames = [
        _named("response.output_text.delta", {"delta": word, "sequence_number": number, **where})
        for number, word in enumerate(WORDS)
    ]
    return [*frames, _named("response.completed", {"response": _response(asked), "sequence_number": len(WORDS)})]


def _anthropic(asked: Any) -> dict[str, Any]:
    return {
        **{"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "stop_reason": "end_turn"},
        "content": [{"type": "text", "text": "".join(WORDS)}],
        "stop_sequence": None,
        "usage": {"input_tokens": 6, "output_tokens": TOKENS_OUT, "cache_read_input_tokens": 4,
                  "cache_creation_input_tokens": 1},
    }  # fmt: skip


def _anthropic_stream() -> list[bytes]:
    begun = {
        **{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4", "content": []},
        **{"stop_reason": None, "stop_sequence": None},
        "usage": {"input_tokens": 11, "output_tokens": 1},
    }
    ended = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": TOKENS_OUT}}
    text = {"type": "text", "text": ""}
    return [
        _named("message_start", {"message": begun}),
        _named("content_block_start", {"index": 0, "content_block": text}),
        _named("ping", {}),
        *(_named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": word}}) for word in WORDS),
        _named("content_block_stop", {"index": 0}),
        _named("message_delta", ended),
        _named("message_stop", {}),
    ]


def _gemini(text: str, usage: bool) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    whole = {"candidates": [candidate], "modelVersion": "gemini-2.0-flash"}
    counts = {"promptTokenCount": TOKENS_IN, "candidatesTokenCount": TOKENS_OUT - 2, "thoughtsTokenCount": 2}
    counts["totalTokenCount"] = TOKENS_IN + TOKENS_OUT
    return whole | {"usageMetadata": counts} if usage else whole


def _frame(content: Any) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _named(kind: str, content: Any) -> bytes:
    return f"event: {kind}\n".encode() + _frame({"type": kind, **content})


@asynccontextmanager
async def provider_stub() -> AsyncIterator[ProviderStub]:
    """A running one. What stalls is cancelled when its caller goes."""
    stub = ProviderStub()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", stub.handle)
    stub.runner = runner = web.AppRunner(
        app, access_log=None, handler_cancellation=True, auto_decompress=False, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield stub
    finally:
        await runner.cleanup()
