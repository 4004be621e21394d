"""Repairs JSON whose texts are not valid Unicode: each broken character becomes U+FFFD.

A program that cuts a text at a number of UTF-16 units or bytes (attribute limits of OpenTelemetry's SDKs, `slice` in
JavaScript) leaves half a character, which JSON writes as a lone `\\ud83d`. One such text must not make the rest of the
document unreadable. The repaired text is only read; the original bytes are passed on.
"""

import re

_HALF = re.compile(
    rb"(?<!\\)(\\(?:\\\\)*)u(?:([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""An odd number of backslashes begins an escape. A high half followed by a low half is a whole character."""


def mended(text: bytes) -> bytes:
    """The text with every broken character replaced; unchanged where nothing is broken."""
    return _HALF.sub(_mended_half, text.decode("utf-8", "replace").encode())


def _mended_half(found: re.Match[bytes]) -> bytes:
    return found[0] if found[2] is not None else found[1] + b"ufffd"
