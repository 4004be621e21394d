"""The events surface's limits over HTTP: 200 at once, then 429, told in headers on every answer; tiers at run time."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from domain.limits.quotas import EVENTS, Overrides, Quota
from ingest_gateway.limits.enforcement import RateLimits, limiter_of
from schemas.entities import Limit
from tests.support.events import a_body
from tests.support.events_surface import WORKSPACE, Answer, Surface, events_surface

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit")
SMALL = Quota(burst=5, per_minute=1)
"""Drains so slowly that no test is slow enough to see it."""


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[Surface]:
    """A surface whose buckets hold 5 requests, 1 of which drains in a minute."""
    async with a_limited_surface(tmp_path, {"*": {"events": SMALL}}) as surface:
        yield surface


def a_limited_surface(home: Path, overrides: Overrides):  # type: ignore[no-untyped-def]
    return events_surface(home, limits=lambda view: RateLimits(limiter_of(view, overrides, "gateway")))


async def look(surface: Surface, key: str = "live") -> Answer:
    """The cheapest request that is counted."""
    return await surface.request("GET", "/v1/events/nothing", key=key)


async def fill(surface: Surface, key: str = "live") -> Answer:
    """The last answer before the bucket is full."""
    return [await look(surface, key) for _ in range(SMALL.burst)][-1]


def told(answer: Answer) -> tuple[str, ...]:
    return tuple(answer.headers.get(name, "") for name in HEADERS)


@pytest.mark.requirement("A-076", "A-081", "X-22", "X-07")
async def test_a_full_bucket_answers_429_as_documented(limited: Surface) -> None:
    assert (await fill(limited)).status == 404
    before = time.time()
    answer = await limited.publish(a_body())
    assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
    error = answer.json["error"]
    assert error["message"] == f"Request quota exceeded for workspace {WORKSPACE}."
    assert error["request_id"] == answer.headers["X-Request-Id"]
    retry_after_ms = error["details"]["retry_after_ms"]
    assert 0 < retry_after_ms <= 60_000 and error["details"].keys() == {"retry_after_ms"}
    assert answer.headers["Retry-After"] == str(-(-retry_after_ms // 1000))
    assert told(answer)[:2] == ("5", "0")
    assert before + 240 <= int(answer.headers["X-RateLimit-Reset"]) <= time.time() + 301
    assert answer.headers["RateLimit-Policy"] == '"events";q=5;w=300'
    assert answer.headers["RateLimit"].startswith('"events";r=0;t=')
    assert not limited.log.records


@pytest.mark.requirement("A-079")
async def test_200_at_once_by_default_and_headers_count_down(tmp_path: Path) -> None:
    async with a_limited_surface(tmp_path, {}) as surface:
        first = await look(surface)
        assert told(first)[:2] == ("200", "199") and told(first)[3] == '"events";q=200;w=10'
        assert int(first.headers["X-RateLimit-Reset"]) - time.time() <= 2


# (what, method, path, body, headers, status)
ANSWERS = [
    ("an accepted event", "POST", "/v1/events", a_body(), {}, 202),
    ("an event that is not valid", "POST", "/v1/events", b"{}", {}, 400),
    ("another content type", "POST", "/v1/events", a_body(), {"Content_Type": "text/plain"}, 415),
    ("an unknown stream", "POST", "/v1/events", a_body(stream="no-such"), {}, 404),
    ("a batch", "POST", "/v1/events/batch", b'{"events": [%s, %s]}' % (a_body(), a_body()), {}, 200),
    ("a read", "GET", "/v1/event-streams", None, {}, 200),
    ("a key that may not", "GET", "/v1/event-streams", None, {"key": "publishable"}, 403),
]


@pytest.mark.requirement("X-07")
@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
async def test_every_answer_says_how_the_bucket_stands_and_each_request_is_one(
    limited: Surface, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    answer = await limited.request(method, path, body, **headers)
    assert answer.status == status
    assert all(told(answer)) and told(answer)[:2] == ("5", "4")
    assert "Retry-After" not in answer.headers


async def test_nobody_pays_for_what_no_workspace_asked(limited: Surface) -> None:
    for _ in range(SMALL.burst + 1):
        assert (await limited.request("GET", "/v1/events/nothing", key=None)).status == 401
        assert (await limited.request("GET", "/v1/events/nothing", key="revoked")).status == 401
        assert (await limited.request("GET", "/nowhere")).status == 404
        assert (await limited.request("PUT", "/v1/events")).status == 405
    assert told(await look(limited))[1] == "4"


async def test_the_limit_comes_before_the_body_and_the_scope(limited: Surface) -> None:
    """Who calls is checked before how often."""
    await fill(limited)
    for answer in (
        await limited.publish(b"not json", Content_Type="text/plain"),
        await limited.request("GET", "/v1/event-streams", key="publishable"),
    ):
        assert (answer.status, answer.code) == (429, "rate_limit_exceeded")


@pytest.mark.requirement("A-078")
async def test_an_environment_has_a_bucket_for_all_its_keys(limited: Surface) -> None:
    await fill(limited, "live")
    assert (await look(limited, "one_stream")).status == 429
    assert told(await look(limited, "test"))[:2] == ("5", "4")


@pytest.mark.requirement("A-082")
async def test_a_tier_set_at_run_time_holds_at_once_and_ends_at_once(limited: Surface) -> None:
    limit = Limit(
        id=EVENTS.bucket(WORKSPACE, "live"),
        workspace=WORKSPACE,
        created_ms=1,
        environment="live",
        rate_class="events",
        burst=100,
        per_minute=100_000_000,
    )
    await fill(limited)
    assert (await look(limited)).status == 429
    limited.control.put(limit)
    assert (await look(limited)).status == 429  # its room comes with the rate: in no time here
    assert told(await look(limited))[0] == "100"
    assert told(await look(limited, "test"))[0] == "5"
    limited.control.view.apply(limit.to_entity().key, None)
    assert told(await look(limited))[0] == "5"


@pytest.mark.requirement("A-079")
async def test_a_refused_body_is_read_or_the_connection_closed(limited: Surface) -> None:
    """A client that sends much to a full bucket gets its answer, and the next request its own."""
    await fill(limited)
    for size in (10, 100_000, 3_000_000):
        answer = await limited.publish(json.dumps({"data": "x" * size}).encode())
        assert answer.status == 429
    assert (await look(limited, "test")).status == 404
