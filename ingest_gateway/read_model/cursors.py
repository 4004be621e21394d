"""Cursors: where a list goes on, encrypted, so that a client can't read one, invent one or use it for another list.

A cursor is bound to what it was made for (workspace, environment, list, filter) and holds for 24 hours (A-085). Forged,
cut, of another tenant or filter, too old: all are CursorInvalid (S8).
"""

import base64
import binascii
import struct

from domain.security.encrypted_tokens import EncryptedTokens

PREFIX = "cur_"
LIFE_MS = 24 * 3_600_000
CHARACTERS_MAX = 1_024
_ISSUED = struct.Struct(">Q")


class CursorInvalid(Exception):
    """The message is for the caller."""


class Cursors:
    def __init__(self, master_key: bytes) -> None:
        self._tokens = EncryptedTokens(master_key, "cursor")

    def encrypt(self, bound_to: bytes, position: bytes, now_ms: int) -> str:
        """`position`: where the list goes on."""
        token = self._tokens.encrypt(bound_to, _ISSUED.pack(now_ms) + position)
        return PREFIX + base64.urlsafe_b64encode(token).rstrip(b"=").decode()

    def decrypt(self, bound_to: bytes, cursor: str, now_ms: int) -> bytes:
        """The position. Raises CursorInvalid."""
        content = self._tokens.decrypt(bound_to, _decoded(cursor))
        if content is None or len(content) < _ISSUED.size:
            raise CursorInvalid("The cursor is not one of this list and filter.")
        (issued_ms,) = _ISSUED.unpack_from(content)
        if now_ms - issued_ms >= LIFE_MS:
            raise CursorInvalid("The cursor is older than 24 hours. Start again, from a time or an event's id.")
        return content[_ISSUED.size :]


def _decoded(cursor: str) -> bytes:
    text = cursor.removeprefix(PREFIX)
    if text == cursor or len(cursor) > CHARACTERS_MAX:
        raise CursorInvalid("The cursor is not one that this API gave out.")
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise CursorInvalid("The cursor is not one that this API gave out.") from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != text:
        raise CursorInvalid("The cursor is not one that this API gave out.")
    return decoded
