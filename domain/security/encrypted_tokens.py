"""Encrypted tokens: what callers carry for Atlas from one request to the next. Only Atlas can make or read one.

A token is bound to its use (a tenant, a list, a filter) and good for nothing else. Tenants share the log's topics, so a
token also hides how much the others write. The same content for the same use is the same token.
"""

from domain.security.authenticated_encryption import AuthenticatedEncryption, NotOurs
from domain.security.earlier_encryption import decrypt_earlier_token


class EncryptedTokens:
    """`purpose`: a token for one purpose is not valid for another."""

    def __init__(self, master_key: bytes, purpose: str) -> None:
        self._master_key = master_key
        self._purpose = purpose
        self._encryption = AuthenticatedEncryption(master_key, f"token/{purpose}")

    def encrypt(self, bound_to: bytes, content: bytes) -> bytes:
        """`content`: one byte or more."""
        return self._encryption.encrypt(content, bound_to)

    def decrypt(self, bound_to: bytes, token: bytes) -> bytes | None:
        """The content; None if the token is not ours or is for another use.

        An earlier token may begin with any byte, so the version byte is not enough to distinguish the two.
        """
        try:
            return self._encryption.decrypt(token, bound_to)
        except NotOurs:
            pass
        try:
            return decrypt_earlier_token(self._master_key, self._purpose, bound_to, token)
        except NotOurs:
            return None
