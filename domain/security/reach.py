"""The streams that an object concerns, and whether a key limited to streams may see or change it.

Gateways apply this rule before they show an object, and the control agent before it decides a command. An object of no
particular stream concerns the whole workspace, so a limited key can't reach it.
"""

from collections.abc import Iterable

from domain.security.principals import Principal
from schemas.entities import EventType, Key, Replay, State, Stream, Subscription, WebhookEndpoint, Workflow
from schemas.topics import SPINE_STREAM

WHOLE_WORKSPACE: frozenset[str] = frozenset()


def concerned(state: State, routed_by: Iterable[str] = ()) -> frozenset[str]:
    """Names of the streams that an object concerns. `routed_by`: the streams whose routes name a workflow."""
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
    """Whether the key may change an object of these `streams`: all must be the key's."""
    return not principal.is_limited or (bool(streams) and streams <= principal.streams)


def may_see(principal: Principal, state: State, routed_by: Iterable[str] = ()) -> bool:
    """Whether the key may see the object: a workflow if any of its streams is the key's, since their events name it;
    any other object if the key may change it."""
    streams = concerned(state, routed_by)
    if isinstance(state, Workflow):
        return not principal.is_limited or not streams.isdisjoint(principal.streams)
    return may_change(principal, streams)
