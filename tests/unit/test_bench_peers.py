"""What the bench beside other gateways makes of what it measured: wrk's words, medians, ratios, goals, the table."""

import asyncio
import json
import re
import statistics
import time

import pytest

from bench.figures import figures_of
from bench.peers.__main__ import Unusable, read
from bench.peers.builds import last_line
from bench.peers.events import BATCHES, LINES, MEMBER, NDJSON, PARTS, PLACES, SINGLE, Target, event, event_format
from bench.peers.gateways import part_of
from bench.peers.goals import held
from bench.peers.measuring import costs, faults_of, faults_of_paced
from bench.peers.open_loop import Connection, Paced, Waiting, answer_status
from bench.peers.table import Found, Measurement, Spread, lines, ratio, spread_of, spreads_of
from bench.peers.wrk import SCRIPT, Load, WrkFailed, parse
from domain.events.rules import read_event
from operations import clock

RESULT = '{"requests":100,"seconds":2.000100,"p50_ms":8.100,"p99_ms":39.600,"refused":0,"socket_errors":0}'
SAID = (
    f"Running 2s test @ http://127.0.0.1:1/events\n  1 threads and 64 connections\nRequests/sec: 50\nRESULT {RESULT}\n"
)
LOAD = Load(requests=100, seconds=2.0, p50_ms=8.1, p99_ms=39.6, refused=0, socket_errors=0)


def rounds(*values: float, figure: str = "gateway_us") -> list[Measurement]:
    return [Measurement({figure: value}) for value in values]


def test_wrk_is_read_by_its_result() -> None:
    load = parse(SAID)
    assert (load.requests, load.seconds, load.p50_ms, load.p99_ms) == (100, 2.0001, 8.1, 39.6)
    assert (load.refused, load.socket_errors) == (0, 0)


def test_without_a_result_its_words_are_kept() -> None:
    with pytest.raises(WrkFailed, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize(
    ("load", "shape", "on_the_log", "fault"),
    [
        (LOAD, SINGLE, 100, None),
        (LOAD, SINGLE, 100 + SINGLE.connections, None),
        (LOAD, BATCHES[0], 10_000, None),
        (LOAD, SINGLE, 99, "100 events were answered and 99 are on the log"),
        (LOAD, SINGLE, 101 + SINGLE.connections, "on the log"),
        (LOAD, BATCHES[0], 9_999, "10000 events were answered and 9999 are on the log"),
        (Load(100, 2.0, 8.1, 39.6, 3, 0), SINGLE, 97, "3 answers that are not 2xx"),
        (Load(100, 2.0, 8.1, 39.6, 0, 2), SINGLE, 100, "2 errors of sockets"),
        (Load(0, 2.0, 0.0, 0.0, 0, 0), SINGLE, 0, "no answers"),
    ],
)
def test_a_row_is_invalid_unless_all_that_was_answered_is_on_the_log(
    load: Load, shape: object, on_the_log: int, fault: str | None
) -> None:
    faults = faults_of(load, shape, on_the_log)  # type: ignore[arg-type]
    assert not faults if fault is None else fault in "; ".join(faults)


@pytest.mark.parametrize(
    ("refused", "lost", "on_the_log", "fault"),
    [
        (0, 0, 120, None),
        (0, 0, 119, "120 events were sent and 119 are on the log"),
        (0, 0, 121, "120 events were sent and 121 are on the log"),
        (2, 0, 118, "2 answers that are not 2xx"),
        (0, 1, 120, "1 requests without an answer"),
    ],
)
def test_of_the_open_loop_all_is_on_the_log_once(refused: int, lost: int, on_the_log: int, fault: str | None) -> None:
    paced = Paced(20, 100, refused, lost, figures_of([1_000_000]), 0.1)
    assert faults_of_paced(paced, on_the_log) == (() if fault is None else (fault,))


def test_costs_are_microseconds_an_event() -> None:
    assert costs({"gateway": 2.0, "broker": 0.5}, 100_000) == {"gateway_us": 20.0, "broker_us": 5.0}
    assert costs({"gateway": 2.0}, 0) == {}


def test_a_spread_is_the_median_and_what_lies_around_it() -> None:
    assert spread_of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    with pytest.raises(statistics.StatisticsError):
        spread_of([])


@pytest.mark.parametrize(
    ("spread", "shown"),
    [
        (Spread(12_345.6, 9_000.0, 13_000.2), "12,346 (9,000–13,000)"),
        (Spread(12.34, 12.0, 13.0), "12.3 (12.0–13.0)"),
        (Spread(0.456, 0.4, 0.5), "0.46 (0.40–0.50)"),
        (Spread(-0.001, -0.001, -0.001), "0.00"),
        (Spread(99.0, 99.0, 99.0), "99.0"),
    ],
)
def test_a_spread_is_shown_to_about_three_digits(spread: Spread, shown: str) -> None:
    assert spread.shown() == shown


def test_a_fault_in_one_round_takes_the_whole_row() -> None:
    row = [*rounds(1.0, 2.0), Measurement({"gateway_us": 3.0}, ("one answer that is not 2xx",))]
    assert spreads_of(row) == {}
    assert ratio(row, rounds(1.0, 1.0, 1.0), "gateway_us") is None
    assert ratio(rounds(1.0, 1.0, 1.0), row, "gateway_us") is None


def test_only_figures_of_all_rounds_count() -> None:
    assert spreads_of([Measurement({"p50_ms": 1.0, "p99_ms": 2.0}), Measurement({"p50_ms": 3.0})]) == {
        "p50_ms": Spread(2.0, 1.0, 3.0)
    }


def test_a_ratio_is_taken_round_by_round() -> None:
    """The second round was slow for both: the ratio does not show it, that of the medians would."""
    assert ratio(rounds(10.0, 40.0, 10.0), rounds(5.0, 20.0, 20.0), "gateway_us") == Spread(2.0, 0.5, 2.0)
    assert ratio(rounds(10.0), rounds(0.0), "gateway_us") is None


def test_goals_are_held_against_medians_and_what_is_missing_is_not_met() -> None:
    found: Found = {
        "batch-100": {"ours": rounds(7.0, 7.0), "bare": rounds(10.0, 10.0), "before": rounds(35.0, 36.0)},
        "single": {"ours": rounds(130.1), "bare": rounds(100.0)},
        "half": {"ours": rounds(25.0, figure="p99_ms")},
        "rest": {"ours": [Measurement({"core_percent": 0.51, "rss_mib": 90.0})]},
        "ndjson": {"ours": rounds(20.5, figure="grown_mib")},
        "keyed": {
            "ours": rounds(2_500.0, figure="events_per_second"),
            "before": rounds(1_000.0, figure="events_per_second"),
        },
    }
    goals = {goal.what: goal for goal in held(found, "ours", "bare", "before")}
    assert goals["batches of 100: gateway CPU ≤ 0.7 × the bare gateway's"].met is True
    assert goals["batches of 100: gateway CPU ≤ 0.2 × the commit before"].met is True
    a_core = goals["batches of 100: ≥ 80,000 events/s a core"]
    assert (round(a_core.value or 0), a_core.met) == (142_857, True)
    assert goals["batches of 500: gateway CPU ≤ 0.7 × the bare gateway's"].met is None
    assert goals["single: gateway CPU ≤ 1.3 × the bare gateway's"].met is False
    assert goals["p99 at half of the maximum rate ≤ 25 ms"].met is True
    assert goals["at rest ≤ 0.5 % of a core"].met is False
    assert goals["at rest ≤ 90 MiB"].met is True
    assert goals["NDJSON: memory grows by ≤ 20 MiB"].met is False
    assert goals["with a key: ≥ 2.5 × the commit before"].met is True
    assert "not measured" in goals["single: ≥ 0.8 × the bare gateway's requests/s"].shown()


def test_the_table_shows_rows_ratios_and_what_is_invalid() -> None:
    told = lines(
        {
            "single": {
                "ours": [Measurement({"gateway_us": 30.0, "grown_mib": 1.0}), Measurement({"gateway_us": 32.0})],
                "bare": rounds(10.0, 10.0),
                "Benthos": [Measurement({}, ("3 answers that are not 2xx",)), *rounds(1.0)],
            }
        },
        ("bare", "before"),
    )
    assert told[0] == PARTS["single"]
    assert told[1].split() == ["gateway", "µs"]
    assert "ours" in told[2] and told[2].endswith("31.0 (30.0–32.0)")
    assert told[4].split(maxsplit=1) == ["Benthos", "INVALID: 3 answers that are not 2xx"]
    assert told[5:] == ["  ours to bare: gateway CPU × 3.10 (3.00–3.20)"]


@pytest.mark.parametrize("number", [0, 1, 12_345, PLACES[1] - 1])
def test_what_is_sent_is_an_event(number: int) -> None:
    text = event(event_format("0123abcd", "2026-05-18T14:22:11"), number)
    fields = read_event(text, now_ms=clock.now_ms(), allow_key_field=False)
    assert (fields.stream, fields.type, len(text)) == ("orders", "order.created", 295)


def test_no_two_events_are_alike() -> None:
    template = event_format("0123abcd", "2026-05-18T14:22:11")
    assert len({event(template, number) for number in range(5_000)}) == 5_000
    assert event(template, 1) != event(event_format("0123abce", "2026-05-18T14:22:11"), 1)


def test_each_shape_is_sent_as_the_gateway_wants_it() -> None:
    target = Target("http://one", "http://many", batch=MEMBER)
    assert (target.url(SINGLE), target.url(BATCHES[0]), target.url(NDJSON)) == ("http://one", *["http://many"] * 2)
    assert (target.wrapping(BATCHES[0]), target.wrapping(NDJSON)) == (MEMBER, LINES)
    one = target.wrapping(SINGLE)
    assert (one.opens, one.closes, one.content_type) == ("", "", "application/json")


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", 202),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length:2\r\n\r\n{", None),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", 429),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 202 Accepted\r\nContent-Le", None),
        (b"", None),
    ],
)
def test_an_answer_counts_when_all_of_it_is_there(received: bytes, status: int | None) -> None:
    assert answer_status(received) == status


async def test_a_request_that_finds_no_free_connection_counts_from_when_it_was_due() -> None:
    received: asyncio.Queue[tuple[bytes, asyncio.StreamWriter]] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(1_000):
            received.put_nowait((request, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    waiting = Waiting()
    port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: Connection(waiting), "127.0.0.1", port)
    waiting.expect(2)
    due_ns = time.monotonic_ns()
    waiting.offer(due_ns, b"first")
    waiting.offer(due_ns, b"second")  # the only connection is taken
    for expected in (b"first", b"second"):
        request, writer = await received.get()
        assert request == expected, "one at a time"
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    await waiting.all_answered.wait()
    first_ns, second_ns = waiting.times_ns
    assert first_ns < second_ns <= time.monotonic_ns() - due_ns
    assert not waiting.unanswered and not waiting.refused
    transport.close()
    server.close()


def test_the_environment_is_read() -> None:
    asked = read({"BASE": "4d545af", "ROUNDS": "2", "COUNT": "25000", "PARTS": "half,keyed", "OUT": "figures.json"})
    assert (asked.plan.base, asked.plan.rounds, asked.plan.seconds, asked.out.name) == ("4d545af", 2, 6, "figures.json")
    assert asked.plan.requests == 2, "of 10,000 events each"
    assert asked.plan.parts == ("single", "half", "keyed"), "half is of the maximum rate, so that is measured too"
    assert read({}).plan.parts == tuple(PARTS)


@pytest.mark.parametrize("env", [{"ROUNDS": "0"}, {"SECONDS": "1.5"}, {"COUNT": "many"}, {"PARTS": "single,double"}])
def test_an_environment_that_means_nothing_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(Unusable, match=next(iter(env))):
        read(env)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["python", "-m", "ingest_gateway"], "gateway"),
        (["java", "-cp", "jars", "kafka.Kafka", "server.properties"], "broker"),
        (["python", "-m", "processors", "admission"], "processors"),
    ],
)
def test_which_process_belongs_to_what(command: list[str], part: str) -> None:
    assert part_of(command) == part


def test_of_a_failure_the_last_line_is_shown() -> None:
    assert last_line("Benthos does not serve:\n  no broker\n") == "  no broker"
    assert last_line("") == ""


def test_what_the_script_of_wrk_prints_is_what_is_read() -> None:
    names = re.findall(r'"(\w+)":%', SCRIPT.read_text(encoding="utf-8"))
    assert names == list(json.loads(RESULT))
