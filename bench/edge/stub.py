"""An OpenAI-compatible provider in a process of its own that costs next to nothing: `python -m bench.edge.stub`.

It prints its port. `POST …/chat/completions` is answered at once, or after `?wait_ms`, with fixed usage; with
`"stream": true` comes one frame and no end. `GET /count` tells how many calls came; `GET /reset` forgets them. It ends
with its parent's pipe.
"""

import asyncio
import json
import sys
from typing import cast

import uvloop

USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
COST_NANO = 9 * 2_500 + 12 * 10_000  # by gpt-4o's rates
MESSAGE = {"role": "assistant", "content": "Hello from the stub, which always says the same."}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
BODY = json.dumps(
    {
        **{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o"},
        **{"choices": [CHOICE], "usage": USAGE},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
WHOLE = HEAD % len(BODY) + BODY
FRAME = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"}}],"model":"gpt-4o"}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (
    len(FRAME),
    FRAME,
)


class Provider(asyncio.Protocol):
    """One connection; heads with Content-Length or chunks, one request after the other."""

    calls = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end]
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            if len(self._received) < end + 4 + length:
                return
            body = self._received[end + 4 : end + 4 + length]
            self._received = self._received[end + 4 + length :]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/count":
            told = str(Provider.calls).encode()
            self._transport.write(HEAD % len(told) + told)
            return
        if path == b"/reset":
            Provider.calls = 0
            self._transport.write(HEAD % 2 + b"{}")
            return
        Provider.calls += 1
        answer = STREAM if json.loads(body).get("stream") else WHOLE
        wait_ms = int(path.partition(b"wait_ms=")[2] or 0)
        if wait_ms:
            asyncio.get_running_loop().call_later(wait_ms / 1_000, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(serve())
