"""What one partition of `usage` has reported: the live gateways, and for each bucket what is left and which gateways
use it.

All times are the log's (append times), so the same records make the same allocations. Nothing of it is durable, and
none needs to be: after a start or a rebalance nothing is allocated until every gateway had the time to be heard, while
the last allocations hold. It reports at once which gateways it has heard so far, so that gateways that start together
divide the limits from the start. Gateways' heartbeats, one to every partition, keep the time going.
"""

from collections.abc import Iterator

from domain.limits.account import FORGET_MS, BucketAccount
from domain.limits.decide import must_allocate
from schemas.records import SO_FAR, Shares, Usage

SILENCE_MS = 3_000
"""A gateway not heard of for so long has no share any more. Heartbeats come every second."""
HEARD_ALL_MS = 2_000
"""After so long every gateway that lives was heard of."""
QUIET_MS = 10_000
SWEEP_MS = 1_000

Allocated = tuple[str, Shares | None]
"""A bucket (empty: the list of gateways) and its allocation; None: even parts again."""


class Ledger:
    """Of one partition. `note` each record in turn, then ask once for what is to be `allocated`."""

    def __init__(self) -> None:
        self._since_ms: int | None = None
        self._now_ms = 0
        self._swept_ms = 0
        self._heard_ms: dict[str, int] = {}
        self._gateways: list[str] = []
        """As last reported."""
        self._told_early = 0
        self._accounts: dict[str, BucketAccount] = {}
        self._used: dict[str, BucketAccount] = {}
        """Since the last call of `allocated`."""

    @property
    def gateways(self) -> int:
        return len(self._gateways)

    @property
    def buckets(self) -> int:
        return len(self._accounts)

    def note(self, usage: Usage, at_ms: int) -> None:
        if self._since_ms is None:
            self._since_ms = at_ms
        self._now_ms = max(self._now_ms, at_ms)
        if usage.leaving:
            self._heard_ms.pop(usage.gateway, None)
            return
        self._heard_ms[usage.gateway] = self._now_ms
        if usage.bucket:
            account = self._accounts.get(usage.bucket)
            if account is None:
                account = self._accounts[usage.bucket] = BucketAccount(usage.bucket)
            account.note(usage, self._now_ms, len(self._gateways))
            self._used[usage.bucket] = account

    def allocated(self) -> list[Allocated]:
        """What is new since the last call. Until every gateway had the time to say that it lives, that is who did."""
        if self._since_ms is None:
            return []
        if self._now_ms - self._since_ms < HEARD_ALL_MS:
            return list(self._heard_so_far())
        return [*self._told_gateways(), *self._allocations(), *self._swept()]  # in this order

    def _heard_so_far(self) -> Iterator[Allocated]:
        if len(self._heard_ms) > self._told_early:
            self._told_early = len(self._heard_ms)
            yield "", Shares(bucket="", gateways=sorted(self._heard_ms), dealt_ms=SO_FAR)

    def _told_gateways(self) -> Iterator[Allocated]:
        self._heard_ms = {name: at for name, at in self._heard_ms.items() if self._now_ms - at < SILENCE_MS}
        gateways = sorted(self._heard_ms)
        if gateways != self._gateways:
            self._gateways = gateways
            self._used = dict(self._accounts)  # allocations among other gateways must be made again
            yield "", Shares(bucket="", gateways=gateways, dealt_ms=self._now_ms)

    def _allocations(self) -> Iterator[Allocated]:
        gateways = self._gateways
        used, self._used = self._used, {}
        for account in used.values():
            if len(gateways) < 2:
                yield from self._unallocated(account)
            elif must_allocate(account.allocated, gateways, account.pressed, self._now_ms):
                yield account.name, account.allocate(gateways, self._now_ms)

    def _unallocated(self, account: BucketAccount) -> Iterator[Allocated]:
        """Even parts hold again."""
        if account.allocated is not None:
            account.allocated = None
            yield account.name, None

    def _swept(self) -> Iterator[Allocated]:
        """Once a second: buckets that nobody uses are allocated evenly again, and forgotten later."""
        if self._now_ms - self._swept_ms < SWEEP_MS:
            return
        self._swept_ms = self._now_ms
        for name, account in list(self._accounts.items()):
            account.forget_silent(self._now_ms)
            idle_ms = self._now_ms - account.used_ms
            if idle_ms >= QUIET_MS:
                yield from self._unallocated(account)
            if idle_ms >= FORGET_MS:
                del self._accounts[name]
