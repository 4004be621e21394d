"""What only the key that encrypted it can decrypt: the second half of adapter.py, and like it the one place that
follows new names.
"""

from domain.security.encrypted_tokens import EncryptedTokens
from domain.security.sealed_secrets import SecretBox
from ingest_gateway.read_model.cursors import Cursors


def closed_now(master_key: bytes, text: str, now_ms: int) -> dict[str, str]:
    """As today's code writes them, in hex or text; `opened` must read them for as long as their readers are kept."""
    return {
        "cursor": Cursors(master_key).encrypt(b"list", text.encode(), now_ms),
        "position": EncryptedTokens(master_key, "position").encrypt(b"ws_1/live", text.encode()).hex(),
        "secret": SecretBox(master_key).seal(text, "ws_1", "live").hex(),
    }


def opened(master_key: bytes, kind: str, closed: str, now_ms: int) -> str:
    match kind:
        case "cursor":
            return Cursors(master_key).decrypt(b"list", closed, now_ms).decode()
        case "position":
            content = EncryptedTokens(master_key, "position").decrypt(b"ws_1/live", bytes.fromhex(closed))
            assert content is not None, "not opened"
            return content.decode()
        case "secret":
            return SecretBox(master_key).open(bytes.fromhex(closed), "ws_1", "live")
    raise KeyError(kind)
