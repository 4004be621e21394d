"""Many events at once: those of a batch that are usual are read, hashed, named and encoded in one pass for each step.

A usual event gets the same fields, hash, id and record here as from rules.py and avro.py
(tests/unit/test_bulk_events.py). Whatever is unusual about an event leaves it to rules.py, alone: an error, an
idempotency key, an optional field that is null, a name given twice, an escape outside its objects, a text of more than
64 KiB. So all errors come from there.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import orjson

from domain.events.fields import (
    AHEAD_MS_MAX,
    DATA_BYTES_MAX,
    FieldErrors,
    check_actor,
    check_metadata,
    is_stream_name,
    is_type,
    time_ms,
)
from domain.events.rules import EventFields
from domain.json.canonical import canonical, framed, framed_length
from domain.json.strict import DEPTH_MAX
from domain.security.gateway_signatures import HASH_BYTES
from schemas import ids
from schemas.avro_pieces import NOTHING, long
from schemas.codec import EVENT

TEXT_BYTES_MAX = 65_536
MEMBERS_REQUIRED = 4
FEW = 48
"""Up to here, ids are written faster one by one than with numpy."""
LENGTHS_KEPT = 4_096
LENGTHS = tuple(map(framed_length, range(LENGTHS_KEPT)))
_PRESENT = b"\x02"  # the branch of ["null", …]
_NO_KEY = b""
_LETTERS = np.frombuffer(ids.ALPHABET.encode(), dtype=np.uint8)
_SHIFTS = np.arange(35, -1, -5, dtype=np.uint64)
_ENTROPY_BYTES = 10


_ABSENT = msgspec.Raw()


class _Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event of a batch without a key; its objects as they were sent, empty where they were not. (`Raw | None` takes
    nothing but null.)
    """

    stream: str
    type: str
    occurred_at: str
    data: msgspec.Raw
    actor: msgspec.Raw = _ABSENT
    metadata: msgspec.Raw = _ABSENT


_read_item = msgspec.json.Decoder(_Item).decode


def usual_events(texts: Sequence[bytes], now_ms: int) -> list[EventFields | None]:
    """Each text's event, as `rules.read_event` reads it; None where that has to."""
    latest_ms = now_ms + AHEAD_MS_MAX
    good_names: set[tuple[str, str]] = set()
    found: list[EventFields | None] = []
    for text in texts:
        if len(text) > TEXT_BYTES_MAX:
            found.append(None)
            continue
        try:
            values = orjson.loads(text)  # strict about what `Raw` passes over
            item = _read_item(text)
        except (orjson.JSONDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found.append(None)
            continue
        names = item.stream, item.type
        if names not in good_names:
            if not (is_stream_name(item.stream) and is_type(item.type)):
                found.append(None)
                continue
            good_names.add(names)
        occurred_ms = usual_time_ms(item.occurred_at)
        fields = None
        if occurred_ms is not None and 0 <= occurred_ms <= latest_ms:
            fields = _fields(text, values, item, occurred_ms)
        found.append(fields)
    return found


def _fields(text: bytes, values: dict[str, Any], item: _Item, occurred_ms: int) -> EventFields | None:
    data = bytes(item.data)
    if type(values["data"]) is not dict or len(data) > DATA_BYTES_MAX:
        return None
    if text.count(b"[") + text.count(b"{") > DEPTH_MAX:
        return None
    objects = data
    members = MEMBERS_REQUIRED
    actor = metadata = None
    if item.actor is not _ABSENT:
        actor = _checked_object(values["actor"], item.actor, check_actor)
        if actor is None:
            return None
        members, objects = members + 1, objects + actor
    if item.metadata is not _ABSENT:
        metadata = _checked_object(values["metadata"], item.metadata, check_metadata)
        if metadata is None:
            return None
        members, objects = members + 1, objects + metadata
    # Each member brings one colon. A name given twice brings one more; an escape could hide one, or a name.
    if text.count(b":") != members + item.occurred_at.count(":") + objects.count(b":"):
        return None
    if b"\\" in text and text.count(b"\\") != objects.count(b"\\"):
        return None
    return EventFields(
        stream=item.stream,
        type=item.type,
        occurred_at=item.occurred_at,
        occurred_ms=occurred_ms,
        data=data,
        actor=actor,
        metadata=metadata,
    )


def _checked_object(value: object, raw: msgspec.Raw, check: Callable[[object, FieldErrors], None]) -> bytes | None:
    """The text of `actor` or `metadata`; None where there is an error in it, or may be: a name given twice."""
    errors = FieldErrors()
    check(value, errors)
    text = bytes(raw)
    return None if errors.listed or type(value) is not dict or text.count(b":") != len(value) else text


def usual_time_ms(text: str) -> int | None:
    """As `fields.time_ms`. Times in UTC with whole seconds or milliseconds are read without its pattern; what they have
    in common with others, down to the minute, is read once.
    """
    length = len(text)
    if length == 24:
        digits = text[17:19] + text[20:23]
        usual = text[19] == "."
    else:
        digits = text[17:19]
        usual = length == 20
    if not (usual and text[-1] == "Z" and text[16] == ":" and digits.isdigit() and text.isascii()):
        return time_ms(text)
    minute_ms = _minute_ms(text[:16])
    seconds = int(digits[:2])
    if minute_ms is None or seconds > 59:
        return None
    return minute_ms + seconds * 1_000 + (int(digits[2:]) if length == 24 else 0)


@lru_cache(maxsize=4_096)
def _minute_ms(text: str) -> int | None:
    return time_ms(f"{text}:00Z")


def payload_hashes(events: Sequence[EventFields]) -> list[bytes]:
    """16 bytes each, as `rules.payload_hash`."""
    heads: dict[tuple[str, str], bytes] = {}
    neither = framed(None) * 2
    sha256, lengths = hashlib.sha256, LENGTHS
    found = []
    for event in events:
        names = event.stream, event.type
        head = heads.get(names)
        if head is None:
            head = heads[names] = framed(event.stream.encode()) + framed(event.type.encode())
        occurred_at, data = event.occurred_at.encode(), canonical(event.data)
        size = len(data)
        parts = (
            head,
            lengths[len(occurred_at)],
            occurred_at,
            lengths[size] if size < LENGTHS_KEPT else framed_length(size),
            data,
            neither if event.actor is None and event.metadata is None else _framed_objects(event),
        )
        found.append(sha256(b"".join(parts)).digest()[:HASH_BYTES])
    return found


def _framed_objects(event: EventFields) -> bytes:
    actor, metadata = event.actor, event.metadata
    return framed(None if actor is None else canonical(actor)) + framed(
        None if metadata is None else canonical(metadata)
    )


def event_ids(
    workspace: str, environment: str, surface: str, events: Sequence[EventFields], hashes: Sequence[bytes]
) -> list[str]:
    """As `rules.event_id`, of events without a key."""
    scope = f"{workspace}\0{environment}\0{surface}".encode()
    begun = hashlib.blake2b(digest_size=_ENTROPY_BYTES)
    for part in (scope, _NO_KEY):
        begun.update(len(part).to_bytes(4, "big") + part)
    begun.update(HASH_BYTES.to_bytes(4, "big"))
    entropies = []
    for digest in hashes:
        taken_in = begun.copy()
        taken_in.update(digest)
        entropies.append(taken_in.digest())
    if len(events) <= FEW:
        return [
            ids.EVENT + ids.ulid(event.occurred_ms, entropy) for event, entropy in zip(events, entropies, strict=True)
        ]
    pairs, hashed = ids.PAIRS, _base_32(b"".join(entropies))
    heads: dict[int, str] = {}
    found = []
    at = 0
    for event in events:
        time_ms = event.occurred_ms
        head = heads.get(time_ms >> 20)
        if head is None:
            head = heads[time_ms >> 20] = ids.EVENT + ids.ulid(time_ms, bytes(_ENTROPY_BYTES))[:6]
        found.append(head + pairs[time_ms >> 10 & 1023] + pairs[time_ms & 1023] + hashed[at : at + 16])
        at += 16
    return found


def _base_32(entropies: bytes) -> str:
    """16 characters for each 10 bytes: each half is a number of 40 bits, and so 8 characters."""
    halves = np.frombuffer(entropies, dtype=np.uint8).reshape(-1, 5).astype(np.uint64)
    numbers = (
        (halves[:, 0] << np.uint64(32))
        | (halves[:, 1] << np.uint64(24))
        | (halves[:, 2] << np.uint64(16))
        | (halves[:, 3] << np.uint64(8))
        | halves[:, 4]
    )
    letters = _LETTERS[((numbers[:, None] >> _SHIFTS) & np.uint64(31)).astype(np.intp)]
    return str(letters.tobytes(), "ascii")


def encode_events(events: Sequence[EventFields], event_ids: Sequence[str]) -> list[bytes]:
    """Avro records with their header, as `avro.encode_event` writes those without a key."""
    id_bytes = len(ids.EVENT) + 26
    before = EVENT.prefix + long(id_bytes)
    middles: dict[tuple[str, str], bytes] = {}
    found = []
    for event, identifier in zip(events, event_ids, strict=True):
        names = event.stream, event.type
        middle = middles.get(names)
        if middle is None:
            middle = middles[names] = b"".join(map(_sized, (event.stream.encode(), event.type.encode())))
        occurred_at, data, actor, metadata = event.occurred_at.encode(), event.data, event.actor, event.metadata
        found.append(
            b"".join(
                (
                    before,
                    identifier.encode(),
                    middle,
                    long(len(occurred_at)),
                    occurred_at,
                    long(len(data)),
                    data,
                    NOTHING if actor is None else _PRESENT + _sized(actor),
                    NOTHING if metadata is None else _PRESENT + _sized(metadata),
                    NOTHING,
                )
            )
        )
    return found


def _sized(raw: bytes) -> bytes:
    return long(len(raw)) + raw
