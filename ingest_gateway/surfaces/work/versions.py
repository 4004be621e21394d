"""`If-Match: <version>`: which versions a change is meant for. Pure. Sources: W-048; RELIABILITY S10; RFC 9110, 13.1.1.

| written | means |
|---|---|
| absent, `*` | whatever version there is (the last write wins) |
| `3`, `"3"` | version 3 |
| `"3", "4"` | one of these |
| `W/"3"` | nothing: a weak tag never matches here, so the answer is 409 |
| a number above 2^53 - 1 | no version gets there: 409 |
| all else | 400 |
"""

import re

from ingest_gateway.http.faults import FieldFault
from ingest_gateway.surfaces.work.faults import invalid
from schemas.work import VERSION_MAX

IF_MATCH = "If-Match"
TAGS_MAX = 16
NO_VERSION = 'Expected the version that is to be changed, such as 3 or "3"; or *.'
NONE_MATCHES = [0]
_TAG = re.compile(r'([0-9]{1,40})|"([0-9]{1,40})"|W/"[^"]{0,64}"', re.ASCII)


def read_if_match(written: str | None) -> list[int] | None:
    """None: any version. Raises Refused."""
    if written is None or written.strip() == "*":
        return None
    tags = [tag.strip() for tag in written.split(",")]
    found = [_TAG.fullmatch(tag) for tag in tags]
    if len(tags) > TAGS_MAX or not all(found):
        raise invalid([FieldFault(IF_MATCH, NO_VERSION)])
    numbers = (int(match[1] or match[2]) for match in found if match is not None and (match[1] or match[2]))
    return [number for number in numbers if 0 < number <= VERSION_MAX] or NONE_MATCHES
