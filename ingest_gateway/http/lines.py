"""Bodies of lines (NDJSON), read without holding the body: one line at a time, in chunks of any size.

Lines end with LF or CRLF; the last one needs no end. Blank lines are skipped, many at once: 32 MiB of nothing but line
ends must not cost thirty million steps. A line that is too long gives a `LineTooLong`; nothing of it is kept, and the
lines after it are read as usual.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from aiohttp import web

from ingest_gateway.http.bodies import BODY_SECONDS, read_chunks

BLANK_LINES = re.compile(rb"(?<=\n)(?:[ \t\r]*+\n)+")
"""Blank lines behind a line's end. Linear: a match can begin only behind an LF, and never goes back."""


@dataclass(frozen=True, slots=True)
class LineTooLong:
    """Given out instead of the line."""


class LineSplitter:
    """Cuts chunks into lines. Does no I/O; holds at most one line."""

    def __init__(self, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._parts: list[bytes] = []
        self._kept_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes | LineTooLong]:
        """The lines that the chunk completes."""
        *ended, rest = BLANK_LINES.sub(b"", chunk).split(b"\n")
        found: list[bytes | LineTooLong] = []
        if ended and self._kept_bytes:
            self._keep(ended[0])
            found += self._line()
            del ended[0]
        for part in ended:
            line = part.removesuffix(b"\r")
            if len(line) > self._line_bytes_max:
                found.append(LineTooLong())
            elif line.strip(b" \t\r"):
                found.append(line)
        self._keep(rest)
        return found

    def end(self) -> list[bytes | LineTooLong]:
        """The last line, if it had no end."""
        return list(self._line())

    def _keep(self, part: bytes) -> None:
        if not part:
            return
        self._kept_bytes += len(part)
        if self._kept_bytes > self._line_bytes_max + 1:  # one more for the CR of a CRLF
            self._parts.clear()
        else:
            self._parts.append(part)

    def _line(self) -> Iterator[bytes | LineTooLong]:
        too_long = self._kept_bytes > self._line_bytes_max + 1
        line = b"".join(self._parts).removesuffix(b"\r")
        self._parts.clear()
        self._kept_bytes = 0
        if too_long or len(line) > self._line_bytes_max:
            yield LineTooLong()
        elif line.strip(b" \t\r"):
            yield line


async def iter_lines(
    request: web.BaseRequest, *, limit_bytes: int, line_bytes_max: int, deadline_seconds: float = BODY_SECONDS
) -> AsyncIterator[list[bytes | LineTooLong]]:
    """The body's lines as they come, those that a chunk completes together. `Refused` as in `bodies.read_body`, after
    the lines before it were given out: what the caller did with those is not taken back.
    """
    splitter = LineSplitter(line_bytes_max)
    async for chunk in read_chunks(request, limit_bytes, deadline_seconds=deadline_seconds):
        if lines := splitter.feed(chunk):
            yield lines
    if lines := splitter.end():
        yield lines
