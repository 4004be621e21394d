"""Whether a missing workflow is gone, by a view of `control` that lags, cannot be asked about, or moves."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from domain.delivery.retry_schedule import EndpointClass
from domain.entities.control_view import ControlView
from operations.control_reader import ControlReader
from processors.delivery import routes
from processors.delivery.routes import Routes, RouteUnknown
from schemas.entities import Subscription, SubscriptionSurface
from schemas.records import Delivery

MISSING = cast(Delivery, SimpleNamespace(workspace="ws_1", environment="live", workflow_id="wf_1"))


class Lagging:
    """A view that never reaches the newest end. Each look gets it `seen_seconds` further."""

    def __init__(self, seen_seconds: float) -> None:
        self.view = ControlView()
        self.looks = 0
        self._seen_seconds = seen_seconds

    async def catch_up(self) -> bool:
        self.looks += 1
        return False

    def has_seen(self, at_seconds: float) -> bool:
        return self.looks * self._seen_seconds >= at_seconds


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "ASK_AGAIN_SECONDS", 0.001)
    monkeypatch.setattr(routes, "FIND_SECONDS_MAX", 0.2)


def over(control: Any) -> Routes:
    return Routes(control, b"\x07" * 32, allow_private_targets=True)


@pytest.mark.requirement("F47")
async def test_a_view_that_is_always_behind_gets_there_all_the_same() -> None:
    control = Lagging(seen_seconds=1.0)
    assert await over(control).find(MISSING, read_at=3.0) is None
    assert control.looks == 3
    assert await over(control).find(MISSING, read_at=2.0) is None
    assert control.looks == 3, "what the view has seen already is not asked for"


@pytest.mark.requirement("F47")
async def test_while_it_cannot_be_found_out_it_is_neither_there_nor_gone() -> None:
    with pytest.raises(RouteUnknown):
        await over(Lagging(seen_seconds=0.0)).find(MISSING, read_at=1.0)


@pytest.mark.requirement("S-037")
@pytest.mark.parametrize(
    ("surface", "schedule"),
    [(SubscriptionSurface.SPINE, EndpointClass.EVENTS), (SubscriptionSurface.WORK, EndpointClass.WORK)],
)
async def test_a_subscription_of_the_spine_is_retried_as_a_workflow_is(
    surface: SubscriptionSurface, schedule: EndpointClass
) -> None:
    control = Lagging(seen_seconds=0.0)
    subscription = Subscription(
        id="wf_1",
        workspace="ws_1",
        created_ms=1,
        environment="live",
        name="wf_1",
        url="https://example.com/hook",
        surface=surface,
        patterns=["a.*"],
    )
    control.view.targets[subscription.entity_id] = subscription
    found = await over(control).find(MISSING, read_at=1.0)
    assert found is not None
    assert found.kind is schedule


async def test_a_view_has_seen_what_happened_before_the_ends_were_asked_for_that_it_has_reached() -> None:
    """The oldest ends that were not reached count, however often others are asked for meanwhile."""
    control = ControlReader("127.0.0.1:1", ControlView())
    control._started((time.monotonic(), {0: 5}))
    assert not control.has_seen(0.0)
    control._await_ends((time.monotonic(), {0: 9}))
    at_seconds = time.monotonic()
    control.applied[0] = 5
    control._note_progress()
    assert control.has_seen(0.0)
    assert not control.has_seen(at_seconds)
    control._await_ends((time.monotonic(), {0: 12}))
    control.applied[0] = 12
    control._note_progress()
    assert control.has_seen(at_seconds)
