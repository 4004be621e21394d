"""An item's version: `ETag` on its answer, `If-Match: <version>` on a change of it (W-048; RFC 9110, 13.1.1).

| written | means |
|---|---|
| absent, `*` | whatever version there is (the last write wins) |
| `3`, `"3"` | version 3 |
| `"3", "4"` | one of these |
| `W/"3"`, `"3-gzip"`, `"3-br"`, `"3;gzip"`, … | version 3: our tag, as a proxy that compresses rewrote it |
| a number above 2^53 - 1 | no version gets there: 409 |
| all else | 400 |

RFC 9110 makes If-Match compare strongly, since a weak tag may name two states of an item. Ours never does: it counts
the item's changes, and compressing an answer makes no other version. So a client that sends back the tag that a proxy
showed means that version, and loses no update; if it were refused, it would read and try again without end.
"""

import re

import msgspec
from aiohttp import hdrs, web

from ingest_gateway.surfaces.work.errors import invalid
from schemas.errors import FieldError
from schemas.work import VERSION_MAX

IF_MATCH = "If-Match"
TAGS_MAX = 16
NO_VERSION = 'Expected the version that is to be changed, such as 3 or "3"; or *.'
NONE_MATCHES = [0]
_CODING = r"(?:--?|;)(?:gzip|br|zstd|deflate)"
"""What is put behind a tag by Apache's mod_deflate, mod_brotli and Caddy (`-gzip`), and by Jetty (`--gzip`)."""
_TAG = re.compile(rf'([0-9]{{1,40}})|(?:W/)?"([0-9]{{1,40}})(?:{_CODING})?"', re.ASCII)


def read_if_match(written: str | None) -> list[int] | None:
    """None: any version. Raises Refused."""
    if written is None or written.strip() == "*":
        return None
    tags = [tag.strip() for tag in written.split(",")]
    found = [_TAG.fullmatch(tag) for tag in tags]
    if len(tags) > TAGS_MAX or not all(found):
        raise invalid([FieldError(IF_MATCH, NO_VERSION)])
    numbers = (int(match[1] or match[2]) for match in found if match is not None)
    return [number for number in numbers if 0 < number <= VERSION_MAX] or NONE_MATCHES


class _Versioned(msgspec.Struct):
    version: int


_VERSION = msgspec.json.Decoder(_Versioned)


def shown(body: str | bytes, status: int = 200) -> web.Response:
    headers = {hdrs.ETAG: f'"{_VERSION.decode(body).version}"'}
    content = body.encode() if isinstance(body, str) else body
    return web.Response(body=content, status=status, content_type="application/json", headers=headers)
