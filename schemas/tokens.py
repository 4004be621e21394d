"""API keys: how they look, how one is minted and what is kept of it.

`atlas_live_sk_` / `atlas_test_sk_` (secret) and `atlas_live_pk_` / `atlas_test_pk_` (publishable), then 32 hex digits.
A token is derived from the master key and its key id: a replayed request shows the same one and no topic holds it;
only its keyed hash is stored (seeds/000, Authentication; DESIGN, Identity).
"""

import hmac
import re

from schemas.seal import derive_key

TOKEN = re.compile(r"atlas_(live|test)_(sk|pk)_[0-9a-f]{32}")


def mint_token(master_key: bytes, key_kind: str, environment: str, key_id: str) -> str:
    secret = hmac.digest(derive_key(master_key, "token"), key_id.encode(), "sha256")[:16].hex()
    return f"atlas_{environment}_{key_kind}_{secret}"


class TokenHasher:
    """The keyed hash under which a token is looked up: a stolen table of hashes is useless without the master key."""

    def __init__(self, master_key: bytes) -> None:
        self._key = derive_key(master_key, "token-hash")

    def hash(self, token: str) -> str:
        return hmac.digest(self._key, token.encode("utf-8", "surrogateescape"), "sha256").hex()
