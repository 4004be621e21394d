"""The status line of an answer, whatever becomes of the rest of it: it decides what an attempt was.

aiohttp tells of an answer only when its whole head could be read: a header beyond its bounds, or one that is no HTTP,
would make a failure of a 200, and the endpoint would get the event again. So the connection's protocol also looks at
the bytes as they come, until the final status line is complete. Interim answers (1xx) are passed over.
"""

import re
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler

HELD_BYTES_MAX = 65_536
SWITCHING_PROTOCOLS = 101  # final, though it is a 1xx
_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_BEGINNING = re.compile(rb"H(?:T(?:T(?:P(?:/(?:1(?:\.(?:[0-9](?: (?:[1-9][^\n]*)?)?)?)?)?)?)?)?)?")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class StatusLine:
    """Of one answer, fed with its bytes. `status`: None until the line is complete, and for what is no HTTP/1."""

    __slots__ = ("_held", "_is_settled", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self._is_settled = False
        self._held = b""

    def feed(self, data: bytes) -> None:
        if self._is_settled:
            return
        self._held += data
        while (line := _LINE.match(self._held)) is not None:
            status = int(line[1])
            if status >= 200 or status == SWITCHING_PROTOCOLS:
                self.status = status
                self._settle()
                return
            head_end = _HEAD_END.search(self._held, line.end() - 2)
            if head_end is None:
                break
            self._held = self._held[head_end.end() :]
        if len(self._held) > HELD_BYTES_MAX or not (line or self._may_become_a_line()):
            self._settle()

    def _may_become_a_line(self) -> bool:
        return not self._held or _BEGINNING.fullmatch(self._held) is not None

    def _settle(self) -> None:
        self._is_settled = True
        self._held = b""


class Exchange:
    """What one attempt has seen of its connections. `opened`: aiohttp has no other public word on reuse."""

    __slots__ = ("line", "opened")

    def __init__(self) -> None:
        self.opened = 0
        self.line = StatusLine()


EXCHANGE: ContextVar[Exchange] = ContextVar("exchange")
"""Of the attempt that runs in this task."""


class ObservedHandler(ResponseHandler):
    """A connection's protocol that feeds the status line of the request under way."""

    _line: StatusLine | None = None

    def set_response_params(self, **params: Any) -> None:
        """Called in the attempt's task, before its request is written."""
        exchange = EXCHANGE.get(None)
        if exchange is not None:
            self._line = exchange.line = StatusLine()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if self._line is not None:
            self._line.feed(data)
        super().data_received(data)


class ObservedConnector(TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast(Any, partial(ObservedHandler, loop=self._loop))  # aiohttp 3.14 has no public way
