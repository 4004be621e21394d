"""Server-sent events as WHATWG HTML, 9.2.6 has a client read them, line by line."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Dispatched:
    id: str
    event: str
    data: str


class EventReader:
    """`last_id`, `retry_ms`: what a client would come again with."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self._id = self._event = ""
        self._data: list[str] = []

    def feed(self, text: str) -> list[Dispatched]:
        """Of whole lines."""
        found = []
        for line in re.split(r"\r\n|\r|\n", text)[:-1]:
            if line:
                self._line(line)
            elif (event := self._dispatch()) is not None:
                found.append(event)
        return found

    def _line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)

    def _dispatch(self) -> Dispatched | None:
        self.last_id = self._id
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return Dispatched(self.last_id, event, "\n".join(data)) if data else None
