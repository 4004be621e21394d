"""Reads of many events: put there in bulk by the database itself, then asked for as the gateway asks."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sqlalchemy import text, update

from bench.figures import Figures, figures_of
from bench.read_model.databases import SQLITE, database
from bench.read_model.records import EVENTS_A_MS, STREAM, TOPIC, TOPIC_ID, TYPES, WORKFLOW, WORKSPACE, event_id
from ingest_gateway.read_model import ReadModel
from ingest_gateway.read_model.event_pages import EventFilter
from operations.read_model_engine import writer_engine
from processors.projection.store import Store
from schemas.read_model import NUMBER_BITS, attempts, events, events_metadata, read_model_state, scope_of, term_of

FIRST_MS = 1_779_114_131_482
ASKED, WARM_UP = 1_000, 50
LIMIT = 100


def reads(name: str, home: Path, held: int) -> dict[str, Any]:
    """Figures by question, of as many events as are held, each with an attempt and a row of metadata."""
    with database(name, home) as url:
        began = time.monotonic()
        fill(name, url, held)
        filled_seconds = time.monotonic() - began
        found = asyncio.run(_ask(url, held))
    figures = {question: of_one.as_json() for question, of_one in found.items()}
    return {"held": held, "filled_seconds": round(filled_seconds, 1), "figures": figures}


def fill(name: str, url: str, held: int) -> None:
    """Rows as projection would have written them; the indexes are those of the migrations, made anew at the end."""
    engine = writer_engine(url)
    store = Store(engine)
    store.prepare()
    tables = (events, attempts, events_metadata)
    indexes = [index for table in tables for index in table.indexes]
    with engine.begin() as connection:
        for index in indexes:
            index.drop(connection)
        for statement in _statements(name, held):
            connection.execute(text(statement))
        for index in indexes:
            index.create(connection)
        connection.execute(update(read_model_state).values(transactions=held >> NUMBER_BITS))
    raw = engine.raw_connection()
    driver: Any = raw.driver_connection
    if name == SQLITE:
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    else:
        driver.autocommit = True
        driver.execute("VACUUM ANALYZE")
        driver.autocommit = False
    raw.close()
    store.close()


def _statements(name: str, held: int) -> list[str]:
    if name == SQLITE:
        numbers = (
            f"(WITH RECURSIVE s(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM s WHERE n < {held - 1}) SELECT n FROM s)"
        )
        tail = f"printf('%013d%013d', {FIRST_MS} + n / {EVENTS_A_MS}, n * 2654435761 % 1000000000000)"
        of_fifty = "printf('order.kind%02d', n % 50)"
        of_thousand = "printf('cus_%04d', n % 1000)"
        status = "CASE n % 100 WHEN 0 THEN 'failed' ELSE 'delivered' END"
    else:
        numbers = f"generate_series(0, {held - 1}) AS s (n)"
        digits = f"lpad(({FIRST_MS} + n / {EVENTS_A_MS})::text, 13, '0')"
        tail = f"{digits} || lpad((n::bigint * 2654435761 % 1000000000000)::text, 13, '0')"
        of_fifty = "'order.kind' || lpad((n % 50)::text, 2, '0')"
        of_thousand = "'cus_' || lpad((n % 1000)::text, 4, '0')"
        status = "CASE n % 100 WHEN 0 THEN 'failed' ELSE 'delivered' END"
    at_ms = f"{FIRST_MS} + n / {EVENTS_A_MS}"
    scope = scope_of(WORKSPACE, "live")
    regions = [term_of(WORKSPACE, "live", "region", f"eu-west-{number}") for number in range(3)]
    region = f"CASE n % 3 WHEN 0 THEN {regions[0]} WHEN 1 THEN {regions[1]} ELSE {regions[2]} END"
    document = f'\'{{"region":"eu-west-\' || (n % 3) || \'","channel":"web","customer":"\' || {of_thousand} || \'"}}\''
    return [
        f"INSERT INTO events SELECT '{WORKSPACE}', 'live', 'evt_' || {tail}, '{STREAM}', {of_fifty}, {at_ms},"
        f' \'2026-05-18T14:22:11Z\', NULL, \'{{"type":"user","id":"usr_8842"}}\', {document}, \'["{WORKFLOW}"]\', 420,'
        f" '{TOPIC}', '{TOPIC_ID}', n % 8, n / 8, {status}, {scope}, n FROM {numbers}",
        f"INSERT INTO attempts SELECT '{WORKSPACE}', 'live', 'evt_' || {tail}, 'dlv_' || {tail}, 1, '{WORKFLOW}', 0,"
        f" {status.replace('failed', 'exhausted')}, {at_ms}, {at_ms} + 12, {at_ms} + 30, 200, NULL, NULL, NULL, NULL, n"
        f" FROM {numbers}",
        f"INSERT INTO events_metadata SELECT {region}, {at_ms}, 'evt_' || {tail} FROM {numbers} ORDER BY 1, 2, 3",
    ]


async def _ask(url: str, held: int) -> dict[str, Figures]:
    model, chance = ReadModel(url), random.Random(1)
    last_ms = held // EVENTS_A_MS

    def page(**chosen: Any) -> Awaitable[Any]:
        asked = EventFilter(from_ms=FIRST_MS + chance.randrange(last_ms), **chosen)
        return model.events_page(WORKSPACE, "live", asked, None, LIMIT)

    async def by_id() -> None:
        found = await model.event(WORKSPACE, "live", event_id(FIRST_MS, chance.randrange(held)))
        assert found is not None and len(found.attempts) == 1, "every id that is asked for is there"

    questions: dict[str, Callable[[], Awaitable[Any]]] = {
        "GET by id": by_id,
        "page of 100": page,
        "type and time": lambda: page(type=chance.choice(TYPES)),
        "status and time": lambda: page(status="failed"),
        "metadata and time": lambda: page(metadata=(("region", f"eu-west-{chance.randrange(3)}"),)),
    }
    figures = {name: figures_of(await _times(question)) for name, question in questions.items()}
    await model.close()
    return figures


async def _times(question: Callable[[], Awaitable[Any]]) -> list[int]:
    taken = []
    for number in range(WARM_UP + ASKED):
        began = time.perf_counter_ns()
        await question()
        if number >= WARM_UP:
            taken.append(time.perf_counter_ns() - began)
    return taken
