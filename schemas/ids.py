"""Identifiers: a prefix that names the kind, then a ULID (48 bits of time, 80 bits of hash or randomness).

Ids that name a decision are derived, so that deciding about a record twice gives the same id. Only ids of requests,
commands and new workspaces are random (operations/random_ids.py).
"""

import hashlib
import re

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
EVENT, STREAM, WORKSPACE, WORKFLOW, REQUEST = "evt_", "stm_", "ws_", "wf_", "req_"
DELIVERY, WEBHOOK_DELIVERY, KEY, COMMAND, DEAD_LETTER = "dlv_", "whd_", "key_", "cmd_", "dlt_"
WEBHOOK_ENDPOINT, REPLAY, AUDIT = "whe_", "rpl_", "aud_"
SPINE_SUBSCRIPTION, WORK_WEBHOOK = "sub_", "whk_"
ULID_TIME_MS_MAX = 2**48 - 1
ULID_PATTERN = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")

PAIRS = tuple(a + b for a in ALPHABET for b in ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))


def ulid(time_ms: int, entropy: bytes) -> str:
    """26 characters of Crockford's base 32: `time_ms` (0 … 2^48 − 1), then 10 bytes."""
    number = (time_ms << 80) | int.from_bytes(entropy, "big")
    pairs = PAIRS
    return "".join([pairs[(number >> shift) & 1023] for shift in _SHIFTS])


def derived_id(prefix: str, time_ms: int, *parts: bytes) -> str:
    """The same id for the same parts; parts are length-prefixed, so no two lists of parts read alike."""
    digest = hashlib.blake2b(digest_size=10)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return prefix + ulid(time_ms, digest.digest())


def is_id(text: str, prefix: str) -> bool:
    return text.startswith(prefix) and ULID_PATTERN.fullmatch(text, len(prefix)) is not None


def time_of(identifier: str) -> int:
    """Milliseconds in the time part of an id with a ULID."""
    number = 0
    for character in identifier[-26:-16]:
        number = number * 32 + ALPHABET.index(character)
    return number
