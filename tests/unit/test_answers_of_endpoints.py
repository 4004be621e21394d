"""What an endpoint answered is kept for the console, and shown nowhere in the API."""

import orjson
import pytest

from ingest_gateway.read_model.stored import StoredEvent
from ingest_gateway.read_model.views import event_view
from processors.projection.decide import project
from schemas.read_model import AttemptRow, EventRow, attempts, events
from tests.support.log_records import a_decision, an_outcome, attempted, decided


@pytest.mark.requirement("W15")
def test_an_answers_body_is_not_shown_with_the_event() -> None:
    outcome = an_outcome(1, status="exhausted", http_status=500, response_excerpt=b"<script>token=s3cret</script>")
    (event,) = project(decided(a_decision(1))).rows[events]
    (attempt,) = map(AttemptRow._make, project(attempted(outcome)).rows[attempts])
    assert attempt.response_excerpt == b"<script>token=s3cret</script>"
    shown = orjson.dumps(event_view(StoredEvent(EventRow(*event), (attempt,)), every_attempt=True))
    assert b'"http_status":500' in shown
    assert b"s3cret" not in shown and b"script" not in shown
