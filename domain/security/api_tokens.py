"""API keys: how each kind looks, how one is minted and what is kept of it.

| kind | form | where it is used |
|---|---|---|
| sk | `atlas_live_sk_` / `atlas_test_sk_` + 32 hex digits | events, secret |
| pk | `atlas_live_pk_` / `atlas_test_pk_` + 32 hex digits | events, publishable |
| pat | `atlas_pat_` + 32 hex digits | work, personal access token |
| spine | `sk_live_` / `sk_test_` + 32 hex digits | spine |
| abn | `abn_` + 20 characters of base 32 | burn, organisation key |

A token is derived from the master key and its key id: a replayed request shows the same one and no topic holds it; only
its keyed hash (HMAC-SHA-256) is stored. Rows of docs/requirements.md: A-010, A-012, W-011, W-015, S-057, B-003.
"""

import base64
import hmac
import re

from domain.security.key_derivation import derive_key

TOKEN = re.compile(
    r"atlas_(?:live|test)_(?:sk|pk)_[0-9a-f]{32}|atlas_pat_[0-9a-f]{32}|sk_(?:live|test)_[0-9a-f]{32}|abn_[a-z2-7]{20}"
)
_PREFIXES = {
    "sk": "atlas_{environment}_sk_",
    "pk": "atlas_{environment}_pk_",
    "pat": "atlas_pat_",
    "spine": "sk_{environment}_",
    "abn": "abn_",
}
_ORG_CHARACTERS = 20  # 100 bits


def token_prefix(key_kind: str, environment: str) -> str:
    """What every token of the kind begins with; it is no secret."""
    return _PREFIXES[key_kind].format(environment=environment)


def mint_token(master_key: bytes, key_kind: str, environment: str, key_id: str) -> str:
    digest = hmac.digest(derive_key(master_key, "token"), key_id.encode(), "sha256")
    if key_kind == "abn":
        secret = base64.b32encode(digest).decode().lower()[:_ORG_CHARACTERS]
    else:
        secret = digest[:16].hex()
    return token_prefix(key_kind, environment) + secret


def hashing_key(master_key: bytes) -> bytes:
    """What tokens are hashed with (HMAC-SHA-256)."""
    return derive_key(master_key, "token-hash")


class TokenHasher:
    """The keyed hash under which a token is looked up: a stolen table of hashes is useless without the master key."""

    def __init__(self, master_key: bytes) -> None:
        self._key = hashing_key(master_key)

    def hash(self, token: str) -> str:
        return hmac.digest(self._key, token.encode("utf-8", "surrogateescape"), "sha256").hex()
