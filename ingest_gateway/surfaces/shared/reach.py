"""What a key that is limited to streams reaches with an operation, as the document says for each (`x-reach`):

| word | meaning |
|---|---|
| `path` | what the path names; out of reach it is answered as if it were not there |
| `asked` | the operation's own code checks what it is asked for or shows, by domain/security/reach.py |
| `workspace` | the whole workspace: not for limited keys |
| a system stream's name | that stream: the whole surface is about it |

An operation without one keeps its surface from starting. What is to be changed is looked at where it is decided
(domain/control/reach.py): this view may be a moment old, and a caller must not be able to see from the answer whether
what it named does not exist or is out of its reach.
"""

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from aiohttp import hdrs, web

from domain.entities.control_view import ControlView
from domain.security.principals import Principal
from domain.security.reach import may_see
from ingest_gateway.http.errors import ErrorAnswer, ErrorKind, Refused
from ingest_gateway.services import SERVICES
from ingest_gateway.surfaces.shared.errors import (
    ENDPOINT_NOT_FOUND,
    KEY_NOT_FOUND,
    REPLAY_NOT_FOUND,
    STREAM_NOT_FOUND,
    WORKFLOW_NOT_FOUND,
)
from schemas.entities import State, Workflow
from schemas.topics import SYSTEM_STREAMS

PATH, ASKED, WORKSPACE = "path", "asked", "workspace"
OTHER_STREAMS = "The key is limited to some streams, and this concerns others or the whole workspace."
_Seen = TypeVar("_Seen", bound=State)
Look = Callable[[ControlView, str, str, str], State | None]
"""By workspace, environment and what the path says."""


NAMED: dict[str, tuple[Look, ErrorAnswer]] = {
    "stream": (ControlView.any_stream, STREAM_NOT_FOUND),  # deleting one again under a key has the first answer
    "workflow": (ControlView.workflow, WORKFLOW_NOT_FOUND),
    "endpoint": (ControlView.endpoint, ENDPOINT_NOT_FOUND),
    "key": (ControlView.key, KEY_NOT_FOUND),
    "replay": (ControlView.replay, REPLAY_NOT_FOUND),
}
"""By the path's parameter: how to look it up, and the error where it is not found."""


def reach_error(reach: str, path: str) -> str | None:
    """What is wrong with an operation's `x-reach`, if anything."""
    if reach not in (PATH, ASKED, WORKSPACE, *SYSTEM_STREAMS):
        return "has no x-reach that there is"
    if reach == PATH and not set(re.findall(r"{(\w+)}", path)) & NAMED.keys():
        return "has the x-reach path, and names nothing there that is known"
    return None


def require_reach(request: web.Request, principal: Principal, reach: str) -> None:
    """For a limited key. Raises Refused."""
    if reach == PATH:
        if request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
            _require_named(request, principal)
    elif reach != ASKED and not (reach in SYSTEM_STREAMS and principal.may_use_stream(reach)):
        raise Refused(ErrorKind.FORBIDDEN, OTHER_STREAMS)


def seen(view: ControlView, principal: Principal, states: Iterable[_Seen]) -> list[_Seen]:
    """The states that the principal may see, by the rule of domain/security/reach.py."""
    if not principal.is_limited:
        return list(states)
    routed_by = view.routed_by(principal.workspace, principal.environment)
    return [
        one for one in states if may_see(principal, one, routed_by.get(one.id, ()) if isinstance(one, Workflow) else ())
    ]


def sees(view: ControlView, principal: Principal, state: State) -> bool:
    return bool(seen(view, principal, [state]))


def _require_named(request: web.Request, principal: Principal) -> None:
    """What the view does not have is left to the handler: it may have been created a moment ago, or not exist."""
    view = request.app[SERVICES].control.view
    for name in request.match_info.keys() & NAMED.keys():
        look, absent = NAMED[name]
        state = look(view, principal.workspace, principal.environment, request.match_info[name])
        if state is not None and not sees(view, principal, state):
            raise absent.refused()
