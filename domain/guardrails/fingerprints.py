"""A request's fingerprint: SHA-256 over its model, messages and tools, in canonical JSON (B-034; json/canonical.py).

Two requests that ask the same model the same thing have the same one, regardless of their white space, order of names,
temperature or stream option. Nothing of the text can be read from it (B-056).
"""

import hashlib
from collections.abc import Mapping

import msgspec

from domain.json.canonical import canonical

PREFIX = "sha256:"
PARTS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("messages", "input", "prompt", "contents"),
    ("tools", "functions"),
    ("system", "instructions", "systemInstruction", "system_instruction"),
)
"""Members of a request's body by what they are: OpenAI (chat, responses, completions), Anthropic, Gemini."""
_ABSENT = b"null"


def fingerprint(body: Mapping[str, bytes | msgspec.Raw], model: str = "") -> str:
    """Of a request's body: each member's own JSON text, which `strict_json` has accepted. `model`: where the path
    names it and the body doesn't. Raises JsonError.
    """
    digest = hashlib.sha256()
    for names in PARTS:
        texts = [canonical(body[name]) for name in names if name in body]
        if names == ("model",) and not texts and model:
            texts = [msgspec.json.encode(model)]
        part = b"\0".join(texts) if texts else _ABSENT
        digest.update(len(part).to_bytes(8, "big") + part)
    return PREFIX + digest.hexdigest()
