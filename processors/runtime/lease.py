"""How long this worker may still act as owner: the group's session, counted from when a heartbeat was SENT.

A worker whose heartbeats were not answered for a session may have lost its partitions without knowing it. Its late
records would be on the log next to the new owner's, and compaction would keep a late changelog entry (F16, F28). The
broker counts the session from when it receives a heartbeat, so a clock that starts when the heartbeat leaves always
ends first. When it has ended, nothing that the lease protected is produced any more (docs/decisions/0018):
- a worker that ran all the time, and whose coordinator was away, gives up its assignment and joins the group again;
- a worker that did not run itself (SIGSTOP, a swapping machine, a blocked loop) ends and is started again.
This leaves open a pause between the check and the send of a batch; see docs/decisions/0007.

A worker whose event loop does not run must not stay owner either, though its heartbeats have a thread of their own:
after a session without the loop they are held back, and the group gives its partitions to others (F28).
"""

import asyncio
import time
from collections.abc import Callable

from processors.runtime.errors import Abandoned, LeaseLost

MARGIN_SECONDS = 0.5
LOOK_EVERY_SECONDS = 0.1
"""Well below the margin: records that wait to be sent are dropped before the broker can have ended the session."""
FROZEN_SECONDS = 3.0
"""On a busy machine the loop may have to wait for that long; half of the shortest session."""


class Lease:
    """`begin`, `renew` and `expire` are called by the membership's thread, the rest by the event loop's; they share
    plain values only.
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
        """The lease has ended, even if a heartbeat is answered later: until `begin` this worker owns nothing."""
        self._given_up = True
        self._ends_at = float("-inf")

    @property
    def is_given_up(self) -> bool:
        return self._given_up

    def seconds_left(self, now: float) -> float:
        return self._ends_at - now

    def loop_ran(self, now: float) -> None:
        """The event loop calls it again and again."""
        self._loop_ran_at = now

    def loop_is_blocked(self, now: float) -> bool:
        """Whether the loop has not run for a whole session."""
        return now - self._loop_ran_at > self._session_seconds

    def was_frozen(self, now: float) -> bool:
        """Whether the loop, or the process, did not run until now, for too long to have noticed a lapse in time."""
        return now - self._loop_ran_at > FROZEN_SECONDS

    def check(self) -> None:
        """Raises LeaseLost or Abandoned. Called right before the records of a batch leave."""
        if self._given_up:
            raise Abandoned("the lease was given up")
        left = self.seconds_left(time.monotonic())
        if left < 0:
            raise LeaseLost(_why(left))


def _why(seconds_left: float) -> str:
    if seconds_left == float("-inf"):
        return "the group does not know this worker, or has not heard of it yet"
    return f"no heartbeat was answered in time: the session may have ended {-seconds_left:.1f} s ago"


async def watch_lease(lease: Lease, is_owner: Callable[[], bool], fail: Callable[[LeaseLost], None]) -> None:
    """For as long as the process runs: calls `fail` at each look that finds the lease ended while `is_owner` says that
    the worker has partitions. Its looks are also how the lease knows that the event loop runs.
    """
    while True:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        now = time.monotonic()
        if is_owner() and not lease.is_given_up and (left := lease.seconds_left(now)) < 0:
            fail(LeaseLost(_why(left)))
        lease.loop_ran(now)
