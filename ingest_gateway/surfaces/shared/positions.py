"""`Atlas-Position`: the position of a request's record on the log. Opaque to clients; they send it as `Atlas-After`.

A stream's topic belongs to one workspace. Workspaces share the partitions of `commands`, so a position there is
encrypted: a client can't see from it how much others do, and it is valid only in its own workspace and environment.
`Atlas-After: <position>[, …]` names the positions, from answers of any gateway, that a read must have passed.
"""

import base64
import binascii
import struct

from aiohttp import web

from domain.security.principals import Principal
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.log.event_log import Appended
from ingest_gateway.services import Services
from ingest_gateway.surfaces.shared.requests import read_control_on
from schemas.errors import FieldError
from schemas.log_records import RecordPosition
from schemas.topics import Topic, parse_stream_topic

POSITION_HEADER = "Atlas-Position"
POSITION_CHARACTERS_MAX = 512
POSITION: web.RequestKey[str] = web.RequestKey("position", str)
COMMAND = "cmd."
"""Before a position on `commands`; no other has a dot."""
_POSITION = struct.Struct(">Iq")


def position_of(appended: Appended) -> str:
    """On a stream's topic."""
    return _written(_POSITION.pack(appended.partition, appended.offset) + appended.topic.encode())


def command_position(services: Services, principal: Principal, appended: Appended) -> str:
    position = _POSITION.pack(appended.partition, appended.offset)
    return COMMAND + _written(services.position_tokens.encrypt(_scope(principal), position))


def position_from(services: Services, principal: Principal, text: str) -> RecordPosition | None:
    """Topic, partition and offset; None for what is no position of the principal's workspace and environment."""
    if len(text) > POSITION_CHARACTERS_MAX:
        return None
    try:
        if text.startswith(COMMAND):
            position = services.position_tokens.decrypt(_scope(principal), _read(text.removeprefix(COMMAND)))
            return None if position is None else (Topic.COMMANDS, *_POSITION.unpack(position))
        position = _read(text)
        partition, offset = _POSITION.unpack_from(position)
        topic = position[_POSITION.size :].decode()
    except (binascii.Error, ValueError, struct.error):
        return None
    stream = parse_stream_topic(topic)
    if stream is None or (stream.workspace, stream.environment) != (principal.workspace, principal.environment):
        return None
    if not principal.may_use_stream(stream.stream):
        return None  # else a client could find out how much is on it
    return topic, partition, offset


def _scope(principal: Principal) -> bytes:
    return f"{principal.workspace}/{principal.environment}".encode()


def _written(position: bytes) -> str:
    return base64.urlsafe_b64encode(position).rstrip(b"=").decode()


def _read(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


async def add_position(request: web.Request, response: web.StreamResponse) -> None:
    """Puts the position of a request's command on its answer."""
    if POSITION in request:
        response.headers[POSITION_HEADER] = request[POSITION]


AFTER_HEADER = "Atlas-After"
POSITIONS_MAX = 20


async def named_positions(request: web.Request, services: Services, principal: Principal) -> list[RecordPosition]:
    """The positions on streams. Positions of commands are awaited here: their effects were on `control` before their
    answers. Raises Refused: read_model_behind, invalid_request.
    """
    written = ",".join(request.headers.getall(AFTER_HEADER, ()))
    texts = [text.strip() for text in written.split(",") if text.strip()]
    positions = [position_from(services, principal, text) for text in texts[: POSITIONS_MAX + 1]]
    mine = [position for position in positions if position is not None]
    if len(mine) != len(texts):
        error = FieldError(AFTER_HEADER, f"Must be up to {POSITIONS_MAX} values of Atlas-Position of this workspace.")
        raise Refused(ErrorKind.INVALID_FIELDS, fields=[error])
    on_streams = [position for position in mine if position[0] != Topic.COMMANDS]
    if len(on_streams) < len(mine):
        await read_control_on(services)
    return on_streams
