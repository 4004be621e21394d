"""Sealed secrets: secrets that callers chose, encrypted as they are on topics, where other processes read them.

The same secret for the same workspace and environment is the same bytes: idempotency keys compare requests by them. A
sealed secret opens only for its own workspace and environment.
"""

from domain.security.authenticated_encryption import AuthenticatedEncryption, NotOurs
from domain.security.earlier_encryption import decrypt_earlier_secret


class SecretUnreadable(Exception):
    """Sealed under another master key, bound to something else, or damaged."""


class SecretBox:
    def __init__(self, master_key: bytes) -> None:
        self._master_key = master_key
        self._encryption = AuthenticatedEncryption(master_key, "callers-secret")

    def seal(self, secret: str, workspace: str, environment: str) -> bytes:
        """`secret`: one character or more."""
        return self._encryption.encrypt(secret.encode(), workspace.encode(), environment.encode())

    def open(self, sealed: bytes, workspace: str, environment: str) -> str:
        """Raises SecretUnreadable."""
        try:
            return self._opened(sealed, workspace, environment).decode()
        except NotOurs:
            why = "the secret was sealed by another installation or for another workspace"
            raise SecretUnreadable(why) from None

    def _opened(self, sealed: bytes, workspace: str, environment: str) -> bytes:
        """A secret that was sealed earlier may begin with any byte, also with the version of today's."""
        try:
            return self._encryption.decrypt(sealed, workspace.encode(), environment.encode())
        except NotOurs:
            return decrypt_earlier_secret(self._master_key, sealed, workspace, environment)
