"""What librdkafka repeats is folded, ever more rarely while it goes on, and the count is told."""

import ast
import logging
from collections.abc import Iterator

import pytest

from operations.kafka_clients import library_log
from operations.logs import FoldedRepeats
from tests.traceability import tree
from tests.traceability.catalogue import ROOT

FORMAT = "%s [%s] %s"
"""Of every line that confluent-kafka hands on."""
LEADERLESS = "[thrd:main]: Partition events.ws_{0}.live.orders(id{0})[{0}]: new leader-1 not found in cache"
REFUSED = "[thrd:{0}]: {0}: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after {0}ms in state CONNECT)"
UNKNOWN_USER = "[thrd:{0}]: {0}: SASL authentication error: Authentication failed (after {0}ms in state AUTH_REQ)"


def line(logger: str, at_seconds: float, message: str, *args: object) -> logging.LogRecord:
    record = logging.LogRecord(logger, logging.WARNING, "", 0, message, args, None)
    record.created = at_seconds
    return record


def passed(lines: Iterator[logging.LogRecord] | list[logging.LogRecord]) -> list[tuple[float, int]]:
    """When a line came through, and how many before it were left out."""
    folded = FoldedRepeats()
    through = [one for one in lines if folded.filter(one)]
    return [(one.created, getattr(one, "facts", {}).get("suppressed", 0)) for one in through]


@pytest.mark.requirement("F2")
def test_a_flood_of_one_kind_becomes_a_few_lines_that_count_the_others() -> None:
    """2,118 lines a minute, as three brokers of which one was dead made them, for ten minutes."""
    name, step = library_log("event-log").name, 60 / 2_118
    flood = [
        line(name, 1_000 + n * step, FORMAT, "METADATAUPDATE", "rdkafka#producer-1", LEADERLESS.format(n % 24))
        for n in range(21_180)
    ]
    seen = passed(flood)
    assert [round(at - 1_000) for at, _ in seen[:7]] == [0, 1, 3, 7, 15, 31, 63]
    assert len(seen) <= 17 and seen[0] == (1_000.0, 0)
    last_line = next(n for n, one in enumerate(flood) if one.created == seen[-1][0])
    assert sum(suppressed for _, suppressed in seen) + len(seen) == last_line + 1, "every line is accounted for"


def test_another_thing_another_client_and_another_cause_are_lines_of_their_own() -> None:
    verdicts, usage = library_log("verdicts").name, library_log("usage").name
    seen = passed(
        [
            line(verdicts, 1.0, FORMAT, "FAIL", "rdkafka#consumer-2", REFUSED.format(1)),
            line(verdicts, 1.1, FORMAT, "FAIL", "rdkafka#consumer-2", REFUSED.format(7)),
            line(verdicts, 1.2, FORMAT, "FAIL", "rdkafka#consumer-2", UNKNOWN_USER.format(5)),
            line(verdicts, 1.3, FORMAT, "METADATAUPDATE", "rdkafka#consumer-2", LEADERLESS.format(1)),
            line(usage, 1.4, FORMAT, "FAIL", "rdkafka#producer-3", REFUSED.format(1)),
        ]
    )
    assert [at for at, _ in seen] == [1.0, 1.2, 1.3, 1.4]


def test_what_was_not_said_for_long_is_said_at_once_and_a_second_later() -> None:
    name = library_log("verdicts").name
    times = [*(float(second) for second in range(100)), 500.0, 501.5]
    seen = passed([line(name, at, FORMAT, "FAIL", "rdkafka#consumer-2", REFUSED.format(1)) for at in times])
    assert [at for at, _ in seen][-2:] == [500.0, 501.5]


def test_others_noise_is_told_once_a_second_and_our_own_lines_always() -> None:
    aiokafka = [line("aiokafka.conn", tenth / 10, "Unable to connect to %s", tenth) for tenth in range(35)]
    assert [at for at, _ in passed(aiokafka)] == [0.0, 1.0, 2.0, 3.0]
    ours = [line("atlas.gateway", tenth / 10, "gateway.serves") for tenth in range(35)]
    assert len(passed(ours)) == 35


def test_every_clients_lines_are_folded() -> None:
    """A logger of another name would pass the filter: that is how the flood came."""
    others = [
        f"{path}:{value.lineno}"
        for path in tree.python_files(*tree.PACKAGES)
        for value in loggers_given(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if not ast.unparse(value).startswith(("library_log(", "LIBRDKAFKA_LOG", "record.name"))
    ]
    assert not others, "take operations.kafka_clients.library_log"


def loggers_given(module: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(module):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "logger":
                    yield value
