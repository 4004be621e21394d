"""A gateway's signature on a record that it wrote: proof that Atlas itself computed the record's id and payload hash.

The header `atlas-seal` is the payload hash (16 bytes) and a keyed BLAKE2b (16 bytes) over topic, hash and value.
Admission trusts a record with a valid signature. For every other record (direct Kafka producers) it computes id and
hash itself.
"""

import hashlib
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any

from domain.security.key_derivation import derive_key

GATEWAY_SIGNATURE = "atlas-seal"
HASH_BYTES = 16
MAC_BYTES = 16
_SIGNATURE_BYTES = HASH_BYTES + MAC_BYTES
TOPICS_KEPT_MAX = 4_096


class GatewaySigner:
    def __init__(self, master_key: bytes) -> None:
        self._key = derive_key(master_key, "seal")
        self._begun: dict[str, Any] = {}  # of each topic a hash that has taken in the key and its name

    def sign(self, topic: str, payload_hash: bytes, value: bytes) -> bytes:
        return payload_hash + self._mac(topic, payload_hash, value)

    def sign_all(self, topic: str, payload_hashes: Sequence[bytes], values: Sequence[bytes]) -> list[bytes]:
        """As `sign`, of many records of one topic."""
        begun = self._begun.get(topic) or self._begin(topic)
        found = []
        for payload_hash, value in zip(payload_hashes, values, strict=True):
            mac = begun.copy()
            mac.update(payload_hash)
            mac.update(value)
            found.append(payload_hash + mac.digest())
        return found

    def verified_hash(self, topic: str, signature: bytes | None, value: bytes) -> bytes | None:
        """The payload hash, or None where the signature is absent or not ours."""
        if signature is None or len(signature) != _SIGNATURE_BYTES:
            return None
        payload_hash = signature[:HASH_BYTES]
        mac = (self._begun.get(topic) or self._begin(topic)).copy()  # as `_mac`, without a call: it is every event's
        mac.update(payload_hash)
        mac.update(value)
        return payload_hash if compare_digest(signature[HASH_BYTES:], mac.digest()) else None

    def _mac(self, topic: str, payload_hash: bytes, value: bytes) -> bytes:
        mac = (self._begun.get(topic) or self._begin(topic)).copy()
        mac.update(payload_hash)
        mac.update(value)
        digest: bytes = mac.digest()
        return digest

    def _begin(self, topic: str) -> Any:
        if len(self._begun) >= TOPICS_KEPT_MAX:
            self._begun.clear()
        begun = self._begun[topic] = hashlib.blake2b(topic.encode(), key=self._key, digest_size=MAC_BYTES)
        return begun
