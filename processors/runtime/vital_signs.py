"""What the watchdog looks at: one look at a worker, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from faust.types import TP

from processors.runtime.open_transactions import OpenTransaction

NEVER = float("-inf")


class Call(NamedTuple):
    """A handler at work; `started_seconds` by the monotonic clock."""

    agent: str
    tp: TP
    first_offset: int
    records: int
    started_seconds: float


@dataclass(frozen=True)
class VitalSigns:
    """Times are of the monotonic clock, in seconds; NEVER: it did not happen yet."""

    failure: Exception | None = None
    """What ended the fetcher, or the membership in the group, for good."""
    lag: Mapping[TP, int] = field(default_factory=dict)
    """Records of each partition that are not handled yet, those held back by open transactions included."""
    unwatched: frozenset[str] = frozenset()
    """Topics that count for nothing here."""
    held_back: Mapping[TP, OpenTransaction] = field(default_factory=dict)
    idle: Mapping[TP, int] = field(default_factory=dict)
    """Offsets that the fetcher has reached on partitions of which it should get records at once."""
    unreadable: Mapping[TP, str] = field(default_factory=dict)
    """Why nothing more can be read of some of them."""
    done: int = 0
    """Records handled and table entries recovered since the start: only whether it grows matters."""
    call: Call | None = None
    """The handler call that has run the longest."""
    rebalancing_since: float | None = None
    outbox_stuck_seconds: float = 0.0
    fetch_unanswered_at: float = NEVER
    positions_unanswered_at: float = NEVER
    coordinator_away_at: float = NEVER
    """When brokers last gave no answer: about a partition's end, about where reading begins, as the coordinator."""
