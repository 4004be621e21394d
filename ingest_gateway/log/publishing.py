"""One event's way onto the log, and the wait for what becomes of it: the half that every publishing surface shares.

A surface checks an event and encodes it. `send` signs the record and queues it for the broker; `confirmed` waits, first
for the broker, then, where the event expects one, for admission's verdict:

| the broker | the verdict | the caller gets |
|---|---|---|
| has stored it | none is expected | accepted |
| has stored it | is here | what admission decided |
| has stored it | is late (`is_pending`) | accepted: the event is stored, and its id does not depend on the verdict |
| did not say in time | is here | what admission decided; the verdict proves that the record is stored |
| did not say in time | none | LogUnavailable: it may be stored all the same |

Sending an event again with the same key (or, without one, the same content) is safe.
"""

import asyncio
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from domain.security.gateway_signatures import GATEWAY_SIGNATURE, GatewaySigner
from ingest_gateway.log.batches import BatchAppend
from ingest_gateway.log.event_log import Appended, EventLog, LogBusy, LogUnavailable
from ingest_gateway.log.verdicts import Expected, VerdictLate, VerdictWaiter
from schemas.records import Verdict
from schemas.replies import REPLY_HEADER

LEAST_WAIT_SECONDS = 0.001
IN_DOUBT = "the event was not confirmed as stored"

_Shown = TypeVar("_Shown")


class SentEvent(NamedTuple, Generic[_Shown]):
    """An event on its way to the log. `shown`: what the surface's answer repeats of it; the event itself need not be
    kept. `expected`: its verdict, where one is awaited. `at_seconds`: when it was queued, by the loop's time.
    """

    event_id: str
    shown: _Shown
    appended: asyncio.Future[Appended]
    expected: Expected | None
    at_seconds: float


class SentBatch(NamedTuple):
    """Events of one topic on their way to the log; none of them expects a verdict. `at_seconds`: as in `SentEvent`."""

    event_ids: Sequence[str]
    appended: BatchAppend
    at_seconds: float


class Confirmed(NamedTuple):
    """An event that is stored. `appended` is None when only the verdict proves it. `is_pending`: a verdict was awaited,
    and did not come in time.
    """

    appended: Appended | None
    verdict: Verdict | None = None
    is_pending: bool = False


class EventPublisher:
    def __init__(
        self,
        log: EventLog,
        verdicts: VerdictWaiter,
        signer: GatewaySigner,
        *,
        append_seconds: float,
        verdict_seconds: float,
    ) -> None:
        self._log = log
        self._verdicts = verdicts
        self._signer = signer
        self._append_seconds = append_seconds
        self._verdict_seconds = verdict_seconds

    def send(
        self,
        topic: str,
        key: str,
        event_id: str,
        value: bytes,
        payload_hash: bytes,
        shown: _Shown,
        *,
        expects_verdict: bool,
    ) -> SentEvent[_Shown]:
        """Queues the record for the broker. Raises LogBusy, LogUnavailable: nothing was sent."""
        headers = [(GATEWAY_SIGNATURE, self._signer.sign(topic, payload_hash, value))]
        expected = None
        try:
            if expects_verdict:
                expected = self._verdicts.expect()
                headers.append((REPLY_HEADER, expected.reply.encode()))
            appended = self._log.append(topic, key.encode(), value, headers, may_repeat=True)
        except (LogBusy, LogUnavailable):
            if expected is not None:
                expected.forget()
            raise
        return SentEvent(event_id, shown, appended, expected, _loop_seconds())

    def send_all(
        self, topic: str, event_ids: Sequence[str], values: Sequence[bytes], payload_hashes: Sequence[bytes]
    ) -> SentBatch:
        """Queues many events of one topic, each under its id. Raises LogUnavailable: nothing was sent."""
        signatures = self._signer.sign_all(topic, payload_hashes, values)
        headers = [[(GATEWAY_SIGNATURE, signature)] for signature in signatures]
        appended = self._log.append_all(topic, [event_id.encode() for event_id in event_ids], values, headers)
        return SentBatch(event_ids, appended, _loop_seconds())

    async def reported(self, sent: SentBatch) -> None:
        """Returns when the broker has said of each event whether it is stored, or when the time for that is over."""
        await sent.appended.wait(sent.at_seconds + self._append_seconds)

    async def confirmed(self, sent: SentEvent[_Shown]) -> Confirmed:
        """Raises LogUnavailable: not confirmed in time; it may be stored all the same."""
        appended: Appended | None = None
        try:
            if sent.appended.done():
                appended = sent.appended.result()
            else:
                async with asyncio.timeout_at(sent.at_seconds + self._append_seconds):
                    appended = await sent.appended
        except (TimeoutError, LogUnavailable):
            pass
        if sent.expected is None:
            if appended is None:
                raise LogUnavailable(IN_DOUBT)
            return Confirmed(appended)
        # An append that is in doubt is certain once its verdict is here; that is not worth a longer wait.
        patience_seconds = self._verdict_seconds if appended is not None else 0.0
        left_seconds = sent.at_seconds + patience_seconds - _loop_seconds()
        try:
            verdict = await sent.expected.verdict(max(LEAST_WAIT_SECONDS, left_seconds))
        except VerdictLate:
            if appended is None:
                raise LogUnavailable(IN_DOUBT) from None
            return Confirmed(appended, is_pending=True)
        return Confirmed(appended, verdict)


def _loop_seconds() -> float:
    return asyncio.get_running_loop().time()
