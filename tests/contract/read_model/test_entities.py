"""Entities of `control` in the read model: as they are now, gone when they are gone, whatever is applied again."""

import msgspec
import pytest

from processors.projection.decide import project
from processors.projection.store import Store
from schemas.entities import Key, KeyKind, Stream, Workflow
from tests.contract.read_model.test_store import contents
from tests.support.log_records import WORKSPACE, controlled

ORDERS = Stream(id="stm_1", workspace=WORKSPACE, created_ms=5, environment="live", name="orders", retention_days=3)
LONGER = msgspec.structs.replace(ORDERS, retention_days=30)
FLOW = Workflow(id="wf_1", workspace=WORKSPACE, created_ms=6, environment="test", name="one", url="https://a.example")


def shown(database_url: str) -> dict[str, int]:
    """Each entity's key, and the record that it is from."""
    return {f"{row[0]}/{row[1]}": row[-1] for row in contents(database_url)["entities"]}


def test_an_entity_is_one_row_with_its_newest_state(store: Store, database_url: str) -> None:
    store.apply([project(controlled(ORDERS, FLOW))])
    store.apply([project(controlled(LONGER, first_offset=2))])
    stream, workflow = contents(database_url)["entities"]
    assert stream[:4] == ("stream", "stm_1", WORKSPACE, "live")
    assert msgspec.json.decode(stream[5], type=Stream) == LONGER
    assert workflow[:4] == ("workflow", FLOW.entity_id, WORKSPACE, "test")


@pytest.mark.parametrize(
    ("story", "batches", "left"),
    [
        ("gone in a later batch", [[ORDERS, FLOW], [b"stream/stm_1"]], {f"workflow/{FLOW.entity_id}": 1}),
        ("gone in the same batch", [[ORDERS, b"stream/stm_1"]], {}),
        ("made anew after it", [[ORDERS, b"stream/stm_1", LONGER]], {"stream/stm_1": 2}),
        ("never seen", [[b"stream/stm_9"]], {}),
    ],
)
def test_one_that_is_gone_has_no_row_and_applied_again_nothing_changes(
    story: str, batches: list[list[Stream | Workflow | bytes]], left: dict[str, int], store: Store, database_url: str
) -> None:
    offset, changes = 0, []
    for batch in batches:
        changes.append(project(controlled(*batch, first_offset=offset)))
        offset += len(batch)
    for one in changes:
        store.apply([one])
    assert shown(database_url) == left
    for one in [*reversed(changes), *changes]:
        store.apply([one])
        assert shown(database_url) == left


def test_a_key_stands_there_without_its_hash(store: Store, database_url: str) -> None:
    key = Key(
        id="key_1",
        workspace=WORKSPACE,
        created_ms=1,
        environment="live",
        key_kind=KeyKind.SECRET,
        name="first",
        token_hash="ab" * 32,
    )
    store.apply([project(controlled(key))])
    (row,) = contents(database_url)["entities"]
    assert "token_hash" not in row[5]
    assert msgspec.json.decode(row[5])["name"] == "first"


@pytest.mark.parametrize(
    ("key", "value"),
    [(None, b""), (b"stream", None), (b"/x", None), (b"stream/", None), (b"\xff/x", None), (b"stream/a", b"[]")],
)
def test_what_is_no_entity_is_named_alone(key: bytes | None, value: bytes | None) -> None:
    good, bad = controlled(ORDERS, FLOW)
    changes = project([good, bad._replace(key=key, value=value)])
    assert [unreadable.record.offset for unreadable in changes.unreadable] == [1]
    assert [len(rows) for rows in changes.rows.values()] == [1]
