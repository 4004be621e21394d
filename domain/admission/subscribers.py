"""Where an event goes: to its stream's default routes and, on a system stream, to the subscriptions that match. Pure.

The routes are those of the moment in which the event is decided, and stand in its key's entry: read again, the record
goes where it went.
"""

from domain.entities.control_view import ControlView
from schemas.avro_pieces import read_long
from schemas.entities import Stream
from schemas.event_layout import EventPieces
from schemas.topics import SYSTEM_STREAMS


def routes_of(view: ControlView, stream: Stream, pieces: EventPieces) -> list[str]:
    """Ids of targets, the default routes first. Without subscriptions it is the stream's own list."""
    if stream.name not in SYSTEM_STREAMS:
        return stream.default_routes
    found = view.subscribed(stream.workspace, stream.environment, stream.name, type_of(pieces))
    return [*stream.default_routes, *found] if found else stream.default_routes


def type_of(pieces: EventPieces) -> str:
    length, at = read_long(pieces.kind_fields, 0)
    return pieces.kind_fields[at : at + length].decode()
