"""Pages of events and of the audit log, on both databases: filters, order, and completeness while events arrive."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from ingest_gateway.read_model import ReadModel
from ingest_gateway.read_model.audit_pages import AuditFilter
from ingest_gateway.read_model.event_pages import EventCursor, EventFilter, decode_cursor
from processors.projection.decide import project
from processors.projection.store import Store
from schemas.topics import stream_topic
from tests.support.log_records import (
    RECEIVED_MS,
    WORKSPACE,
    a_decision,
    an_audit,
    an_outcome,
    attempted,
    audited,
    decided,
    event_id,
)

EVERYTHING = EventFilter()
DAY_MS = 86_400_000


@pytest.fixture
async def reads(database_url: str) -> AsyncIterator[ReadModel]:
    reads = ReadModel(database_url)
    yield reads
    await reads.close()


async def every_page(
    reads: ReadModel,
    chosen: EventFilter = EVERYTHING,
    limit: int = 7,
    between: Callable[[], None] = lambda: None,
    cursor: EventCursor | None = None,
) -> list[list[str]]:
    """The ids, page by page; `between` happens after each page. A cursor travels as a cursor does."""
    pages: list[list[str]] = []
    while True:
        page = await reads.events_page(WORKSPACE, "live", chosen, cursor, limit)
        assert [(row.received_ms, row.id) for row in page.rows] == sorted(
            (row.received_ms, row.id) for row in page.rows
        )
        pages.append([row.id for row in page.rows])
        if page.next is None:
            return pages
        assert len(page.rows) == limit
        cursor = decode_cursor(page.next.encode())
        between()


def ids(*numbers: int) -> list[str]:
    return [event_id(number) for number in numbers]


def flat(pages: list[list[str]]) -> list[str]:
    return [one for page in pages for one in page]


def meta(**values: Any) -> bytes:
    return msgspec.json.encode(values)


OTHER = stream_topic(WORKSPACE, "live", "other")
ROWS = [
    a_decision(1, received_ms=RECEIVED_MS, metadata=meta(region="eu", trial=True, size=1.5)),
    a_decision(2, received_ms=RECEIVED_MS, type="order.refunded", topic=OTHER, metadata=meta(region="us")),
    a_decision(3, received_ms=RECEIVED_MS + 10, routes=[]),
    a_decision(4, received_ms=RECEIVED_MS + 20, type="order.refunded", metadata=meta(region="eu", trial=False)),
    a_decision(5, received_ms=RECEIVED_MS + 20, topic=OTHER, metadata=meta(**{"re%ion": "e_"})),
    a_decision(6, received_ms=RECEIVED_MS + 30),
]
OUTCOMES = [
    an_outcome(4, status="exhausted", received_ms=RECEIVED_MS + 20),
    an_outcome(6, status="retry_scheduled", received_ms=RECEIVED_MS + 30),
    an_outcome(1),
]

# (filter, the events that fit)
FILTERS: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [1, 2, 3, 4, 5, 6]),
    ({"streams": ("other",)}, [2, 5]),
    ({"streams": ("orders", "other")}, [1, 2, 3, 4, 5, 6]),
    ({"streams": ("nowhere",)}, []),
    ({"type": "order.refunded"}, [2, 4]),
    ({"type": "order.*"}, []),
    ({"type": "order.%"}, []),
    ({"type": "' OR 1=1; drop table events--"}, []),
    ({"streams": ("%",)}, []),
    ({"status": "accepted"}, [2, 5]),
    ({"status": "delivered"}, [1, 3]),
    ({"status": "failed"}, [4]),
    ({"status": "retried"}, [6]),
    ({"status": "processing"}, []),
    ({"from_ms": RECEIVED_MS + 10}, [3, 4, 5, 6]),
    ({"to_ms": RECEIVED_MS + 20}, [1, 2, 3]),
    ({"from_ms": RECEIVED_MS + 10, "to_ms": RECEIVED_MS + 30}, [3, 4, 5]),
    ({"from_ms": RECEIVED_MS, "to_ms": RECEIVED_MS}, []),
    ({"metadata": (("region", "eu"),)}, [1, 4]),
    ({"metadata": (("region", "e_"),)}, []),
    ({"metadata": (("re%ion", "e_"),)}, [5]),
    ({"metadata": (("trial", "true"),)}, [1]),
    ({"metadata": (("size", "1.5"),)}, [1]),
    ({"metadata": (("region", "eu"), ("trial", "false"))}, [4]),
    ({"metadata": (("region", "eu"),), "from_ms": RECEIVED_MS + 5}, [4]),
    ({"type": "order.refunded", "status": "failed", "streams": ("orders",)}, [4]),
]


@pytest.mark.requirement("A-084", "S9")
@pytest.mark.parametrize(("chosen", "numbers"), FILTERS)
@pytest.mark.parametrize("limit", [2])
async def test_a_filter_gives_what_fits_in_order(
    store: Store, reads: ReadModel, chosen: dict[str, Any], numbers: list[int], limit: int
) -> None:
    elsewhere = a_decision(9, topic=stream_topic("ws_other", "live", "orders"), metadata=meta(region="eu"))
    testing = a_decision(8, topic=stream_topic(WORKSPACE, "test", "orders"))
    store.apply([project(decided(*ROWS, elsewhere, testing)), project(attempted(*OUTCOMES))])
    assert flat(await every_page(reads, EventFilter(**chosen), limit)) == ids(*numbers)


@pytest.mark.requirement("A-086")
async def test_a_page_goes_on_behind_an_event_that_is_named(store: Store, reads: ReadModel) -> None:
    store.apply([project(decided(*ROWS))])
    cursor = await reads.cursor_behind(WORKSPACE, "live", event_id(4))
    assert flat(await every_page(reads, cursor=cursor)) == ids(5, 6)
    assert await reads.cursor_behind(WORKSPACE, "live", event_id(7)) is None
    assert await reads.cursor_behind(WORKSPACE, "test", event_id(4)) is None


@pytest.mark.requirement("A-085")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("chosen", [{}, {"type": "order.fulfilled"}, {"metadata": (("region", "eu"),)}])
async def test_who_follows_the_cursors_sees_every_event_once_wherever_others_arrive(
    store: Store, reads: ReadModel, seed: int, chosen: dict[str, Any]
) -> None:
    """Between pages events come in at any cursor, before the cursor too, some more at once than a page holds."""
    chance = random.Random(seed)
    shown: list[str] = []
    written: list[str] = []

    def write(count: int) -> None:
        numbers = range(len(written), len(written) + count)
        decisions = [
            a_decision(number, received_ms=RECEIVED_MS + chance.randrange(1_000), metadata=meta(region="eu"))
            for number in numbers
        ]
        store.apply([project(decided(*decisions))])
        written.extend(event_id(number) for number in numbers)

    def between() -> None:
        if len(written) < 400:
            write(chance.choice([1, 5, 40]))

    write(60)
    shown = flat(await every_page(reads, EventFilter(**chosen), between=between))
    assert len(shown) == len(set(shown))
    assert len(written) >= 400
    assert set(shown) == set(written)


@pytest.mark.requirement("A-085")
async def test_paging_while_ten_thousand_events_arrive(store: Store, reads: ReadModel) -> None:
    at_start = [a_decision(number, received_ms=RECEIVED_MS + number % 977) for number in range(2_000)]
    store.apply([project(decided(*at_start))])

    def arrive() -> None:
        chance = random.Random(1)
        for first in range(2_000, 12_000, 100):
            late = [a_decision(n, received_ms=RECEIVED_MS + chance.randrange(3_000)) for n in range(first, first + 100)]
            store.apply([project(decided(*late, first_offset=first))])

    arriving = asyncio.create_task(asyncio.to_thread(arrive))
    shown = flat(await every_page(reads, limit=100))
    await arriving
    assert len(shown) == len(set(shown))
    assert set(shown) >= set(ids(*range(2_000)))


async def test_an_event_decided_once_more_is_not_shown_again(store: Store, reads: ReadModel) -> None:
    store.apply([project(decided(*ROWS))])
    again = [lambda: store.apply([project(decided(*ROWS, first_offset=50))])]
    pages = await every_page(reads, limit=2, between=lambda: again.pop()() if again else None)
    assert flat(pages) == ids(1, 2, 3, 4, 5, 6)


async def test_an_event_admitted_once_more_stands_at_its_new_place(store: Store, reads: ReadModel) -> None:
    store.apply([project(decided(*ROWS))])
    again = a_decision(1, received_ms=RECEIVED_MS + DAY_MS, metadata=meta(region="eu"))
    store.apply([project(decided(again, first_offset=50))])
    assert flat(await every_page(reads)) == ids(2, 3, 4, 5, 6, 1)
    assert flat(await every_page(reads, EventFilter(metadata=(("region", "eu"),)))) == ids(4, 1)


async def test_the_audit_log_page_by_page(store: Store, reads: ReadModel) -> None:
    entries = [an_audit(number, actor=f"key_{number % 2}") for number in range(10)]
    elsewhere = [an_audit(50, workspace="ws_other"), an_audit(51, environment="test")]
    store.apply([project(audited(*entries, *elsewhere))])
    store.apply([project(audited(entries[0], first_offset=90))])  # told once more
    shown, after = [], -1
    while True:
        page = await reads.audit_page(WORKSPACE, "live", AuditFilter(actor="key_0"), after, 2)
        shown += [row.id for row in page.rows]
        if page.next_offset is None:
            break
        after = page.next_offset
    assert shown == [entry.id for entry in entries if entry.actor == "key_0"]
    whole = await reads.audit_page(WORKSPACE, "live", AuditFilter(from_ms=RECEIVED_MS + 8), -1, 100)
    row = whole.rows[0]
    assert (row.action, row.route, row.resource) == ("stream.create", "POST /v1/event-streams", "stream/stm_8")
    assert (row.actor, row.at_ms, row.address, row.outcome) == ("key_0", RECEIVED_MS + 8, "203.0.113.7", "done")
