"""Bytes that only Atlas can make and read, for what callers carry from one request to the next. Pure.

Bound to what they are for (a tenant, a list, a filter): a keyed BLAKE2b over both stands in front, the content itself
is hidden under a stream that follows from it and the key. So a place on a log that tenants share tells none of them
how much the others write. The same content for the same use has the same cover.
"""

import hashlib
import hmac

from domain.security.gateway_signatures import derive_key

MAC_BYTES = 16


class Cover:
    """`purpose`: no cover of one is good for another."""

    def __init__(self, master_key: bytes, purpose: str) -> None:
        self._mac_key = derive_key(master_key, purpose)
        self._stream_key = derive_key(master_key, f"{purpose}/stream")

    def close(self, bound_to: bytes, content: bytes) -> bytes:
        mac = self._mac(bound_to, content)
        return mac + self._hidden(mac, content)

    def open(self, bound_to: bytes, covered: bytes) -> bytes | None:
        """The content; None for what is not ours, or not for this."""
        mac, content = covered[:MAC_BYTES], self._hidden(covered[:MAC_BYTES], covered[MAC_BYTES:])
        return content if hmac.compare_digest(mac, self._mac(bound_to, content)) else None

    def _mac(self, bound_to: bytes, content: bytes) -> bytes:
        mac = hashlib.blake2b(len(bound_to).to_bytes(8, "big"), key=self._mac_key, digest_size=MAC_BYTES)
        mac.update(bound_to)
        mac.update(content)
        return mac.digest()

    def _hidden(self, mac: bytes, content: bytes) -> bytes:
        """And shown again."""
        stream = hashlib.shake_256(self._stream_key + mac).digest(len(content))
        return bytes(a ^ b for a, b in zip(content, stream, strict=True))
