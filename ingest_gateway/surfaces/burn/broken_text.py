"""Makes JSON readable whose texts are not valid Unicode: each broken character becomes U+FFFD. Pure.

A program that cuts a text at a number of UTF-16 units or of bytes (attribute limits of OpenTelemetry's SDKs, `slice` in
JavaScript) leaves half a character, which JSON writes as a lone `\\ud83d`. One such text must not make the rest of
the body unreadable. Only for reading: what is forwarded is forwarded unchanged.
"""

import re

_HALF = re.compile(
    rb"(?<!\\)(\\(?:\\\\)*)u(?:([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""An odd number of backslashes begins an escape. Two halves in a row are a whole character."""


def mended(text: bytes) -> bytes:
    """Returns the same bytes if nothing is broken."""
    return _HALF.sub(_mended_half, text.decode("utf-8", "replace").encode())


def _mended_half(found: re.Match[bytes]) -> bytes:
    return found[0] if found[2] is not None else found[1] + b"ufffd"
