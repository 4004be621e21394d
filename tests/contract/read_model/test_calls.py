"""Calls of models on both databases: what the burn surface was told of is there once, and leaves after 100 days."""

from typing import Any

import pytest

from processors.projection.decide import project
from processors.projection.retention import AGING
from processors.projection.store import Store
from schemas.read_model import CallRow, model_calls
from schemas.read_model.calls import CALLS_KEPT_DAYS
from schemas.records import Telemetry
from schemas.telemetry import (
    Ask,
    CallSource,
    ModelCall,
    ModelCalls,
    Price,
    Reserve,
    Settle,
    TelemetryForm,
    UsageFrom,
    encode_payload,
)
from schemas.topics import DAY_MS, Topic
from tests.contract.read_model.test_store import contents
from tests.support.log_records import RECEIVED_MS, WORKSPACE, ProjectionInput


def a_call(**changes: Any) -> ModelCall:
    fields: dict[str, Any] = {
        "ts_ms": RECEIVED_MS,
        "provider": "openai",
        "model": "gpt-4o-mini",
        "status": 200,
        "tokens_in": 1_200,
        "tokens_out": 80,
        "cost_nano": 228_000,
        "fingerprint": "f1",
        "key_id": "key_1",
    }
    return ModelCall(**fields | changes)


def told(*forms: TelemetryForm, first_offset: int = 0, **changes: Any) -> list[ProjectionInput]:
    """As they stand on one partition of `burn.telemetry`."""
    return [
        ProjectionInput(
            Topic.BURN_TELEMETRY,
            1,
            offset,
            Telemetry(
                **{"id": f"tel_{offset}", "kind": form.kind, "workspace": WORKSPACE, "payload": encode_payload(form)}
                | changes
            ).encode(),
        )
        for offset, form in enumerate(forms, first_offset)
    ]


def shown(database_url: str) -> list[CallRow]:
    return [CallRow(*row) for row in contents(database_url)["model_calls"]]


@pytest.mark.requirement("F49")
def test_each_call_that_was_told_of_or_settled_is_one_row_however_often_it_comes(
    store: Store, database_url: str
) -> None:
    two = ModelCalls(calls=[a_call(), a_call(event_id="mine", user="u\x001", stream=True, usage=UsageFrom.ESTIMATED)])
    batch = told(
        two,
        Reserve(id="res_1", cost_nano=10),
        Settle(id="res_1", call=a_call(model="claude-sonnet", price=Price.LISTED)),
        Settle(id="res_2"),
        Ask(),
        ModelCalls(calls=[a_call(event_id="mine", cost_nano=1)]),
    )
    changes = project(batch)
    assert changes.unreadable == []
    for _ in range(2):
        store.apply([project(batch)])
    rows = {row.id: row for row in shown(database_url)}
    assert set(rows) == {"tel_0/0", "tel_2/0", "mine"}
    assert rows["tel_2/0"].model == "claude-sonnet"
    mine = rows["mine"]
    assert (mine.cost_nano, mine.user_id, mine.streamed, mine.usage) == (228_000, "u\ufffd1", 1, UsageFrom.ESTIMATED)
    assert (mine.log_offset, mine.at_ms, mine.tokens_in, mine.tokens_out) == (0, RECEIVED_MS, 1_200, 80)
    assert store.positions() == {("burn.telemetry", 1): 6}


@pytest.mark.requirement("L2")
def test_no_row_stands_in_the_place_of_another_sources(store: Store, database_url: str) -> None:
    """Told by ingest before the edge proxy itself tells of its call: both are there."""
    by_ingest = [a_call(event_id=name, cost_nano=0) for name in ("req_1", "edge:req_1", "otlp:t:s")]
    claimed = [*by_ingest, a_call(event_id="otlp:t:s", source=CallSource.OTLP)]
    made = a_call(event_id="req_1", source=CallSource.EDGE)
    store.apply([project(told(ModelCalls(calls=claimed), Settle(id="req_1", call=made)))])
    rows = {row.id: row.cost_nano for row in shown(database_url)}
    assert rows["edge:req_1"] == made.cost_nano
    assert set(rows) == {"req_1", "ingest:edge:req_1", "ingest:otlp:t:s", "otlp:t:s", "edge:req_1"}


@pytest.mark.requirement("F51")
def test_what_no_row_can_be_made_of_is_named_alone_with_all_its_calls() -> None:
    good, odd = ModelCalls(calls=[a_call()]), ModelCalls(calls=[a_call(), a_call(tokens_in=2**63)])
    batch = [
        *told(good, odd),
        *told(good, first_offset=2, payload=b"\xc1"),
        *told(good, first_offset=3, workspace=""),
        ProjectionInput(Topic.BURN_TELEMETRY, 1, 4, b"{}"),
        *told(good, first_offset=5),
    ]
    changes = project(batch)
    assert [unreadable.record.offset for unreadable in changes.unreadable] == [1, 2, 3, 4]
    assert [row[1] for row in changes.rows[model_calls]] == ["tel_0/0", "tel_5/0"]


def test_calls_leave_by_their_age(store: Store, database_url: str) -> None:
    assert model_calls in AGING
    ages_days = (0, CALLS_KEPT_DAYS - 1, CALLS_KEPT_DAYS + 1)
    calls = [a_call(ts_ms=RECEIVED_MS - days * DAY_MS, event_id=f"{days}") for days in ages_days]
    store.apply([project(told(ModelCalls(calls=calls)))])
    assert store.delete_aged(model_calls, RECEIVED_MS) == 1
    assert store.delete_aged(model_calls, RECEIVED_MS) == 0
    assert {row.id for row in shown(database_url)} == {"0", str(CALLS_KEPT_DAYS - 1)}
