"""Canonical JSON: two texts of one payload give the same bytes. Payloads are compared by it; ids derive from it.

The rules, each with a test vector in tests/unit/test_canonical_json.py:
- white space between tokens does not matter, nor does the order of names (written in code point order);
- strings count by their characters: `"\\u0041"` is `"A"`, `"\\/"` is `"/"`. Nothing is normalised beyond that;
- integers count by their value, at any size: 2^64 and 2^64+1 differ, `-0` is `0`;
- other numbers count as written: `1`, `1.0`, `1.00`, `1e0` and `1E0` are five payloads, `-0.0` and `0.0` two;
- a name given twice in one object has its last value, as every common parser reads it.

Not RFC 8785 (the JSON Canonicalization Scheme): it reads every number as a double. `1` and `1.0` would be one payload,
and so would 2^53 and 2^53+1: a key that comes again with another payload would pass for a replay.

`canonical` expects text that `strict.py` has accepted. It refuses what it cannot read, but bounds no depth or range.
Both steps are C: msgspec hands each non-integer's token to `Raw`, which is written as it is. Ids depend on these bytes,
so a change here is a change of every event's id.
"""

import hashlib

import msgspec

from domain.json.strict import JsonError

_READ = msgspec.json.Decoder(float_hook=msgspec.Raw)
_WRITE = msgspec.json.Encoder(order="sorted")
_ABSENT = b"\xff" * 8  # no part is this long, so an absent part differs from an empty one


def canonical(text: bytes | msgspec.Raw) -> bytes:
    """The canonical form of one JSON document."""
    try:
        return _WRITE.encode(_READ.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JsonError(f"The text is not valid JSON: {error}.") from None
    except RecursionError:
        raise JsonError("The text is nested too deeply.") from None


def payload_hash(*parts: bytes | None) -> bytes:
    """SHA-256 (32 bytes) over the parts in order. Each is length-prefixed, so no two lists of parts read alike."""
    return hashlib.sha256(b"".join(map(framed, parts))).digest()


def framed(part: bytes | None) -> bytes:
    """One part of what `payload_hash` takes in."""
    return _ABSENT if part is None else framed_length(len(part)) + part


def framed_length(size: int) -> bytes:
    """What stands before a part of so many bytes."""
    return size.to_bytes(8, "big")
