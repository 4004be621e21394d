"""Counts each request against its workspace's bucket, before its body is read, and puts the bucket's state on every
answer.

Headers are those of all four documents together (X-07): X-RateLimit-Limit (the bucket's depth), -Remaining
(what would be accepted at once, by this gateway) and -Reset (Unix seconds at which nothing is in the bucket any more),
the IETF draft's RateLimit-Policy and RateLimit, and Retry-After with a 429. A batch is one request.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from secrets import token_hex

from aiohttp import hdrs, web
from multidict import istr
from prometheus_client import Counter

from domain.entities.control_view import ControlView
from domain.limits.quotas import ANY_WORKSPACE, RATE_CLASSES, Overrides, Quota, RateClass
from domain.security.principals import Principal
from ingest_gateway import metrics
from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.guard import ANSWER_HEADERS
from ingest_gateway.limits.buckets import NS_PER_SECOND
from ingest_gateway.limits.exchange import QuotaExchange
from ingest_gateway.limits.limiter import BucketEntry, Limiter
from operations.settings import Settings
from schemas.entities import Limit, State

NS_PER_MS = 1_000_000
ALMOST_A_SECOND = NS_PER_SECOND - 1
GATEWAY_NAME_BYTES = 8
# `istr`: the form by which headers are compared is computed once, not for each answer.
LIMIT, REMAINING, RESET = (istr(f"X-RateLimit-{name}") for name in ("Limit", "Remaining", "Reset"))
POLICY, STATE = istr("RateLimit-Policy"), istr("RateLimit")


class Quotas:
    """Which quota a workspace has: its own `limit`, else the installation's for it, for all, or the class's."""

    def __init__(self, view: ControlView, overrides: Overrides) -> None:
        self._view = view
        self._overrides = overrides

    def of(self, workspace: str, environment: str, rate_class: RateClass) -> Quota:
        limit = self._view.limits.get(rate_class.bucket(workspace, environment))
        if limit is not None:
            return Quota(limit.burst, limit.per_minute)
        for holder in (workspace, ANY_WORKSPACE):
            quota = self._overrides.get(holder, {}).get(rate_class.name)
            if quota is not None:
                return quota
        return rate_class.quota


class RateLimits:
    """What the surfaces call: `limiter` decides, this class answers."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._refusals: dict[str, Counter] = {name: metrics.RATE_LIMITED.labels(name) for name in RATE_CLASSES}

    def spend(self, request: web.Request, principal: Principal, rate_class: RateClass) -> None:
        """Counts the request. Raises Refused (RATE_LIMITED); the answer gets its headers either way."""
        now_ns = time.monotonic_ns()
        granted, entry = self._limiter.take(rate_class, principal.workspace, principal.environment, now_ns)
        request[ANSWER_HEADERS] = headers_of(entry, time.time_ns())
        if not granted:
            self._refusals[rate_class.name].inc()
            raise refusal(entry, principal.workspace)


def headers_of(entry: BucketEntry, unix_ns: int) -> Mapping[str, str]:
    """The headers after a request was counted at `unix_ns`; the same object as before where nothing changed."""
    remaining, empty_ns = entry.bucket.standing()
    shown = (
        remaining,
        (unix_ns + empty_ns + ALMOST_A_SECOND) // NS_PER_SECOND,
        (empty_ns + ALMOST_A_SECOND) // NS_PER_SECOND,
    )
    if shown != entry.shown:
        entry.show(shown, _written(entry, *map(str, shown)))
    return entry.headers


def _written(entry: BucketEntry, remaining: str, reset: str, seconds: str) -> Mapping[str, str]:
    return {
        LIMIT: entry.limit_text,
        REMAINING: remaining,
        RESET: reset,
        POLICY: entry.policy_text,
        STATE: f"{entry.class_text};r={remaining};t={seconds}",
    }


def refusal(entry: BucketEntry, workspace: str) -> Refused:
    """Seconds are rounded up (A-081), and so are the milliseconds: then the bucket takes a request."""
    retry_after_ms = -(-entry.bucket.retry_ns // NS_PER_MS)
    return Refused(
        ErrorKind.RATE_LIMITED,
        f"Request quota exceeded for workspace {workspace}.",
        details={"retry_after_ms": retry_after_ms},
        headers={hdrs.RETRY_AFTER: str(max(1, -(-retry_after_ms // 1000)))},
    )


def limiter_of(view: ControlView, overrides: Overrides, name: str) -> Limiter:
    """A limiter by this name that follows the quotas as they change."""
    limiter = Limiter(name, Quotas(view, overrides).of)

    def changed(before: State | None, after: State | None) -> None:
        if isinstance(before, Limit) or isinstance(after, Limit):
            limiter.quotas_changed()

    view.on_change(changed)
    return limiter


@asynccontextmanager
async def rate_limits(settings: Settings, view: ControlView) -> AsyncIterator[RateLimits | None]:
    """The limits of a gateway process, shared with the others while inside; None where they are switched off."""
    if not settings.rate_limits:
        yield None
        return
    limiter = limiter_of(view, settings.rate_overrides, token_hex(GATEWAY_NAME_BYTES))
    exchange = QuotaExchange(settings.kafka, limiter, settings.partitions)
    exchange.start()
    try:
        yield RateLimits(limiter)
    finally:
        await exchange.stop()
