"""Pages of other origins: preflights, which keys they may use, which answers they can read."""

from typing import Any

import pytest

from schemas.entities import KeyKind
from tests.support.events import a_body
from tests.support.events_surface import Answer, Surface, _put_key

SHOP, OTHER = "https://shop.example.com", "https://evil.example"
OPEN = ["/v1/events", "/v1/events/batch"]


@pytest.fixture
def page(surface: Surface) -> Surface:
    """With a key for pages of one origin, beside `publishable`, which has none."""
    surface.tokens["page"] = _put_key(
        surface.control, "page", kind=KeyKind.PUBLISHABLE, streams=["orders-prod"], origins=[SHOP]
    )
    return surface


def readable_by(answer: Answer) -> str | None:
    return answer.headers.get("Access-Control-Allow-Origin")


async def preflight(surface: Surface, path: str, method: str = "POST", **more: str) -> Answer:
    headers = {"Origin": OTHER, "Access_Control_Request_Method": method, **more}
    return await surface.request("OPTIONS", path, key=None, **headers)


@pytest.mark.requirement("A-012")
@pytest.mark.parametrize("path", OPEN)
async def test_a_preflight_is_answered_without_a_key(surface: Surface, path: str) -> None:
    answer = await preflight(surface, path, Access_Control_Request_Headers="authorization,content-type,idempotency-key")
    assert (answer.status, answer.body, readable_by(answer)) == (204, b"", "*")
    assert answer.headers["Access-Control-Allow-Methods"] == "POST"
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("path", [*OPEN, "/v1/event-streams", "/v1/keys", "/v1/events/evt_1"])
async def test_what_is_no_preflight_or_not_open_to_pages(surface: Surface, path: str) -> None:
    plain = await surface.request("OPTIONS", path, key=None)
    assert (plain.status, plain.code) == (405, "method_not_allowed")
    assert readable_by(plain) is None
    if path not in OPEN:
        assert (await preflight(surface, path)).status == 405


# (key, origin, status, whether a page of the origin can read the answer)
@pytest.mark.requirement("A-012", "A3")
@pytest.mark.parametrize(
    ("key", "origin", "status", "readable"),
    [
        ("page", SHOP, 202, True),
        ("page", OTHER, 403, False),
        ("page", "null", 403, False),
        ("page", SHOP + ".evil.example", 403, False),
        ("page", None, 202, False),
        ("publishable", OTHER, 202, True),
        ("live", SHOP, 202, False),
        ("unknown", SHOP, 401, True),
        (None, SHOP, 401, True),
    ],
)
async def test_who_may_send_and_who_may_read_the_answer(
    page: Surface, key: str | None, origin: str | None, status: int, readable: bool
) -> None:
    headers: dict[str, Any] = {} if origin is None else {"Origin": origin}
    answer = await page.publish(a_body(), key=key, **headers)
    assert (answer.status, readable_by(answer)) == (status, origin if readable else None)
    assert (answer.headers.get("Vary") == "Origin") is (origin is not None)
    if readable:
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
    assert len(page.events()) == (status == 202)


@pytest.mark.requirement("A-012")
async def test_a_page_can_read_what_was_wrong(page: Surface) -> None:
    for body, status in ((b"{", 400), (a_body(stream="audit-prod"), 404), (b" " * 1_048_577, 413)):
        answer = await page.publish(body, key="page", Origin=SHOP)
        assert (answer.status, readable_by(answer)) == (status, SHOP)


async def test_pages_read_nothing_else(page: Surface) -> None:
    for path in ("/v1/event-streams", "/v1/events/evt_01JVHQJ8WRD5X7K2M9P4T6V0BN", "/v1/keys"):
        for key in ("page", "live"):
            assert readable_by(await page.request("GET", path, key=key, Origin=SHOP)) is None
