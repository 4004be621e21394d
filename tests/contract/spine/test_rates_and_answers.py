"""Limits a minute an org, and the three headers that every answer has, whatever became of the request."""

from pathlib import Path

import pytest

from domain.entities.control_view import ControlView
from domain.limits.quotas import Quota
from ingest_gateway.limits.enforcement import RateLimits, limiter_of
from tests.support.spine_surface import SpineSurface, spine_surface

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
EVENT = b'{"type":"a.b","source":"tests","data":{}}'


def few(view: ControlView) -> RateLimits:
    """Three writes and two reads."""
    return RateLimits(limiter_of(view, {"*": {"spine.write": Quota(3, 60), "spine.read": Quota(2, 60)}}, "gateway"))


def as_documented(view: ControlView) -> RateLimits:
    return RateLimits(limiter_of(view, {}, "gateway"))


@pytest.mark.requirement("S-043", "S-044", "S-046", "X-07", "X-42")
async def test_reads_and_writes_have_a_bucket_an_org(tmp_path: Path) -> None:
    async with spine_surface(tmp_path, limits=as_documented) as spine:
        written, read = await spine.publish(EVENT), await spine.request("GET", "/v1/events")
    assert [answer.headers["X-RateLimit-Limit"] for answer in (written, read)] == ["1000", "300"]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in (written, read)] == ["999", "299"]
    assert int(written.headers["X-RateLimit-Reset"]) > 1_700_000_000


@pytest.mark.requirement("S-043", "S-044", "S-053")
async def test_a_full_bucket_is_429_in_the_documents_words(tmp_path: Path) -> None:
    async with spine_surface(tmp_path, limits=few) as spine:
        for _ in range(3):
            assert (await spine.publish(EVENT)).status == 201
        full = await spine.publish(EVENT)
        assert (full.status, full.code) == (429, "rate_limit_exceeded")
        assert full.headers["Retry-After"] == "1" and full.headers["X-RateLimit-Remaining"] == "0"
        assert (await spine.request("GET", "/v1/events")).status == 200, "reads have their own"
        assert (await spine.publish(EVENT, key="other")).status == 201, "and so have other orgs"


@pytest.mark.requirement("S-046")
@pytest.mark.parametrize("limited", [True, False])
async def test_every_answer_has_the_three_headers(tmp_path: Path, limited: bool) -> None:
    async with spine_surface(tmp_path, limits=as_documented if limited else None) as spine:
        answers = [
            await spine.publish(EVENT),
            await spine.publish(b"{"),
            await spine.publish(EVENT, key=None),
            await spine.publish(EVENT, key="reader"),
            await spine.request("GET", "/v1/events"),
            await spine.request("GET", "/v1/nothing"),
            await spine.request("PATCH", "/v1/events"),
            await spine.request("DELETE", "/v1/events/subscriptions/sub_1"),
        ]
    assert [answer.status for answer in answers] == [201, 400, 401, 403, 200, 404, 405, 404]
    for answer in answers:
        assert all(answer.headers[name].isdigit() for name in HEADERS)


@pytest.mark.requirement("S-047", "S-051")
async def test_what_is_not_there_is_told_in_the_documents_form(spine: SpineSurface) -> None:
    for answer, code in (
        (await spine.request("GET", "/v1/nothing"), "not_found"),
        (await spine.request("PUT", "/v1/events"), "method_not_allowed"),
        (await spine.request("GET", "/v1/events", key=None), "unauthorized"),
    ):
        assert answer.json["error"].keys() == {"code", "message", "field"} and answer.code == code
