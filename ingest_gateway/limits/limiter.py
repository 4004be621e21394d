"""All buckets of one gateway: takes requests, applies allocations, reports use. Mutable; time is an argument.

Without an allocation of a bucket the gateway uses an even part of it: 1/N of N gateways, so a single one uses all. An
allocation names the free capacity for this gateway and the count of accepted requests from which it was computed; what
was accepted since is subtracted. So the capacities of all gateways add up to what is free in the bucket, whatever is
under way (docs/decisions/0004).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from domain.limits.quotas import WHOLE_PPM, Quota, RateClass
from ingest_gateway.limits.buckets import NS_PER_SECOND, Bucket, Terms
from schemas.records import Shares, Usage

QuotaOf = Callable[[str, str, RateClass], Quota]
"""Workspace, environment and class to the quota that holds now."""
LIGHT_REPORT_NS = NS_PER_SECOND
FORGET_NS = 60 * NS_PER_SECOND
"""Longer than processors/rates remembers a gateway's count of accepted requests, which then starts again at 0."""
REPORTS_MAX = 300
LOOKED_AT_MAX = 500
"""Both bound the time of one call to some milliseconds; the rest is left to the next."""


class Allocation(NamedTuple):
    share_ppm: int
    gateways: int
    room_milli: int
    accepted: int
    at_ns: int


class BucketEntry:
    """A bucket, and what was reported of it. `headers` show `shown`: the requests that fit, the times until it is
    empty."""

    __slots__ = (
        "accepted_reported",
        "bucket",
        "class_text",
        "headers",
        "limit_text",
        "name",
        "policy_text",
        "refused_reported",
        "reported_ns",
        "shown",
        "subject",
        "used",
        "version",
    )

    def __init__(self, subject: tuple[str, str, RateClass], bucket: Bucket, now_ns: int) -> None:
        self.subject = subject
        self.name = subject[2].bucket(subject[0], subject[1])
        self.bucket = bucket
        self.version = -1
        self.used = False
        self.accepted_reported = self.refused_reported = 0
        self.reported_ns = now_ns
        self.shown: tuple[int, int, int] | None = None
        self.headers: Mapping[str, str] = {}
        self.describe()

    def describe(self) -> None:
        """Header values that change only with the quota."""
        quota = self.bucket.terms.quota
        self.shown = None
        self.limit_text = str(quota.burst)
        self.class_text = f'"{self.subject[2].name}"'
        self.policy_text = f"{self.class_text};q={quota.burst};w={quota.window_seconds}"

    def show(self, shown: tuple[int, int, int], headers: Mapping[str, str]) -> None:
        self.shown, self.headers = shown, headers


class Limiter:
    """`gateway` is this process's own name. Times are nanoseconds of one steady clock."""

    def __init__(self, gateway: str, quota_of: QuotaOf) -> None:
        self.gateway = gateway
        self._quota_of = quota_of
        self._entries: dict[tuple[str, str, str], BucketEntry] = {}
        self._used: list[BucketEntry] = []
        self._allocations: dict[str, Allocation] = {}
        self._fleets: dict[int, frozenset[str]] = {}
        self._gateways = 1
        self._version = 0
        self._to_look_at: list[tuple[str, str, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def gateways(self) -> int:
        """How many there are, this one included."""
        return self._gateways

    # Requests

    def take(self, rate_class: RateClass, workspace: str, environment: str, now_ns: int) -> tuple[bool, BucketEntry]:
        """Whether one more request fits the workspace's bucket of this class, and the bucket."""
        key = (workspace, environment if rate_class.by_environment else "", rate_class.name)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = self._begin((workspace, key[1], rate_class), now_ns)
        elif entry.version != self._version:
            self._renew(entry, now_ns)
        if not entry.used:
            entry.used = True
            self._used.append(entry)
        return entry.bucket.take(now_ns), entry

    def _begin(self, subject: tuple[str, str, RateClass], now_ns: int) -> BucketEntry:
        name, quota = subject[2].bucket(subject[0], subject[1]), self._quota_of(*subject)
        allocation = self._allocations.get(name)
        bucket = Bucket(self._terms(name, quota), now_ns if allocation is None else allocation.at_ns)
        if allocation is not None:
            bucket.change(bucket.terms, allocation.at_ns, allocation.room_milli)
        entry = BucketEntry(subject, bucket, now_ns)
        entry.version = self._version
        return entry

    def _renew(self, entry: BucketEntry, now_ns: int) -> None:
        """After quotas, or the number of gateways, changed."""
        entry.version = self._version
        terms = self._terms(entry.name, self._quota_of(*entry.subject))
        if terms != entry.bucket.terms:
            entry.bucket.change(terms, now_ns)
            entry.describe()

    def _terms(self, name: str, quota: Quota) -> Terms:
        allocation = self._allocations.get(name)
        if allocation is not None:
            return Terms(quota, allocation.share_ppm, allocation.gateways)
        return Terms(quota, WHOLE_PPM // self._gateways, self._gateways)

    # Reports of use

    def reports(self, now_ns: int) -> list[Usage]:
        """One for every bucket that was used; once a second is enough while much of it is free."""
        urgent = [entry for entry in self._used if self._is_short(entry, now_ns)]
        light = [entry for entry in self._used if now_ns - entry.reported_ns >= LIGHT_REPORT_NS]
        due = list(dict.fromkeys((*urgent, *light)))[:REPORTS_MAX]
        usages = [self._report(entry, now_ns) for entry in due]
        self._used = [entry for entry in self._used if entry.used]
        return usages

    def _is_short(self, entry: BucketEntry, now_ns: int) -> bool:
        """Whether its capacity may soon be used up: then the owner of the quota should know at once."""
        bucket = entry.bucket
        if bucket.refused != entry.refused_reported:
            return True
        return bucket.room_milli(now_ns) * 2 * bucket.terms.gateways < bucket.terms.quota.burst * 1000

    def _report(self, entry: BucketEntry, now_ns: int) -> Usage:
        bucket, quota = entry.bucket, entry.bucket.terms.quota
        usage = Usage(
            gateway=self.gateway,
            bucket=entry.name,
            burst=quota.burst,
            per_minute=quota.per_minute,
            accepted=bucket.accepted,
            taken=bucket.accepted - entry.accepted_reported,
            refused=bucket.refused - entry.refused_reported,
            room_milli=bucket.room_milli(now_ns),
        )
        entry.accepted_reported, entry.refused_reported, entry.reported_ns = bucket.accepted, bucket.refused, now_ns
        entry.used = False
        return usage

    # Allocations

    def apply(self, shares: Shares, now_ns: int) -> None:
        """The allocation of one bucket. One that does not name this gateway is treated as none."""
        if self.gateway not in shares.gateways or len(shares.gateways) == 1:
            self.forget(shares.bucket)
            return
        index = shares.gateways.index(self.gateway)
        room_milli, accepted = shares.room_milli[index], shares.accepted[index]
        allocation = Allocation(shares.share_ppm[index], len(shares.gateways), room_milli, accepted, now_ns)
        self._allocations[shares.bucket] = allocation
        entry = self._entries.get(_key_of(shares.bucket))
        if entry is not None:
            since = max(0, entry.bucket.accepted - accepted)
            terms = self._terms(entry.name, entry.bucket.terms.quota)
            entry.bucket.change(terms, now_ns, room_milli - 1000 * since)

    def forget(self, bucket: str) -> None:
        """The bucket has no allocation any more: an even part holds, from its present free capacity."""
        if (
            self._allocations.pop(bucket, None) is not None
            and (entry := self._entries.get(_key_of(bucket))) is not None
        ):
            entry.version = -1

    def note_gateways(self, partition: int, gateways: list[str], *, so_far: bool = False) -> None:
        """The gateways that exist, as the owner of one partition of `usage` sees them; the largest number counts.
        `so_far`: the list may be incomplete, so gateways that were named before still count.
        """
        before = self._fleets.get(partition, frozenset()) if so_far else frozenset()
        self._fleets[partition] = before | frozenset(gateways) | {self.gateway}
        most = max(map(len, self._fleets.values()))
        if most != self._gateways:
            self._gateways = most
            self.quotas_changed()

    def quotas_changed(self) -> None:
        """Every bucket looks up its terms again when it is used next."""
        self._version += 1

    def forget_idle(self, now_ns: int) -> None:
        """Drops buckets that are long unused and empty. Each call looks at a few of them."""
        if not self._to_look_at:
            self._to_look_at = list(self._entries)
        for key in self._to_look_at[-LOOKED_AT_MAX:]:
            entry = self._entries[key]
            if not entry.used and now_ns - entry.reported_ns >= FORGET_NS and entry.bucket.is_empty(now_ns):
                del self._entries[key]
        del self._to_look_at[-LOOKED_AT_MAX:]


def _key_of(bucket: str) -> tuple[str, str, str]:
    workspace, environment, name = bucket.split("/")
    return workspace, environment, name
