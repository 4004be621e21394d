"""The admission process on a real broker: what becomes of events from gateways and from direct producers."""

import secrets

import pytest

from schemas.codec import EVENT
from schemas.ids import is_id
from schemas.records import Decision
from schemas.replies import ReplyTo
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.support.worker import Worker


def outcomes(decisions: list[Decision]) -> list[str]:
    return [decision.outcome for decision in sorted(decisions, key=lambda decision: decision.offset)]


@pytest.mark.requirement("A-003", "A-027")
def test_an_event_is_admitted_and_goes_to_every_route_and_its_waiter_is_told(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream(routes=["wf_one", "wf_two"])
    writer, correlation = stream.writer(), secrets.token_bytes(16)
    event = {"idempotency_key": "order-1", "actor": {"type": "user", "id": "u"}, "metadata": {"region": "eu"}}
    writer.send_as_gateway(reply=ReplyTo(7, correlation), **event)
    writer.flush()

    [decision] = written.decisions(stream, 1)
    assert (decision.outcome, decision.event_id, decision.direct) == ("admitted", stream.id_of(**event), False)
    assert (decision.partition, decision.offset) == writer.stored[0]
    assert (decision.routes, decision.type, decision.idempotency_key) == (
        ["wf_one", "wf_two"],
        "order.fulfilled",
        "order-1",
    )
    assert (decision.actor, decision.metadata) == (b'{"type":"user","id":"u"}', b'{"region":"eu"}')

    deliveries = written.deliveries(stream, 2)
    assert {delivery.workflow_id for delivery in deliveries} == {"wf_one", "wf_two"}
    assert len({delivery.delivery_id for delivery in deliveries}) == 2
    for delivery in deliveries:
        assert is_id(delivery.delivery_id, "dlv_")
        assert delivery.event_id == decision.event_id
        assert EVENT.decode_body(delivery.event)["data"] == b'{"order":1}'

    [verdict] = written.verdicts({correlation}, 1)
    assert (verdict.outcome, verdict.event_id, verdict.routes) == ("admitted", decision.event_id, decision.routes)
    assert verdict.received_ms == decision.received_ms


@pytest.mark.requirement("A-029", "A-030")
def test_a_key_again_is_a_replay_and_with_another_payload_a_conflict_and_neither_goes_anywhere(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream(routes=["wf_one"])
    writer, correlations = stream.writer(), [secrets.token_bytes(16) for _ in range(3)]
    for correlation, data in zip(correlations, ({"n": 1}, {"n": 1}, {"n": 2}), strict=True):
        writer.send_as_gateway(reply=ReplyTo(0, correlation), idempotency_key="again", data=data)
    writer.flush()

    first, second, third = sorted(written.decisions(stream, 3), key=lambda decision: decision.offset)
    assert [first.outcome, second.outcome, third.outcome] == ["admitted", "replay", "conflict"]
    assert second.original_id == third.original_id == first.event_id == second.event_id
    assert third.event_id != first.event_id
    assert len(written.deliveries(stream, 1)) == 1

    verdicts = {verdict.correlation: verdict for verdict in written.verdicts(set(correlations), 3)}
    assert [verdicts[correlation].outcome for correlation in correlations] == ["admitted", "replay", "conflict"]
    assert {verdict.event_id for verdict in verdicts.values()} == {first.event_id}
    assert {verdict.received_ms for verdict in verdicts.values()} == {first.received_ms}


@pytest.mark.requirement("A-030")
def test_a_key_means_the_same_on_every_stream_of_its_workspace(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    """Sent to two streams at the same moment, many times: of each key one wins, and the other is a conflict."""
    one = a_stream("orders")
    other = a_stream("returns", workspace=one.topic.workspace)
    writers = one.writer(), other.writer()
    count = 400
    for number in range(count):
        for writer in writers if number % 2 else reversed(writers):
            writer.send_as_gateway(idempotency_key=f"key-{number}")
    for writer in writers:
        writer.flush()

    decisions = written.decisions(one, count) + written.decisions(other, count)
    by_key: dict[str | None, list[str]] = {}
    for decision in decisions:
        by_key.setdefault(decision.idempotency_key, []).append(decision.outcome)
    assert len(by_key) == count
    assert all(sorted(pair) == ["admitted", "conflict"] for pair in by_key.values())


@pytest.mark.requirement("A-003")
def test_the_same_content_without_a_key_is_one_event_whoever_wrote_it(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    """Over HTTP, straight to Kafka in Avro, in JSON, in JSON with white space and the fields in another order."""
    stream = a_stream(routes=["wf_one"])
    turned = dict(reversed(list(stream.event().items())))
    writer = stream.writer()
    writer.send_as_gateway()
    for value in (stream.avro(), stream.json(), str(turned).replace("'", '"').encode()):
        writer.send(value)
    writer.flush()

    decisions = written.decisions(stream, 4)
    assert sorted(decision.outcome for decision in decisions) == ["admitted", "replay", "replay", "replay"]
    assert {decision.event_id for decision in decisions} == {stream.id_of()}
    assert len(written.deliveries(stream, 1)) == 1


def test_events_of_a_partition_are_decided_in_its_order(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    stream = a_stream(routes=["wf_one"])
    writer = stream.writer()
    for number in range(500):
        writer.send_as_gateway(data={"n": number}, idempotency_key=f"key-{number % 100}")
    writer.flush()
    places = [(decision.partition, decision.offset) for decision in written.decisions(stream, 500)]
    for partition in range(8):
        offsets = [offset for place, offset in places if place == partition]
        assert offsets == sorted(offsets)
    decisions = written.decisions(stream, 500)
    assert sum(decision.outcome == "admitted" for decision in decisions) == 100
    assert sum(decision.outcome == "conflict" for decision in decisions) == 400


def test_a_stream_made_while_it_runs_is_followed(admission: Worker, a_stream: MakeStream, written: Written) -> None:
    """Also what was written before anybody knew of the stream."""
    stream = a_stream(announce=False)
    writer = stream.writer()
    writer.send_as_gateway(data={"n": 1})
    writer.flush()
    stream.announce()
    writer.send_as_gateway(data={"n": 2})
    writer.flush()
    assert outcomes(written.decisions(stream, 2)) == ["admitted", "admitted"]
