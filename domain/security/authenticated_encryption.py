"""AES-SIV (RFC 5297) for what only Atlas may read: callers' tokens and callers' secrets (docs/decisions/0026).

Deterministic: the same content, bound to the same things, gives the same bytes, so that a record that is written again
is the same record. There is no nonce that could be used twice. It shows the content's length, and that two values
with the same content and binding are equal.

Encrypted is one byte, the version, then 16 bytes that authenticate everything, then the content's length in bytes.
"""

from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from domain.security.key_derivation import derive_encryption_key

VERSION = b"\x01"


class NotOurs(Exception):
    """Not encrypted under this master key for this purpose, bound to something else, or damaged."""


class AuthenticatedEncryption:
    """`purpose`: a value encrypted for one purpose is never accepted for another."""

    def __init__(self, master_key: bytes, purpose: str) -> None:
        self._cipher = _cipher(master_key, purpose)
        self._label = VERSION + purpose.encode()

    def encrypt(self, content: bytes, *bound_to: bytes) -> bytes:
        """`content`: one byte or more. `bound_to`: decryption needs the same parts again."""
        return VERSION + self._cipher.encrypt(content, [self._label, *bound_to])

    def decrypt(self, encrypted: bytes, *bound_to: bytes) -> bytes:
        """The content. Raises NotOurs."""
        if not encrypted.startswith(VERSION):
            raise NotOurs
        try:
            return self._cipher.decrypt(encrypted[len(VERSION) :], [self._label, *bound_to])
        except (InvalidTag, ValueError):
            raise NotOurs from None


@lru_cache(maxsize=64)
def _cipher(master_key: bytes, purpose: str) -> AESSIV:
    """Cached: deriving the key takes longer than encrypting a cursor, and each list makes a cursor."""
    return AESSIV(derive_encryption_key(master_key, purpose))
