"""What a delivery's body says, what an answer means, and that both signatures verify with code that is not ours."""

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from domain.delivery.bodies import body_of
from domain.delivery.decide import (
    DELIVERY_LIFE_MS,
    WORKFLOW_DELETED,
    Answered,
    Attempt,
    AttemptResult,
    ErrorCode,
    Failed,
    TimedOut,
    is_given_up,
    outcome_of,
)
from domain.delivery.retry_schedule import RetrySchedule
from domain.delivery.signatures import signing_secret, standard_key
from processors.delivery.http_client import HttpEndpoint, Post, signed_headers
from schemas.codec import EVENT
from schemas.records import Delivery, Outcome

RECEIVED_MS = 1_779_113_531_482
EVENT_FIELDS = {
    "type": "order.fulfilled",
    "occurred_at": "2026-05-18T14:12:11Z",
    "data": b'{"total" : 1.0, "note":"caf\\u00e9 \xf0\x9f\x92\xa5","big":12345678901234567890,"total":2}',
    "actor": b'{"type":"user", "id":"usr_1"}',
    "metadata": b'{ "source":"web" }',
}


def a_delivery(**changes: object) -> Delivery:
    fields = {
        "delivery_id": "dlv_01J",
        "event_id": "evt_01J",
        "workspace": "ws_4F9KQ2C7Z1",
        "environment": "live",
        "stream": "orders",
        "workflow_id": "wf_search",
        "received_ms": RECEIVED_MS,
        "event": EVENT.encode(EVENT_FIELDS)[10:],
        "replay": 2,
    }
    return Delivery(**(fields | changes))


@pytest.mark.parametrize(
    ("age_ms", "replay", "given_up"),
    [
        (DELIVERY_LIFE_MS, 0, False),
        (DELIVERY_LIFE_MS + 1, 0, True),
        (DELIVERY_LIFE_MS + 1, 1, False),
    ],
)
def test_a_delivery_is_given_up_after_thirty_days_and_a_replay_is_not(age_ms: int, replay: int, given_up: bool) -> None:
    assert DELIVERY_LIFE_MS == 30 * 86_400_000
    assert is_given_up(a_delivery(replay=replay), RECEIVED_MS + age_ms) is given_up


def an_outcome(result: AttemptResult, number: int = 1) -> Outcome:
    attempt = Attempt(number, "Search indexer", RECEIVED_MS + 5, RECEIVED_MS + 5, RECEIVED_MS + 12, result)
    return outcome_of(a_delivery(), attempt, RetrySchedule((30_000, 60_000)))


class TestBody:
    @pytest.mark.requirement("A-002")
    def test_it_is_the_event_with_what_the_producer_sent_byte_equal(self) -> None:
        delivery = a_delivery()
        body = body_of(delivery, EVENT.decode_body(delivery.event))
        assert body == (
            b'{"id":"evt_01J","object":"event","stream":"orders","type":"order.fulfilled",'
            b'"occurred_at":"2026-05-18T14:12:11Z","received_at":"2026-05-18T14:12:11.482Z",'
            b'"data":' + EVENT_FIELDS["data"] + b',"actor":' + EVENT_FIELDS["actor"] + b","
            b'"metadata":' + EVENT_FIELDS["metadata"] + b',"workflow_id":"wf_search"}'
        )

    def test_what_was_not_sent_is_null(self) -> None:
        event = EVENT_FIELDS | {"actor": None, "metadata": None}
        read = json.loads(body_of(a_delivery(), event))
        assert (read["actor"], read["metadata"]) == (None, None)

    @given(st.text(), st.text(), st.integers(0, 2**41))
    def test_it_is_json_whatever_the_texts_hold(self, type_: str, stream: str, received_ms: int) -> None:
        delivery = a_delivery(stream=stream, received_ms=received_ms)
        read = json.loads(body_of(delivery, EVENT_FIELDS | {"type": type_}))
        assert (read["type"], read["stream"]) == (type_, stream)


class TestOutcome:
    @pytest.mark.requirement("A-048")
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    def test_a_2xx_is_an_acknowledgement(self, status: int) -> None:
        outcome = an_outcome(Answered(status, b"thanks"))
        assert (outcome.status, outcome.http_status, outcome.error_code) == ("delivered", status, None)
        assert outcome.response_excerpt == b"thanks"

    @pytest.mark.requirement("W11")
    def test_what_could_not_be_read_of_an_answer_is_said_and_changes_nothing(self) -> None:
        outcome = an_outcome(Answered(200, unread="a header of its answer is too long to be read"))
        assert (outcome.status, outcome.error_code, outcome.next_attempt_ms) == ("delivered", None, None)
        said = "Search indexer answered 200, but a header of its answer is too long to be read"
        assert outcome.error_message == said
        failed = an_outcome(Answered(503, unread="the rest of its answer did not come in time"))
        assert (failed.status, failed.error_code) == ("retry_scheduled", "upstream_status")
        assert failed.error_message == "Search indexer answered 503, but the rest of its answer did not come in time"

    @pytest.mark.requirement("A-050", "W11")
    @pytest.mark.parametrize(
        ("result", "code", "message", "http_status"),
        [
            (TimedOut(5.0), "upstream_timeout", "Search indexer did not respond within 5s", None),
            (TimedOut(0.25), "upstream_timeout", "Search indexer did not respond within 0.25s", None),
            (Answered(500), "upstream_status", "Search indexer answered 500", 500),
            (Answered(999), "upstream_status", "Search indexer answered 999", 999),
            (Answered(101), "upstream_status", "Search indexer answered 101", 101),
            (Answered(302), "upstream_status", "Search indexer answered 302; redirects are not followed", 302),
            (
                Failed(ErrorCode.CONNECTION_FAILED, "refused the connection"),
                "connection_failed",
                "Search indexer refused the connection",
                None,
            ),
        ],
    )
    def test_anything_else_is_a_failure_with_its_code(
        self, result: AttemptResult, code: str, message: str, http_status: int | None
    ) -> None:
        outcome = an_outcome(result)
        assert (outcome.error_code, outcome.error_message) == (code, message)
        assert (outcome.status, outcome.http_status) == ("retry_scheduled", http_status)
        last = an_outcome(result, number=3)
        assert (last.status, last.next_attempt_ms, last.error_code) == ("exhausted", None, code)

    @pytest.mark.requirement("A-049", "A-065")
    def test_the_next_attempt_is_due_as_the_schedule_says(self) -> None:
        failed_ms = RECEIVED_MS + 12
        first, second = an_outcome(Answered(500)), an_outcome(Answered(500), number=2)
        assert failed_ms + 30_000 <= (first.next_attempt_ms or 0) <= failed_ms + 36_000
        assert failed_ms + 60_000 <= (second.next_attempt_ms or 0) <= failed_ms + 72_000

    @pytest.mark.requirement("W12")
    @pytest.mark.parametrize(
        ("status", "retry_after", "least_ms", "most_ms"),
        [
            (503, "45", 45_000, 45_000),
            (429, "45", 45_000, 45_000),
            (503, "1", 30_000, 36_000),
            (503, "1" + "0" * 20, 60_000, 60_000),
            (503, "-1", 30_000, 36_000),
            (503, "soon", 30_000, 36_000),
            (500, "45", 30_000, 36_000),
        ],
    )
    def test_retry_after_makes_the_pause_longer_up_to_the_longest_step(
        self, status: int, retry_after: str, least_ms: int, most_ms: int
    ) -> None:
        outcome = an_outcome(Answered(status, b"", retry_after))
        assert least_ms <= (outcome.next_attempt_ms or 0) - outcome.completed_ms <= most_ms

    @pytest.mark.requirement("A-066")
    def test_a_410_disables_and_a_deleted_workflow_ends_it(self) -> None:
        gone = an_outcome(Answered(410))
        assert (gone.status, gone.http_status, gone.error_code) == ("disabled", 410, "endpoint_disabled")
        assert gone.error_message == "Search indexer answered 410 and is disabled until it is reactivated"
        deleted = an_outcome(WORKFLOW_DELETED)
        assert (deleted.status, deleted.error_code) == ("exhausted", "endpoint_disabled")
        assert (deleted.error_message, deleted.next_attempt_ms) == ("Search indexer was deleted", None)

    def test_it_names_its_delivery_and_survives_the_codec(self) -> None:
        delivery, outcome = a_delivery(), an_outcome(Answered(503, b"busy"))
        shared = ("delivery_id", "event_id", "workspace", "environment", "stream", "workflow_id")
        assert all(getattr(outcome, name) == getattr(delivery, name) for name in (*shared, "replay", "received_ms"))
        assert Outcome.decode(outcome.encode()) == outcome
        assert (outcome.attempt, outcome.completed_ms - outcome.started_ms) == (1, 7)


class TestSignatures:
    SECRET = signing_secret(b"m" * 32, "ws_1/live/wf_search")
    BODY = b'{"id":"evt_01J","data":{"a":1.0}}'
    NOW_SECONDS = 1_779_113_531

    def headers(self, body: bytes = BODY) -> dict[str, str]:
        endpoint = HttpEndpoint(URL("https://example.com"), self.SECRET, standard_key(self.SECRET))
        return signed_headers(endpoint, Post("dlv_01J", 3, body), self.NOW_SECONDS)

    @pytest.mark.requirement("A-057", "A-058")
    def test_the_documents_signature_verifies_over_the_raw_body_alone(self) -> None:
        time_part, signature = self.headers()["X-Atlas-Signature"].split(",")
        assert time_part == f"t={self.NOW_SECONDS}"
        signed = f"{self.NOW_SECONDS}.".encode() + self.BODY
        mac = bytes.fromhex(signature.removeprefix("v1="))
        _verify(self.SECRET.encode(), signed, mac)
        with pytest.raises(InvalidSignature):
            _verify(self.SECRET.encode(), signed.replace(b"1.0", b"1"), mac)

    def test_the_standard_signature_verifies_as_its_specification_says(self) -> None:
        headers = self.headers()
        version, encoded = headers["webhook-signature"].split(",")
        key = base64.b64decode(self.SECRET.removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + self.BODY
        assert (version, len(key)) == ("v1", 32)
        _verify(key, signed, base64.b64decode(encoded))
        with pytest.raises(InvalidSignature):
            _verify(key, signed + b" ", base64.b64decode(encoded))

    def test_all_headers_name_the_same_delivery_and_second(self) -> None:
        headers = self.headers()
        assert headers["webhook-id"] == headers["X-Atlas-Delivery"] == "dlv_01J"
        assert headers["X-Atlas-Attempt"] == "3"
        assert headers["X-Atlas-Signature"].startswith(f"t={headers['webhook-timestamp']},")


def _verify(key: bytes, signed: bytes, signature: bytes) -> None:
    """Raises InvalidSignature."""
    mac = HMAC(key, hashes.SHA256())
    mac.update(signed)
    mac.verify(signature)
