"""Identifiers: a prefix that names the kind, then a ULID (48 bits of time, 80 bits of hash or randomness).

Ids that name a decision are derived, so that doing a record twice gives the same id; only ids of requests and of
new entities are random. Source: seeds/000 (`evt_`, `stm_`, `ws_`, `wf_`, `req_`, `whd_`), DESIGN (deterministic ids).
"""

import hashlib
import os
import re
import secrets
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
EVENT, STREAM, WORKSPACE, WORKFLOW, REQUEST = "evt_", "stm_", "ws_", "wf_", "req_"
DELIVERY, WEBHOOK_DELIVERY, KEY, COMMAND, DEAD_LETTER = "dlv_", "whd_", "key_", "cmd_", "dlt_"
WEBHOOK_ENDPOINT, REPLAY = "whe_", "rpl_"
SPINE_SUBSCRIPTION, WORK_WEBHOOK = "sub_", "whk_"
ULID_TIME_MS_MAX = 2**48 - 1
ULID_PATTERN = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")

_PAIRS = tuple(a + b for a in ALPHABET for b in ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))


def ulid(time_ms: int, entropy: bytes) -> str:
    """26 characters of Crockford's base 32: `time_ms` (0 … 2^48 − 1), then 10 bytes."""
    number = (time_ms << 80) | int.from_bytes(entropy, "big")
    pairs = _PAIRS
    return "".join([pairs[(number >> shift) & 1023] for shift in _SHIFTS])


def derived_id(prefix: str, time_ms: int, *parts: bytes) -> str:
    """The same id for the same parts; parts are length-prefixed, so no two lists of parts read alike."""
    digest = hashlib.blake2b(digest_size=10)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return prefix + ulid(time_ms, digest.digest())


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
        now_ms = time.time_ns() // 1_000_000
        if now_ms != self._time_ms:
            self._time_ms = now_ms
            self._start = REQUEST + ulid(now_ms, bytes(10))[:10] + self._process
        self._count = count = (self._count + 1) & 0x3FFF_FFFF
        return self._start + _PAIRS[count >> 20] + _PAIRS[count >> 10 & 1023] + _PAIRS[count & 1023]


_request_ids = _RequestIds()
os.register_at_fork(after_in_child=_request_ids.__init__)  # type: ignore[misc]


def request_id() -> str:
    """An id for an incoming request; not to be used as anything that must not be guessed."""
    return _request_ids.next()


def is_id(text: str, prefix: str) -> bool:
    return text.startswith(prefix) and ULID_PATTERN.fullmatch(text, len(prefix)) is not None


def time_of(identifier: str) -> int:
    """Milliseconds in the time part of an id with a ULID."""
    number = 0
    for character in identifier[-26:-16]:
        number = number * 32 + ALPHABET.index(character)
    return number


def short_id(prefix: str) -> str:
    """Workspace ids are 10 random characters (`ws_4F9KQ2C7Z1`)."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(10))
