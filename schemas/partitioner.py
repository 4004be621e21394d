"""Kafka's own partitioner (murmur2 of the key), so that gateway, admission and Java clients agree where a key lives.

Pure Python: about 5 µs for a UUID; librdkafka computes it in C where it produces by key (`murmur2_random`).
"""

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995


def murmur2(key: bytes) -> int:
    """The Java client's 32-bit murmur2 with its seed, as an unsigned number."""
    length = len(key)
    h = (0x9747B28C ^ length) & _MASK
    end = length & ~3
    for start in range(0, end, 4):
        k = (int.from_bytes(key[start : start + 4], "little") * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    if rest := key[end:]:
        h = ((h ^ int.from_bytes(rest, "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


def partition_for(key: bytes, partitions: int) -> int:
    return (murmur2(key) & 0x7FFFFFFF) % partitions
