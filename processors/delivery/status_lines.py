"""The status line of an answer, which decides the result of an attempt even if the rest of the answer can't be read.

aiohttp hands out an answer only when it has read the whole head. A header that is too long, or that is not HTTP, would
turn a 200 into a failure, and the endpoint would get the event again. So the connection's protocol also looks at the
bytes as they come, until the final status line is complete. Interim answers (1xx) are skipped.
"""

import re
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler

UNREAD_BYTES_MAX = 65_536
SWITCHING_PROTOCOLS = 101  # final, though it is a 1xx
_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_BEGINNING = re.compile(rb"H(?:T(?:T(?:P(?:/(?:1(?:\.(?:[0-9](?: (?:[1-9][^\n]*)?)?)?)?)?)?)?)?)?")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class StatusLine:
    """Of one answer, fed with its bytes. `status`: None until the line is complete, and if the answer is not HTTP/1."""

    __slots__ = ("_bytes", "_is_decided", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self._is_decided = False
        self._bytes = b""

    def feed(self, data: bytes) -> None:
        if self._is_decided:
            return
        self._bytes += data
        while (line := _LINE.match(self._bytes)) is not None:
            status = int(line[1])
            if status >= 200 or status == SWITCHING_PROTOCOLS:
                self.status = status
                self._decide()
                return
            head_end = _HEAD_END.search(self._bytes, line.end() - 2)
            if head_end is None:
                break
            self._bytes = self._bytes[head_end.end() :]
        if len(self._bytes) > UNREAD_BYTES_MAX or not (line or self._may_become_a_line()):
            self._decide()

    def _may_become_a_line(self) -> bool:
        return not self._bytes or _BEGINNING.fullmatch(self._bytes) is not None

    def _decide(self) -> None:
        self._is_decided = True
        self._bytes = b""


class ObservedAttempt:
    """What one attempt has seen of its connections. `opened`: how many it opened; aiohttp has no other public sign that
    a connection was reused.
    """

    __slots__ = ("line", "opened")

    def __init__(self) -> None:
        self.opened = 0
        self.line = StatusLine()


OBSERVED: ContextVar[ObservedAttempt] = ContextVar("observed_attempt")
"""The attempt that runs in this task."""


class ObservedHandler(ResponseHandler):
    """A connection's protocol that feeds the status line of the request under way."""

    _line: StatusLine | None = None

    def set_response_params(self, **params: Any) -> None:
        """Called in the attempt's task, before its request is written."""
        observed = OBSERVED.get(None)
        if observed is not None:
            self._line = observed.line = StatusLine()
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if self._line is not None:
            self._line.feed(data)
        super().data_received(data)


class ObservedConnector(TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast(Any, partial(ObservedHandler, loop=self._loop))  # aiohttp 3.14 has no public way
