"""Short keys of the read model: a number instead of names that every entry of an index would begin with.

A number is a hash of 63 bits, the same in each database. Where two names should share one, the rows tell them apart:
they hold the names themselves.
"""

from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=16_384)
def scope_of(workspace: str, environment: str) -> int:
    """What one workspace sees in one environment."""
    return _number(workspace, environment)


@lru_cache(maxsize=65_536)
def term_of(workspace: str, environment: str, key: str, value: str) -> int:
    """A key of events' metadata with one value."""
    return _number(workspace, environment, key, value)


def _number(*names: str) -> int:
    """Names hold no NUL (PostgreSQL's text can't)."""
    digest = blake2b("\x00".join(names).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
