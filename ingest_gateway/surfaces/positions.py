"""`Atlas-Position`: where on the log a request's record stands. Opaque to clients; they send it as `Atlas-After`."""

import base64
import binascii
import struct

from aiohttp import web

from ingest_gateway.log.event_log import Appended

POSITION_HEADER = "Atlas-Position"
POSITION_CHARACTERS_MAX = 512
POSITION: web.RequestKey[str] = web.RequestKey("position", str)
_PLACE = struct.Struct(">Iq")


def position_of(appended: Appended) -> str:
    place = _PLACE.pack(appended.partition, appended.offset) + appended.topic.encode()
    return base64.urlsafe_b64encode(place).rstrip(b"=").decode()


def position_from(text: str) -> tuple[str, int, int] | None:
    """Topic, partition and offset; None for what is no position."""
    if len(text) > POSITION_CHARACTERS_MAX:
        return None
    try:
        place = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        partition, offset = _PLACE.unpack_from(place)
        return place[_PLACE.size :].decode(), partition, offset
    except (binascii.Error, ValueError, struct.error):
        return None


async def add_position(request: web.Request, response: web.StreamResponse) -> None:
    """Where a request's command stands, on its answer."""
    if POSITION in request:
        response.headers[POSITION_HEADER] = request[POSITION]
