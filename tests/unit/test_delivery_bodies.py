"""What a subscription is sent: the documents' payloads and signatures, over bytes that no attempt changes."""

import base64
import hashlib
import hmac
import time
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook
from yarl import URL

from domain.delivery.bodies import content_for
from domain.delivery.signatures import callers_standard_key
from domain.events.spine_events import actor_of
from processors.delivery.http_client import HttpEndpoint, Post, SignatureStyle, signed_headers
from schemas.codec import EVENT
from schemas.entities import Subscription, SubscriptionSurface
from schemas.records import Delivery

DATA = b'{"score" : 72.0,"note":"caf\\u00e9 \xf0\x9f\x92\xa5"}'
SECRET = "whsec_xxxxxxxx"


def delivery(target: str, **event: Any) -> Delivery:
    fields = {
        "type": "code.analysis.complete",
        "occurred_at": "2024-01-15T10:30:00.000Z",
        "data": DATA,
        "actor": actor_of("github.action"),
        "metadata": b'{"correlationId":"run-gh-001"}',
    }
    return Delivery(
        delivery_id="dlv_1",
        event_id="evt_1",
        workspace="ws_a",
        environment="live",
        stream="spine",
        workflow_id=target,
        received_ms=1_705_314_600_120,
        event=EVENT.body_of(EVENT.encode(fields | event)),
    )


def subscription(identifier: str, surface: SubscriptionSurface) -> Subscription:
    return Subscription(
        id=identifier,
        workspace="ws_a",
        environment="live",
        created_ms=1,
        name="The subscription",
        url="https://acme.example/",
        surface=surface,
        patterns=["*"],
    )


@pytest.mark.requirement("S-034", "S-036", "X-38")
def test_the_spines_payload_is_the_documents_and_has_the_data_as_it_was_sent() -> None:
    content = content_for(subscription("sub_1", SubscriptionSurface.SPINE), delivery("sub_1"))
    assert orjson.loads(content.body) == {
        "subscriptionId": "sub_1",
        "deliveredAt": "2024-01-15T10:30:00.120Z",
        "event": {
            "eventId": "evt_1",
            "type": "code.analysis.complete",
            "source": "github.action",
            "timestamp": "2024-01-15T10:30:00.000Z",
            "data": orjson.loads(DATA),
        },
    }
    assert DATA in content.body


@pytest.mark.requirement("W-052", "W-053")
def test_the_work_surfaces_webhook_names_its_event() -> None:
    sent = delivery("whk_1", type="task.created", actor=None, metadata=None)
    content = content_for(subscription("whk_1", SubscriptionSurface.WORK), sent)
    assert content.headers == {"X-Atlas-Event": "task.created"}
    assert orjson.loads(content.body)["type"] == "task.created" and DATA in content.body


@pytest.mark.requirement("S-035", "X-03", "X-40", "W-053")
@pytest.mark.parametrize(
    ("style", "header"),
    [(SignatureStyle.SPINE, "X-Signature"), (SignatureStyle.WORK, "X-Atlas-Signature")],
    ids=["spine", "work"],
)
def test_each_surface_signs_the_raw_body_in_its_own_header(style: SignatureStyle, header: str) -> None:
    endpoint = HttpEndpoint(URL("https://acme.example/"), SECRET, callers_standard_key(SECRET), style=style)
    headers = signed_headers(endpoint, Post("dlv_1", 2, b"{}", headers={"X-Atlas-Event": "a.b"}), 1_705_314_600)
    assert headers[header] == "sha256=" + hmac.new(SECRET.encode(), b"{}", hashlib.sha256).hexdigest()
    assert {"X-Signature", "X-Atlas-Signature"} & headers.keys() == {header}
    assert headers["X-Atlas-Delivery"] == "dlv_1" and headers["X-Atlas-Event"] == "a.b"


@pytest.mark.requirement("X-03", "W14")
@pytest.mark.parametrize(
    ("secret", "standard"),
    [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
        ("not base64 at all", b"not base64 at all"),
        ("whsec_not base64", b"whsec_not base64"),
    ],
)
def test_a_callers_secret_is_a_standard_webhooks_key_in_whichever_form(secret: str, standard: bytes) -> None:
    assert callers_standard_key(secret) == standard


@pytest.mark.requirement("X-03")
def test_the_standard_webhooks_library_verifies_what_is_signed_with_a_callers_secret() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    endpoint = HttpEndpoint(
        URL("https://acme.example/"), secret, callers_standard_key(secret), style=SignatureStyle.SPINE
    )
    headers = signed_headers(endpoint, Post("dlv_1", 1, b'{"a":1}'), int(time.time()))
    assert Webhook(secret).verify(b'{"a":1}', headers) == {"a": 1}
