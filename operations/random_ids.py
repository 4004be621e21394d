"""Ids that follow from nothing: of requests, of commands, of new workspaces (schemas/ids.py has the form)."""

import os
import secrets

from operations import clock
from schemas.ids import ALPHABET, PAIRS, REQUEST, ulid


def random_id(prefix: str, now_ms: int) -> str:
    return prefix + ulid(now_ms, secrets.token_bytes(10))


class _RequestIds:
    """Request ids are made for every request, so they are made cheaply: 50 random bits a process, then a count.

    Unique as a ULID is, but one tells the next: they are no secret.
    """

    def __init__(self) -> None:
        self._time_ms = -1
        self._start = ""  # up to the count
        self._process = ulid(0, secrets.token_bytes(10))[-10:]
        self._count = secrets.randbits(30)

    def next(self) -> str:
        now_ms = clock.now_ms()
        if now_ms != self._time_ms:
            self._time_ms = now_ms
            self._start = REQUEST + ulid(now_ms, bytes(10))[:10] + self._process
        self._count = count = (self._count + 1) & 0x3FFF_FFFF
        return self._start + PAIRS[count >> 20] + PAIRS[count >> 10 & 1023] + PAIRS[count & 1023]


_request_ids = _RequestIds()
os.register_at_fork(after_in_child=_request_ids.__init__)  # type: ignore[misc]


def request_id() -> str:
    """An id for an incoming request; not to be used as anything that must not be guessed."""
    return _request_ids.next()


def short_id(prefix: str) -> str:
    """Workspace ids are 10 random characters (`ws_4F9KQ2C7Z1`)."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(10))
