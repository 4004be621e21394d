"""Keys for single uses, derived from the installation's master key. One purpose's key says nothing of another's."""

import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ENCRYPTION_KEY_BYTES = 64


def derive_key(master_key: bytes, purpose: str) -> bytes:
    """A key for signatures and hashes (32 bytes)."""
    return hmac.digest(master_key, b"atlas/" + purpose.encode(), "sha256")


def derive_encryption_key(master_key: bytes, purpose: str) -> bytes:
    """A key for AES-256-SIV (64 bytes, two AES keys): HKDF-SHA256 (RFC 5869), with the purpose as its `info`."""
    hkdf = HKDF(SHA256(), ENCRYPTION_KEY_BYTES, salt=None, info=b"atlas/aes-256-siv/" + purpose.encode())
    return hkdf.derive(master_key)
