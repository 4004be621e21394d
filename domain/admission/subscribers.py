"""The routes of an event: its stream's default routes and, on a system stream, the subscriptions that match its type.

This is the only rule for them; their number is what the spine answers as `workflowsTriggered`. An event's routes are
those of the moment in which admission decides it. They are kept in its key's entry, so a record that is read again goes
to the same routes. A gateway that has no verdict in time applies the same rule to its own view of `control`.
"""

from domain.entities.control_view import ControlView
from schemas.avro_pieces import read_long
from schemas.entities import Stream
from schemas.event_layout import EventPieces
from schemas.topics import SYSTEM_STREAMS


def routes_of(view: ControlView, stream: Stream, event_type: str) -> list[str]:
    """Ids of workflows and subscriptions, the default routes first. Without subscriptions: the stream's own list."""
    if stream.name not in SYSTEM_STREAMS:
        return stream.default_routes
    found = view.subscribed(stream.workspace, stream.environment, stream.name, event_type)
    return [*stream.default_routes, *found] if found else stream.default_routes


def type_of(pieces: EventPieces) -> str:
    """The type of an encoded event."""
    length, at = read_long(pieces.kind_fields, 0)
    return pieces.kind_fields[at : at + length].decode()
