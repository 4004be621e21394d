"""JSON whose texts are no Unicode, made readable: each broken character becomes U+FFFD. Pure.

Who cuts a text at a number of UTF-16 units or of bytes (attribute limits of OpenTelemetry's SDKs, `slice` in
JavaScript) leaves half a character, which JSON writes as a lone `\\ud83d`. One such text must not cost what stands
beside it. Only for reading: what goes on to others goes as it came.
"""

import re

_HALF = re.compile(
    rb"(?<!\\)(\\(?:\\\\)*)u(?:([dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""An odd number of backslashes begins an escape; two halves behind one another are a whole."""


def mended(text: bytes) -> bytes:
    """The same bytes where nothing is broken."""
    return _HALF.sub(_mended_half, text.decode("utf-8", "replace").encode())


def _mended_half(found: re.Match[bytes]) -> bytes:
    return found[0] if found[2] is not None else found[1] + b"ufffd"
