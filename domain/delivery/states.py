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
    """Its record is on the topic `deliveries`, and no worker has it in memory."""
    QUEUED_FROM_LOG = "queued_from_log"
    """It waits in the queue of its endpoint for a free slot. No attempt was made yet."""
    RUNNING_FROM_LOG = "running_from_log"
    """Its first attempt runs."""
    RECORDING_FROM_LOG = "recording_from_log"
    """Its first attempt has ended; the outcome is on its way to the broker."""
    STORING = "storing"
    """It can't be attempted now, and is on its way into the retry table."""
    WAITING = "waiting"
    """It waits in the retry table: for its first attempt, for a retry, or for its endpoint (see below)."""
    BEHIND_ORDERING_KEY = "behind_ordering_key"
    """It waits in the retry table until the delivery ahead of it with the same ordering key has ended."""
    QUEUED_FROM_TABLE = "queued_from_table"
    """It is due, and waits in the queue of its endpoint for a free slot."""
    RUNNING_FROM_TABLE = "running_from_table"
    """An attempt runs: a retry, or the first attempt of a delivery that had to wait before it."""
    RECORDING_FROM_TABLE = "recording_from_table"
    """That attempt has ended; the outcome is on its way to the broker."""
    DELIVERED = "delivered"
    """The end: an attempt was acknowledged."""
    EXHAUSTED = "exhausted"
    """The end: the retry schedule is used up, the workflow was deleted, or the delivery is older than 30 days
    (`is_given_up`)."""
    DEAD_LETTERED = "dead_lettered"
    """The end: no delivery can be read from the record. It is on the topic `dead-letters`."""


class DeliveryInput(StrEnum):
    """What moves a delivery. `RECORDED_…`: the broker has confirmed the attempt's outcome and the table's change."""

    QUEUE = "queue"
    """A worker reads the record, and the endpoint has capacity in memory."""
    STORE = "store"
    """A worker reads the record, but the endpoint has none, is disabled, fails, or gets ordered events."""
    SET_ASIDE = "set_aside"
    """A worker reads the record and can't make a delivery of it."""
    LOAD = "load"
    """Its due time has come, and nothing keeps its endpoint from being sent to."""
    START = "start"
    """Its endpoint has a free slot."""
    POSTPONE = "postpone"
    """Its endpoint is not sent to any more for now, or it can't be found out yet where the route leads."""
    FINISH = "finish"
    """The attempt has ended, with any result."""
    STORED = "stored"
    """The broker has confirmed its entry in the retry table."""
    STORED_BEHIND = "stored_behind"
    """The same, and another delivery with the same ordering key is ahead of it."""
    ADVANCE = "advance"
    """The delivery ahead of it with the same ordering key has ended."""
    RECORDED_DELIVERED = "recorded_delivered"
    """The attempt was acknowledged."""
    RECORDED_RETRY = "recorded_retry"
    """The attempt failed, and another one is due later."""
    RECORDED_DISABLED = "recorded_disabled"
    """The endpoint answered 410, and is disabled."""
    RECORDED_EXHAUSTED = "recorded_exhausted"
    """There is no further attempt."""
    RELEASE = "release"
    """Its worker stops, dies, or loses the partition."""


class Keeper(StrEnum):
    """What still has the delivery after its worker has died."""

    LOG = "log"
    """Its record on `deliveries`, whose offset is not committed."""
    TABLE = "table"
    """Its entry in the retry table, and the changelog of that."""
    NOBODY = "nobody"
    """Nothing is left to be done."""


class WaitReason(StrEnum):
    """Why the deliveries of one endpoint stay in the retry table of one partition: the first that holds."""

    REACTIVATION = "reactivation"
    """The endpoint is disabled. It is looked at again when its state on `control` changes."""
    CIRCUIT = "circuit"
    """The endpoint fails, so that its circuit is open. It is looked at again when the circuit may be probed."""
    DUE_TIME = "due_time"
    """The time of the next attempt has not come."""
    FREE_SLOT = "free_slot"
    """The endpoint has as many deliveries in memory as it may. It is looked at again when an attempt has ended."""
    MEMORY = "memory"
    """The process has as many deliveries in memory as it may. It is looked at again when an attempt has ended."""


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
        _S.RUNNING_FROM_LOG: {_I.FINISH: _S.RECORDING_FROM_LOG, _I.POSTPONE: _S.STORING, _I.RELEASE: _S.UNREAD},
        _S.RECORDING_FROM_LOG: {**_RECORDED, _I.RELEASE: _S.UNREAD},
        _S.STORING: {_I.STORED: _S.WAITING, _I.STORED_BEHIND: _S.BEHIND_ORDERING_KEY, _I.RELEASE: _S.UNREAD},
        _S.BEHIND_ORDERING_KEY: {_I.ADVANCE: _S.WAITING},
        _S.WAITING: {_I.LOAD: _S.QUEUED_FROM_TABLE},
        _S.QUEUED_FROM_TABLE: {_I.START: _S.RUNNING_FROM_TABLE, _I.POSTPONE: _S.WAITING, _I.RELEASE: _S.WAITING},
        _S.RUNNING_FROM_TABLE: {_I.FINISH: _S.RECORDING_FROM_TABLE, _I.POSTPONE: _S.WAITING, _I.RELEASE: _S.WAITING},
        _S.RECORDING_FROM_TABLE: {**_RECORDED, _I.RELEASE: _S.WAITING},
        _S.DELIVERED: {},
        _S.EXHAUSTED: {},
        _S.DEAD_LETTERED: {},
    }
)
"""A second record of a known delivery changes nothing, in any state of the delivery."""

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
