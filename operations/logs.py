"""JSON logs: one object a line on standard error, so that no value can break a line or forge another.

`event(logger, "event.accepted", request_id=…, …)` writes one wide line; plain logging calls work too.
Lines that a noisy library repeats are folded: the next line of the same kind says how many were left out
(`suppressed`). So are lines that records of outsiders can cause in any number (`Sparse`).
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

RELAYING_PREFIXES = ("faust", "mode", "aiokafka")
"""Libraries that write down what passes through them, traceback and all, and hand it on."""
LIBRDKAFKA = "librdkafka"
NOISY_PREFIXES = (LIBRDKAFKA, "aiokafka", "faust", "mode", "aiohttp.server")
APART_SECONDS = 1.0
LIBRDKAFKA_APART_SECONDS_MAX = 60.0
"""librdkafka says what it meets once a partition and a try: while a broker of three is away, thousands of lines a
minute.
"""
KINDS_MAX = 1_000
_NUMBER = re.compile(r"\d+")


class JsonFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            text = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # half a surrogate pair (a header's byte beyond UTF-8), an integer of more than 64 bits
            return _in_ascii(line)
        return text if text.isascii() else _in_ascii(line)


def _in_ascii(line: dict[str, Any]) -> str:
    """Escaped, since some characters beyond ASCII end a line for some readers or move a terminal's cursor."""
    whole = json.dumps(line, default=str, ensure_ascii=False).encode("utf-8", "replace")
    return json.dumps(json.loads(whole))


class LastLineOnly(logging.Filter):
    """Reduces a library's traceback to the exception: if it ends the process, that is logged once, with advice."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None and record.name.startswith(RELAYING_PREFIXES):
            record.facts = {**getattr(record, "facts", {}), "error": repr(record.exc_info[1])}
            record.exc_info = None
        return True


class _LastLine(NamedTuple):
    at_seconds: float
    apart_seconds: float
    suppressed: int


class FoldedRepeats(logging.Filter):
    """Lets a noisy library say the same thing once a second, librdkafka ever more rarely as long as it goes on saying
    it; the next line says how many were left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[tuple[str, ...], _LastLine] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(NOISY_PREFIXES):
            return True
        kind, now_seconds = _kind_of(record), record.created
        before = self._logged.get(kind)
        if before is not None and now_seconds - before.at_seconds < before.apart_seconds:
            self._logged[kind] = before._replace(suppressed=before.suppressed + 1)
            return False
        if len(self._logged) > KINDS_MAX:
            self._logged.clear()
        self._logged[kind] = _LastLine(now_seconds, _apart_seconds(record.name, before, now_seconds), 0)
        if before is not None and before.suppressed:
            record.facts = {**getattr(record, "facts", {}), "suppressed": before.suppressed}
        return True


def _kind_of(record: logging.LogRecord) -> tuple[str, ...]:
    """All of librdkafka's lines have one format, for which thing, client and text; of the text the end says what is
    the matter, what comes before it with whom.
    """
    if record.name.startswith(LIBRDKAFKA) and isinstance(record.args, tuple) and len(record.args) == 3:
        thing, _client, text = map(str, record.args)
        what = text.partition(" (after ")[0].rpartition(": ")[2]
        return record.name, thing, _NUMBER.sub("#", what)
    return record.name, str(record.msg)


def _apart_seconds(name: str, before: _LastLine | None, now_seconds: float) -> float:
    """Twice the last pause while it goes on; what has not been said for long is said at once, and a second later."""
    if before is None or not name.startswith(LIBRDKAFKA):
        return APART_SECONDS
    goes_on = now_seconds - before.at_seconds < 2 * LIBRDKAFKA_APART_SECONDS_MAX
    return min(2 * before.apart_seconds, LIBRDKAFKA_APART_SECONDS_MAX) if goes_on else APART_SECONDS


def configure(process: str, level: str = "INFO") -> None:
    """Sends every logger of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(process))
    handler.addFilter(FoldedRepeats())
    if level != "DEBUG":
        handler.addFilter(LastLineOnly())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("aiokafka", "faust", "mode"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def event(logger: logging.Logger, action: str, level: int = logging.INFO, **facts: Any) -> None:
    """One wide line: `action` names what happened, `facts` say with what."""
    if logger.isEnabledFor(level):
        # Made by hand: `logger.log` looks for the caller's file and line, which costs as much as all the rest.
        record = logging.LogRecord(logger.name, level, "", 0, action, (), None)
        record.facts = facts
        logger.handle(record)


class Sparse:
    """Lines that outsiders can cause: at most one a second for each action and kind, with the number left out before.

    `kind` comes from a closed set. A metric next to it has the exact number (K14).
    """

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    def event(
        self, action: str, kind: str, level: int = logging.WARNING, error: BaseException | None = None, **facts: Any
    ) -> None:
        """With `error` the line carries its traceback."""
        now_seconds = self._clock()
        logged_at, suppressed = self._logged.get((action, kind), (now_seconds - 1.0, 0))
        if now_seconds - logged_at < 1.0:
            self._logged[action, kind] = (logged_at, suppressed + 1)
            return
        self._logged[action, kind] = (now_seconds, 0)
        shown = {**facts, "suppressed": suppressed} if suppressed else facts
        self._logger.log(level, action, exc_info=error, extra={"facts": shown})
