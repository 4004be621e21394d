"""Who makes a request, as commands, telemetry and the audit log record it."""

import msgspec


class CallerContext(msgspec.Struct, frozen=True):
    """The caller and the request. A command that Atlas itself issues has an actor and no request."""

    actor: str = ""
    """The id of the API key or user, or the name of the process."""
    route: str = ""
    """Method and path as the API document writes it: `PATCH /v1/event-streams/{stream}`."""
    request_id: str = ""
    address: str = ""
    """The client's IP address."""
