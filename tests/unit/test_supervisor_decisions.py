"""When a crashed process starts again, what people are told, and who stops before whom."""

import pytest

from deploy.local.decide import Restart, exit_sentence, restart, stop_groups


@pytest.mark.parametrize(
    ("failures_before", "ran_seconds", "expected"),
    [
        (0, 0.1, Restart(1, 0.5)),
        (1, 0.1, Restart(2, 1.0)),
        (2, 0.1, Restart(3, 2.0)),
        (3, 0.1, Restart(4, 4.0)),
        (4, 0.1, Restart(5, 8.0)),
        (5, 0.1, Restart(6, 10.0)),
        (6, 29.9, Restart(7, 10.0)),
        (6, 30.0, Restart(1, 0.5)),  # it ran well: its past is forgotten
        (10**9, 0.1, Restart(10**9 + 1, 10.0)),  # and it is never given up
    ],
)
def test_restart(failures_before: int, ran_seconds: float, expected: Restart) -> None:
    assert restart(failures_before, ran_seconds) == expected


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (1, "delivery exited with code 1 after 3.2 s; it starts again in 0.5 s"),
        (0, "delivery exited with code 0 after 3.2 s; it starts again in 0.5 s"),
        (-9, "delivery was ended by SIGKILL after 3.2 s; it starts again in 0.5 s"),
        (-200, "delivery was ended by signal 200 after 3.2 s; it starts again in 0.5 s"),
    ],
)
def test_exit_sentence(code: int, told: str) -> None:
    assert exit_sentence("delivery", code, 3.21, 0.5) == told


def test_the_gateway_stops_first_and_the_broker_last() -> None:
    groups = [("broker", 2), ("gateway", 0), ("admission", 1), ("delivery", 1)]
    assert stop_groups(groups) == [["gateway"], ["admission", "delivery"], ["broker"]]
