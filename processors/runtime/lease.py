"""How long this worker may still act as owner: the group's session, counted from when a heartbeat was SENT.

A worker that no heartbeat was answered for a session may have lost its partitions without knowing; its late outputs
would stand beside the new owner's, and a late changelog entry would be kept by compaction (RELIABILITY F16, F28). The
broker counts the session from when it receives a heartbeat, so a clock that starts when the heartbeat leaves always
ends first. Past it nothing of what the lease covered is produced any more (docs/decisions/0018):
- a worker that ran all the time, whose coordinator was away, gives up what it has and joins the group again;
- one that did not run itself (SIGSTOP, a swapped machine, a blocked loop) ends and is started again.
What this leaves open is a pause between the check and the send of a batch; see docs/decisions/0007.

Nor is a worker an owner whose event loop does not run, though its heartbeats have a thread of their own: after a
session without the loop they are held back, so that the group gives its partitions to others (F28).
"""

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from processors.runtime.runtime import Runtime

MARGIN_SECONDS = 0.5
LOOK_EVERY_SECONDS = 0.1
"""Well below the margin: what waits to be sent is dropped before the broker can have ended the session."""
FROZEN_SECONDS = 3.0
"""A machine that is short of time may keep the loop waiting for that long; half of the shortest session."""


class LeaseLost(Exception):
    """The session may have ended: another worker may own the partitions already."""


class Abandoned(LeaseLost):
    """This belongs to an assignment that was given up: it never leaves, and nothing is left to do about it."""


class Lease:
    """`begin`, `renew` are called by the membership's thread, the rest by the event loop's; plain values are all they
    share.
    """

    def __init__(self, session_seconds: float) -> None:
        self._session_seconds = session_seconds
        self._ends_at = float("-inf")
        self._given_up = False
        self._loop_ran_at = float("inf")  # not watched yet

    @property
    def heartbeat_patience_seconds(self) -> float:
        """How long one heartbeat's answer is waited for: two of them fit into a session."""
        return self._session_seconds / 2

    def begin(self, now: float) -> None:
        """Partitions were assigned: the next heartbeat that is answered renews it."""
        self._ends_at = now
        self._given_up = False

    def renew(self, sent_at: float) -> None:
        """A heartbeat that left at `sent_at` (monotonic seconds) was answered. Nothing renews one given up."""
        if not self._given_up:
            self._ends_at = max(self._ends_at, sent_at + self._session_seconds - MARGIN_SECONDS)

    def expire(self) -> None:
        """The group has said that this worker is no member."""
        self._ends_at = float("-inf")

    def give_up(self) -> None:
        """It has ended, whatever heartbeat is answered after all: until `begin` nothing is this worker's."""
        self._given_up = True
        self._ends_at = float("-inf")

    @property
    def is_given_up(self) -> bool:
        return self._given_up

    def seconds_left(self, now: float) -> float:
        return self._ends_at - now

    def loop_ran(self, now: float) -> None:
        """Called by the event loop, again and again."""
        self._loop_ran_at = now

    def loop_is_blocked(self, now: float) -> bool:
        """Whether the loop has not run for a whole session."""
        return now - self._loop_ran_at > self._session_seconds

    def was_frozen(self, now: float) -> bool:
        """Whether the loop, or the process, stood still just now, too long to have noticed a lapse in time."""
        return now - self._loop_ran_at > FROZEN_SECONDS

    def check(self) -> None:
        """Raises LeaseLost. Asked right before a batch's outputs leave."""
        if self._given_up:
            raise Abandoned("the lease was given up")
        left = self.seconds_left(time.monotonic())
        if left < 0:
            raise LeaseLost(_why(left))


def _why(seconds_left: float) -> str:
    if seconds_left == float("-inf"):
        return "the group does not know this worker, or has not heard of it yet"
    return f"no heartbeat was answered in time: the session may have ended {-seconds_left:.1f} s ago"


async def watch_lease(runtime: "Runtime") -> None:
    """As long as the process runs: tells the runtime when the lease of what it fetches has run out."""
    while True:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        now, consumer = time.monotonic(), runtime.consumer
        fetches = consumer.fetcher is not None and consumer.fetcher.assigned()
        if fetches and not consumer.lease.is_given_up and (left := consumer.lease.seconds_left(now)) < 0:
            runtime.fail(LeaseLost(_why(left)))
        consumer.lease.loop_ran(now)
