"""Which streams a thing concerns, and what of it a key that is limited to streams may see and change. Pure.

One rule for both sides: gateways ask it before they show something, the control agent before it decides a command. What
concerns no stream in particular concerns the whole workspace, and is out of a limited key's reach.
"""

from collections.abc import Iterable

from domain.security.principals import Principal
from schemas.entities import EventType, Key, Replay, State, Stream, Subscription, WebhookEndpoint, Workflow
from schemas.topics import SPINE_STREAM

WHOLE_WORKSPACE: frozenset[str] = frozenset()


def concerned(state: State, routed_by: Iterable[str] = ()) -> frozenset[str]:
    """Names of streams. `routed_by`: of a workflow, the streams whose routes name it."""
    match state:
        case Stream():
            return frozenset({state.name})
        case Workflow():
            return frozenset(state.streams).union(routed_by)
        case WebhookEndpoint() | Key():
            return frozenset(state.streams)
        case Replay() if state.stream:
            return frozenset({state.stream})
        case Subscription():
            return frozenset({state.surface})
        case EventType():
            return frozenset({SPINE_STREAM})
        case _:
            return WHOLE_WORKSPACE


def may_change(principal: Principal, streams: frozenset[str]) -> bool:
    """What concerns `streams`: all of them must be the key's."""
    return not principal.is_limited or (bool(streams) and streams <= principal.streams)


def may_see(principal: Principal, state: State, routed_by: Iterable[str] = ()) -> bool:
    """A workflow is seen from each of its streams, as their events and routes name it; of all else, what may be
    changed."""
    streams = concerned(state, routed_by)
    if isinstance(state, Workflow):
        return not principal.is_limited or not streams.isdisjoint(principal.streams)
    return may_change(principal, streams)
