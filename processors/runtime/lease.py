"""How long this worker may still act as owner: the group's session, counted from when a heartbeat was SENT.

A worker that was paused (SIGSTOP, a swapped machine, a blocked loop) past its session loses its partitions without
knowing; its late outputs would stand beside the new owner's, and a late changelog entry would be kept by compaction
(RELIABILITY F16, F28). The broker counts the session from when it receives a heartbeat, so a clock that starts when the
heartbeat leaves always ends first. Past it nothing is produced any more: the process stops, and is started again.
What this leaves open is a pause between the check and the send of a batch; see docs/decisions on fencing.

Nor is a worker an owner whose event loop does not run, though its heartbeats have a thread of their own: after a
session without the loop they are held back, so that the group gives its partitions to others (F28).
"""

import time

MARGIN_SECONDS = 0.5


class LeaseLost(Exception):
    """The session may have ended: another worker may own the partitions already."""


class Lease:
    """`renew` is called by the membership's thread, the rest by the event loop's; one float is all they share."""

    def __init__(self, session_seconds: float) -> None:
        self._session_seconds = session_seconds
        self._ends_at = float("-inf")
        self._loop_ran_at = float("inf")  # not watched yet

    def renew(self, sent_at: float) -> None:
        """A heartbeat that left at `sent_at` (monotonic seconds) was answered."""
        self._ends_at = max(self._ends_at, sent_at + self._session_seconds - MARGIN_SECONDS)

    def seconds_left(self, now: float) -> float:
        return self._ends_at - now

    def loop_ran(self, now: float) -> None:
        """Called by the event loop, again and again."""
        self._loop_ran_at = now

    def loop_is_blocked(self, now: float) -> bool:
        """Whether the loop has not run for a whole session."""
        return now - self._loop_ran_at > self._session_seconds

    def check(self) -> None:
        """Raises LeaseLost. Asked right before a batch's outputs leave."""
        left = self.seconds_left(time.monotonic())
        if left < 0:
            raise LeaseLost(f"no heartbeat was answered in time: the session may have ended {-left:.1f} s ago")
