"""What other processes read for a rebuild: nothing is lost on the way, and what belongs together comes together."""

from collections.abc import Iterator

import pytest

from processors.projection.changes import Changes
from processors.projection.decide import project
from processors.projection.decoding import Decoder, in_turn
from processors.projection.log_batches import LogBatch, RebuildFailed
from processors.projection.packed import packed, unpacked
from schemas.read_model import LogPosition
from schemas.telemetry import ModelCalls
from tests.contract.read_model.test_calls import a_call, told
from tests.contract.read_model.test_store import a_busy_hour
from tests.support.ports import free_port


def test_changes_come_out_as_they_went_in() -> None:
    for records in [*a_busy_hour(seed=5), told(ModelCalls(calls=[a_call()]))]:
        batch = LogBatch(7, 1, 2, len(records), project(records))
        came = unpacked(packed(batch))
        assert came[:-1] == batch[:-1]
        assert came.changes.position == batch.changes.position
        assert dict(came.changes.rows) == dict(batch.changes.rows)
        assert dict(came.changes.gone) == dict(batch.changes.gone)
        assert came.changes.sources == batch.changes.sources


def of(topic: str, *times: tuple[int, int]) -> Iterator[LogBatch]:
    return iter([LogBatch(0, first, last, 1, Changes(LogPosition(topic, 0, 1))) for first, last in times])


@pytest.mark.parametrize(
    ("outcomes", "rest", "order"),
    [
        ([(0, 5), (6, 9)], [(0, 5), (6, 9)], "odod"),
        ([(0, 5), (5, 9)], [(0, 5), (6, 9)], "oodd"),
        ([(20, 25)], [(0, 5), (6, 9)], "ddo"),
        ([], [(0, 5), (6, 9)], "dd"),
        ([(0, 5), (6, 9)], [], "oo"),
    ],
)
def test_outcomes_come_before_the_decisions_of_their_time(
    outcomes: list[tuple[int, int]], rest: list[tuple[int, int]], order: str
) -> None:
    found = in_turn(of("outcomes", *outcomes), of("decisions", *rest))
    assert "".join(batch.changes.position.topic[0] for batch in found) == order


def test_a_process_that_ends_without_having_read_all_fails_the_rebuild() -> None:
    decoder = Decoder(f"127.0.0.1:{free_port()}", {}, {("no such topic", 0): 1})
    decoder.stop_reading()
    with pytest.raises(RebuildFailed, match="ended with"):
        list(decoder.batches())
    decoder.end()
