"""The admission process killed, stopped and robbed of its table: nothing is lost, and nothing is new twice."""

import random
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.records import Decision
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.support.kafka_topics import PARTITIONS, TIMEOUT_SECONDS, committed_offsets
from tests.support.streams import LiveStream
from tests.support.worker import Worker

pytestmark = pytest.mark.slow  # minutes: `make test-slow`

EXIT_SECONDS_MAX = 10.0


def by_place(decisions: list[Decision]) -> dict[tuple[int, int], set[bytes]]:
    """Of each source record all decisions there are, as bytes: one and the same, however often it was decided."""
    places: dict[tuple[int, int], set[bytes]] = {}
    for decision in decisions:
        places.setdefault((decision.partition, decision.offset), set()).add(decision.encode())
    return places


def all_decided(written: Written, stream: LiveStream, records: int) -> list[Decision]:
    """Once every one of the stream's first `records` records has a decision."""
    count = records
    while True:
        decisions = written.decisions(stream, count)
        places = len(by_place(decisions))
        if places >= records:
            return decisions
        count = len(decisions) + records - places


@pytest.mark.requirement("F15", "F20", "F14")
@pytest.mark.timeout(300)
def test_killed_again_and_again_under_load_each_record_has_one_decision(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    """Keys come three times each: first, again, and with another payload."""
    stream = a_stream(routes=["wf_one", "wf_two"])
    keys, chance = 3_000, random.Random(11)
    sent = threading.Event()

    def load() -> None:
        writer = stream.writer()
        for number in range(3 * keys):
            changes: dict[str, Any] = {"idempotency_key": f"key-{number % keys}", "data": {"other": number >= 2 * keys}}
            if number % 5:
                writer.send_as_gateway(**changes)
            else:
                writer.send(stream.json(**changes))
            if number % 100 == 0:
                time.sleep(0.02)
        writer.flush()
        sent.set()

    loading = threading.Thread(target=load)
    loading.start()
    for _ in range(3):
        seen = len(written.decisions(stream, 1))
        written.decisions(stream, min(seen + chance.randint(1, 600), 3 * keys))
        admission.kill()
        admission.start_until_ready()
    loading.join()
    assert sent.is_set()

    decisions = all_decided(written, stream, 3 * keys)
    places = by_place(decisions)
    assert len(places) == 3 * keys
    differing = [list(map(Decision.decode, versions)) for versions in places.values() if len(versions) > 1]
    assert differing == [], "decided again, a record gets the same decision"
    once = [Decision.decode(next(iter(versions))) for versions in places.values()]
    outcomes: dict[str | None, list[str]] = {}
    for decision in once:
        outcomes.setdefault(decision.idempotency_key, []).append(decision.outcome)
    assert len(outcomes) == keys
    assert all(sorted(outcome).count("admitted") == 1 for outcome in outcomes.values())
    admitted = {decision.event_id for decision in once if decision.outcome == "admitted"}
    assert {decision.original_id for decision in once if decision.outcome != "admitted"} == admitted

    deliveries = written.distinct_deliveries(stream, 2 * keys)
    assert len(deliveries) == 2 * keys, "two routes an event, byte for byte the same when made again"


@pytest.mark.requirement("F21")
def test_without_its_table_it_is_recovered_before_the_first_decision(
    admission: Worker, a_stream: MakeStream, written: Written, home: Path
) -> None:
    """Old keys are repeated while the process is away and its directory gone: all of them are replays."""
    stream = a_stream()
    writer = stream.writer()
    keys = 2_000
    for number in range(keys):
        writer.send_as_gateway(idempotency_key=f"key-{number}")
    writer.flush()
    assert {decision.outcome for decision in written.decisions(stream, keys)} == {"admitted"}
    assert admission.stop() == 0

    shutil.rmtree(home / "tables")
    for number in range(keys):
        writer.send_as_gateway(idempotency_key=f"key-{number}")
    writer.flush()
    admission.start_until_ready()
    decisions = all_decided(written, stream, 2 * keys)
    assert len(decisions) == 2 * keys
    assert sum(decision.outcome == "admitted" for decision in decisions) == keys
    assert sum(decision.outcome == "replay" for decision in decisions) == keys
    assert admission.metric("atlas_table_recovered_total") >= keys


@pytest.mark.requirement("F42")
def test_told_to_end_under_load_it_commits_all_it_did_and_does_none_of_it_again(
    admission: Worker, a_stream: MakeStream, written: Written, broker: str
) -> None:
    stream = a_stream(routes=["wf_one"])
    records = 12_000
    sending = threading.Event()

    def load() -> None:
        writer = stream.writer()
        for number in range(records):
            writer.send_as_gateway(data={"n": number})
            if number == 1_000:
                sending.set()
            if number % 200 == 0:
                time.sleep(0.02)
        writer.flush()

    loading = threading.Thread(target=load)
    loading.start()
    assert sending.wait(TIMEOUT_SECONDS)
    written.decisions(stream, 500)
    started = time.monotonic()
    assert admission.stop() == 0
    assert time.monotonic() - started < EXIT_SECONDS_MAX
    loading.join()
    while written.read_on():
        pass
    done = written.decisions(stream, 0)
    assert len(done) < records, "it was told to end in the middle"
    assert committed_offsets(broker, "admission", stream.name) == {
        partition: max((d.offset for d in done if d.partition == partition), default=-1) + 1
        for partition in range(PARTITIONS)
    }

    admission.start_until_ready()
    decisions = all_decided(written, stream, records)
    assert len(decisions) == records, "no record was decided twice"
    assert len(written.deliveries(stream, records)) == records


@pytest.mark.requirement("F42")
def test_idle_it_ends_at_once_and_an_old_key_is_known_after_the_next_start(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream()
    writer = stream.writer()
    writer.send_as_gateway(idempotency_key="k", data={"n": 1})
    writer.flush()
    written.decisions(stream, 1)
    assert admission.stop() == 0
    writer.send_as_gateway(idempotency_key="k", data={"n": 1})
    writer.send_as_gateway(idempotency_key="k", data={"n": 2})
    writer.flush()
    admission.start_until_ready()
    decisions = sorted(written.decisions(stream, 3), key=lambda decision: decision.offset)
    assert [decision.outcome for decision in decisions] == ["admitted", "replay", "conflict"]


def test_following_a_new_stream_makes_nothing_twice(admission: Worker, a_stream: MakeStream, written: Written) -> None:
    """Each new stream is a rebalance; the load on another one must not notice."""
    busy = a_stream(routes=["wf_one"])
    records = 4_000
    writer = busy.writer()

    def load() -> None:
        for number in range(records):
            writer.send_as_gateway(data={"n": number})
            if number % 20 == 0:
                time.sleep(0.01)
        writer.flush()

    loading = threading.Thread(target=load)
    loading.start()
    for _ in range(3):
        fresh = a_stream()
        other = fresh.writer()
        other.send_as_gateway()
        other.flush()
        written.decisions(fresh, 1)
    loading.join()
    assert len(all_decided(written, busy, records)) == records
