"""Reads what Atlas encrypted before docs/decisions/0026, and writes nothing. That page says when each reader may go.

Both older forms were put together by hand: a token is a keyed BLAKE2b (16 bytes), then the content under a stream that
follows from it; a secret is a nonce that a keyed hash of the secret gave (12 bytes), then AES-256-GCM.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.security.authenticated_encryption import NotOurs
from domain.security.key_derivation import derive_key

MAC_BYTES = 16
NONCE_BYTES = 12


def decrypt_earlier_token(master_key: bytes, purpose: str, bound_to: bytes, token: bytes) -> bytes:
    """The content. Raises NotOurs."""
    mac, hidden = token[:MAC_BYTES], token[MAC_BYTES:]
    stream = hashlib.shake_256(derive_key(master_key, f"{purpose}/stream") + mac).digest(len(hidden))
    content = bytes(a ^ b for a, b in zip(hidden, stream, strict=True))
    expected = hashlib.blake2b(
        len(bound_to).to_bytes(8, "big") + bound_to + content,
        key=derive_key(master_key, purpose),
        digest_size=MAC_BYTES,
    )
    if not hmac.compare_digest(mac, expected.digest()):
        raise NotOurs
    return content


def decrypt_earlier_secret(master_key: bytes, sealed: bytes, workspace: str, environment: str) -> bytes:
    """The secret in UTF-8. Raises NotOurs."""
    bound_to = f"{workspace}\0{environment}\0".encode()
    try:
        cipher = AESGCM(derive_key(master_key, "callers-secrets"))
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        raise NotOurs from None
