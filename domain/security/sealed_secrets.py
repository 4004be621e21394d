"""Secrets that callers chose, as they stand on topics: AES-GCM under a key derived from the master key.

The nonce is a keyed hash of the text and of what it is bound to, so the same request made twice is the same bytes
(idempotency keys compare them), and no nonce is ever used for two texts. Bound to a workspace and environment, a sealed
secret opens nowhere else. Source: DESIGN, Identity (callers' own secrets), RELIABILITY W14.
"""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from domain.security.gateway_signatures import derive_key

NONCE_BYTES = 12


class SecretUnreadable(Exception):
    """Sealed under another master key, bound to something else, or damaged."""


class SecretBox:
    def __init__(self, master_key: bytes) -> None:
        self._cipher = AESGCM(derive_key(master_key, "callers-secrets"))
        self._nonce_key = derive_key(master_key, "callers-secrets-nonce")

    def seal(self, secret: str, workspace: str, environment: str) -> bytes:
        bound_to = _bound_to(workspace, environment)
        text = secret.encode()
        nonce = hmac.digest(self._nonce_key, bound_to + text, "sha256")[:NONCE_BYTES]
        return nonce + self._cipher.encrypt(nonce, text, bound_to)

    def open(self, sealed: bytes, workspace: str, environment: str) -> str:
        """Raises SecretUnreadable."""
        try:
            opened = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound_to(workspace, environment))
        except (InvalidTag, ValueError) as error:
            raise SecretUnreadable("the secret was sealed by another installation or for another workspace") from error
        return opened.decode()


def _bound_to(workspace: str, environment: str) -> bytes:
    """Ids of workspaces and environments have no NUL."""
    return f"{workspace}\0{environment}\0".encode()
