"""Avro's primitive encodings by hand, for records that are put together from pieces on a hot path.

A record in Avro is its fields' encodings in a row and nothing else, so pieces that were encoded before (or stand in
another record) can be joined. What is built so is byte for byte what fastavro writes; tests hold that.
"""

NOTHING = b"\x00"
"""The empty string, the number 0, False, the end of an array and the null branch of a union are this one byte."""

_SMALL_MAX = 1 << 13


def _zigzag(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_SMALL = tuple(_zigzag(number) for number in range(_SMALL_MAX))


def long(number: int) -> bytes:
    """An int or long. Offsets (3, 4 bytes) and times in milliseconds (6) are written out, as they are many."""
    if number < 0:
        return _zigzag(number)
    if number < _SMALL_MAX:
        return _SMALL[number]
    n = number << 1
    if n < 1 << 21:
        return bytes((n & 127 | 128, n >> 7 & 127 | 128, n >> 14))
    if n < 1 << 28:
        return bytes((n & 127 | 128, n >> 7 & 127 | 128, n >> 14 & 127 | 128, n >> 21))
    if 1 << 35 <= n < 1 << 42:
        low = (n & 127 | 128, n >> 7 & 127 | 128, n >> 14 & 127 | 128, n >> 21 & 127 | 128, n >> 28 & 127 | 128)
        return bytes((*low, n >> 35))
    return _zigzag(number)


def bytes_(value: bytes) -> bytes:
    return long(len(value)) + value


def string(text: str) -> bytes:
    return bytes_(text.encode())


def array(items: list[bytes]) -> bytes:
    """Of items that are encoded already."""
    return long(len(items)) + b"".join(items) + NOTHING if items else NOTHING


def read_long(source: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next field begins. Raises IndexError past the end."""
    byte = source[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    raw, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = source[at]
        raw |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at + 1
        shift += 7
