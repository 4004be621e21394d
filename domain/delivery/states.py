"""The life of a delivery: its states, what moves it from one to the next, and what the API shows meanwhile.

A delivery is kept by the log until it has ended or is in the retry table, and by the retry table from then on. What is
in memory is a copy: when its worker stops, dies or loses the partition, the delivery is back where it is kept
(`RELEASE`), and the partition's next owner goes on from there. An attempt that was running is then made again under its
number.

`processors/delivery` moves each delivery that it has in memory by `next_state`. The state of one in the retry table
follows from its entry (`RetryEntry.state`). docs/deliveries.md is written from this file.
"""

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from domain.events.status import RouteState


class DeliveryState(StrEnum):
    UNREAD = "unread"
    QUEUED_FROM_LOG = "queued_from_log"
    RUNNING_FROM_LOG = "running_from_log"
    RECORDING_FROM_LOG = "recording_from_log"
    STORING = "storing"
    WAITING = "waiting"
    BEHIND_ORDERING_KEY = "behind_ordering_key"
    QUEUED_FROM_TABLE = "queued_from_table"
    RUNNING_FROM_TABLE = "running_from_table"
    RECORDING_FROM_TABLE = "recording_from_table"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    DEAD_LETTERED = "dead_lettered"


class DeliveryInput(StrEnum):
    """What moves a delivery. `RECORDED_…`: the broker has confirmed the attempt's outcome and the table's change."""

    QUEUE = "queue"
    STORE = "store"
    SET_ASIDE = "set_aside"
    LOAD = "load"
    START = "start"
    POSTPONE = "postpone"
    END = "end"
    STORED = "stored"
    STORED_BEHIND = "stored_behind"
    ADVANCE = "advance"
    RECORDED_DELIVERED = "recorded_delivered"
    RECORDED_RETRY = "recorded_retry"
    RECORDED_DISABLED = "recorded_disabled"
    RECORDED_EXHAUSTED = "recorded_exhausted"
    RELEASE = "release"


class Keeper(StrEnum):
    """What still has the delivery after its worker has died."""

    LOG = "log"
    TABLE = "table"
    NOBODY = "nobody"


class WaitReason(StrEnum):
    """Why the due deliveries of one endpoint stay in the retry table of one partition: the first that holds."""

    REACTIVATION = "reactivation"
    CIRCUIT = "circuit"
    DUE_TIME = "due_time"
    FREE_SLOT = "free_slot"
    MEMORY = "memory"


class ImpossibleTransition(Exception):
    """A delivery got an input that its state does not take: an error in the program."""

    def __init__(self, state: DeliveryState, received: DeliveryInput) -> None:
        super().__init__(f"a delivery in the state {state} can't take the input {received}")


_S, _I = DeliveryState, DeliveryInput
_RECORDED = {
    _I.RECORDED_DELIVERED: _S.DELIVERED,
    _I.RECORDED_RETRY: _S.WAITING,
    _I.RECORDED_DISABLED: _S.WAITING,
    _I.RECORDED_EXHAUSTED: _S.EXHAUSTED,
}

TRANSITIONS: Mapping[DeliveryState, Mapping[DeliveryInput, DeliveryState]] = MappingProxyType(
    {
        _S.UNREAD: {_I.QUEUE: _S.QUEUED_FROM_LOG, _I.STORE: _S.STORING, _I.SET_ASIDE: _S.DEAD_LETTERED},
        _S.QUEUED_FROM_LOG: {_I.START: _S.RUNNING_FROM_LOG, _I.POSTPONE: _S.STORING, _I.RELEASE: _S.UNREAD},
        _S.RUNNING_FROM_LOG: {_I.END: _S.RECORDING_FROM_LOG, _I.POSTPONE: _S.STORING, _I.RELEASE: _S.UNREAD},
        _S.RECORDING_FROM_LOG: {**_RECORDED, _I.RELEASE: _S.UNREAD},
        _S.STORING: {_I.STORED: _S.WAITING, _I.STORED_BEHIND: _S.BEHIND_ORDERING_KEY, _I.RELEASE: _S.UNREAD},
        _S.BEHIND_ORDERING_KEY: {_I.ADVANCE: _S.WAITING},
        _S.WAITING: {_I.LOAD: _S.QUEUED_FROM_TABLE},
        _S.QUEUED_FROM_TABLE: {_I.START: _S.RUNNING_FROM_TABLE, _I.POSTPONE: _S.WAITING, _I.RELEASE: _S.WAITING},
        _S.RUNNING_FROM_TABLE: {_I.END: _S.RECORDING_FROM_TABLE, _I.POSTPONE: _S.WAITING, _I.RELEASE: _S.WAITING},
        _S.RECORDING_FROM_TABLE: {**_RECORDED, _I.RELEASE: _S.WAITING},
        _S.DELIVERED: {},
        _S.EXHAUSTED: {},
        _S.DEAD_LETTERED: {},
    }
)
"""A second record of a known delivery changes nothing, whatever the delivery's state."""

FIRST_STATE = DeliveryState.UNREAD
RECORDED: Mapping[RouteState, DeliveryInput] = MappingProxyType(
    {
        RouteState.DELIVERED: DeliveryInput.RECORDED_DELIVERED,
        RouteState.RETRY_SCHEDULED: DeliveryInput.RECORDED_RETRY,
        RouteState.DISABLED: DeliveryInput.RECORDED_DISABLED,
        RouteState.EXHAUSTED: DeliveryInput.RECORDED_EXHAUSTED,
    }
)
"""By an outcome's status, which the API shows for the route from then on."""

KEPT_BY: Mapping[DeliveryState, Keeper] = MappingProxyType(
    {
        **dict.fromkeys((_S.UNREAD, _S.QUEUED_FROM_LOG, _S.RUNNING_FROM_LOG, _S.RECORDING_FROM_LOG), Keeper.LOG),
        **dict.fromkeys((_S.STORING,), Keeper.LOG),
        **dict.fromkeys((_S.WAITING, _S.BEHIND_ORDERING_KEY), Keeper.TABLE),
        **dict.fromkeys((_S.QUEUED_FROM_TABLE, _S.RUNNING_FROM_TABLE, _S.RECORDING_FROM_TABLE), Keeper.TABLE),
        **dict.fromkeys((_S.DELIVERED, _S.EXHAUSTED, _S.DEAD_LETTERED), Keeper.NOBODY),
    }
)


def next_state(state: DeliveryState, received: DeliveryInput) -> DeliveryState:
    """Raises ImpossibleTransition."""
    try:
        return TRANSITIONS[state][received]
    except KeyError:
        raise ImpossibleTransition(state, received) from None


def shown_states() -> dict[DeliveryState, frozenset[RouteState]]:
    """What the API can show for the route while its delivery is in each state: the status of the last outcome that was
    recorded, and `queued` before the first one.
    """
    recorded = {received: shown for shown, received in RECORDED.items()}
    first = FIRST_STATE, RouteState.QUEUED
    seen, to_visit = {first}, deque([first])
    while to_visit:
        state, shown = to_visit.popleft()
        for received, following in TRANSITIONS[state].items():
            pair = following, recorded.get(received, shown)
            if pair not in seen:
                seen.add(pair)
                to_visit.append(pair)
    return {state: frozenset(shown for one, shown in seen if one is state) for state in DeliveryState}
