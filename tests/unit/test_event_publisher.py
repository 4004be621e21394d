"""What becomes of one event on its way to the log: the table of ingest_gateway/log/publishing.py."""

from typing import cast

import pytest

from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from ingest_gateway.log.event_log import Appended, EventLog, LogBusy, LogUnavailable
from ingest_gateway.log.publishing import EventPublisher, SentEvent
from schemas.records import Verdict
from schemas.replies import REPLY_HEADER, decode_reply
from tests.support.events_surface import LocalControl, LocalVerdicts, MemoryLog

SIGNER = GatewaySigner(b"0123456789abcdef" * 2)
SOON_SECONDS = 0.02
STORED = Appended("events.ws.live.orders", 4, 0, 1_779_114_131_482)


@pytest.fixture
async def verdicts() -> LocalVerdicts:
    waiter = LocalVerdicts("", max_waiters=1)
    waiter.start()
    return waiter


@pytest.fixture
def log(verdicts: LocalVerdicts) -> MemoryLog:
    return MemoryLog(LocalControl(), verdicts, decides=False)


@pytest.fixture
def publisher(log: MemoryLog, verdicts: LocalVerdicts) -> EventPublisher:
    return EventPublisher(
        cast(EventLog, log), verdicts, SIGNER, append_seconds=SOON_SECONDS, verdict_seconds=SOON_SECONDS
    )


def send(publisher: EventPublisher, *, expects_verdict: bool) -> SentEvent[str]:
    return publisher.send(STORED.topic, "key", "evt_1", b"value", b"h" * 16, "shown", expects_verdict=expects_verdict)


@pytest.mark.parametrize(
    ("stored", "expects", "decided", "outcome", "is_pending"),
    [
        (True, False, False, None, False),
        (True, True, True, "admitted", False),
        (True, True, False, None, True),
        (False, True, True, "admitted", False),
    ],
)
async def test_what_is_confirmed(
    publisher: EventPublisher,
    log: MemoryLog,
    verdicts: LocalVerdicts,
    stored: bool,
    expects: bool,
    decided: bool,
    outcome: str | None,
    is_pending: bool,
) -> None:
    log.confirms = stored
    sent = send(publisher, expects_verdict=expects)
    if decided:
        reply = decode_reply(log.records[0].headers[REPLY_HEADER])
        assert reply is not None
        verdicts.deliver(Verdict(correlation=reply.correlation, outcome="admitted", event_id="evt_1"))
    confirmed = await publisher.confirmed(sent)
    assert (confirmed.appended is not None) is stored
    assert (None if confirmed.verdict is None else confirmed.verdict.outcome) == outcome
    assert confirmed.is_pending is is_pending


@pytest.mark.requirement("F5")
@pytest.mark.parametrize("expects_verdict", [False, True])
async def test_what_nobody_confirms_is_in_doubt(
    publisher: EventPublisher, log: MemoryLog, expects_verdict: bool
) -> None:
    log.confirms = False
    with pytest.raises(LogUnavailable):
        await publisher.confirmed(send(publisher, expects_verdict=expects_verdict))


async def test_the_record_is_signed_and_names_its_reply_only_where_a_verdict_is_expected(
    publisher: EventPublisher, log: MemoryLog
) -> None:
    send(publisher, expects_verdict=False)
    send(publisher, expects_verdict=True)
    plain, keyed = log.records
    for record in (plain, keyed):
        signature = record.headers[GATEWAY_SIGNATURE]
        assert SIGNER.verified_hash(STORED.topic, signature, record.value) == b"h" * 16
    assert REPLY_HEADER not in plain.headers
    assert REPLY_HEADER in keyed.headers


@pytest.mark.parametrize("refusal", [LogBusy("full"), LogUnavailable("stopping")])
async def test_an_event_that_is_not_sent_leaves_no_waiter(
    publisher: EventPublisher, log: MemoryLog, verdicts: LocalVerdicts, refusal: Exception
) -> None:
    """One waiter is allowed: a forgotten one would block the next event."""
    log.refuses = refusal
    with pytest.raises(type(refusal)):
        send(publisher, expects_verdict=True)
    log.refuses = None
    assert send(publisher, expects_verdict=True).expected is not None
    with pytest.raises(LogBusy):
        send(publisher, expects_verdict=True)
    assert len(log.records) == 1
