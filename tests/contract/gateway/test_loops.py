"""Deliveries that come back to a gateway of ours make no event, come they straight or forwarded by somebody."""

import pytest
from yarl import URL

from domain.delivery.decide import Answered
from domain.delivery.signatures import signing_secret, standard_key
from processors.delivery.http_client import HttpClient, HttpEndpoint, Post, signed_headers
from schemas.topics import stream_topic
from tests.contract.gateway.conftest import MASTER_KEY, Gateway
from tests.support.kafka_topics import read_all

SECRET = signing_secret(MASTER_KEY, "ws_1/live/wf_loop")
EVENT = b'{"stream":"orders-prod","type":"order.made","occurred_at":"2026-05-18T14:12:11Z","data":{}}'


@pytest.mark.requirement("W6")
async def test_a_delivery_to_a_gateway_is_refused_and_makes_no_event(gateway: Gateway) -> None:
    assert (await gateway.ask("POST", "/v1/event-streams", {"name": "orders-prod"})).status == 201
    client = HttpClient(5.0, allow_private_targets=True)
    endpoint = HttpEndpoint(URL(gateway.url + "/v1/events"), SECRET, standard_key(SECRET))
    try:
        answered = await client.post(endpoint, Post("dlv_1", 1, EVENT))
    finally:
        await client.close()
    assert isinstance(answered, Answered) and answered.http_status == 401
    topic = stream_topic(gateway.workspace, "live", "orders-prod")
    assert read_all(gateway.settings.kafka, topic) == []


@pytest.mark.requirement("W6")
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch"])
async def test_a_delivery_that_a_proxy_forwards_with_a_key_of_its_own_makes_no_event(
    gateway: Gateway, path: str
) -> None:
    """It has a good key and a good body, and so would go round without end."""
    stream = {"name": "orders-prod"}
    assert (await gateway.ask("POST", "/v1/event-streams", stream)).status == 201
    body = EVENT if path == "/v1/events" else b'{"events":[' + EVENT + b"]}"
    headers = signed_headers(
        HttpEndpoint(URL("https://hook.example/"), SECRET, standard_key(SECRET)), Post("d", 1, body), 1
    )
    refused = await gateway.ask("POST", path, body, headers=headers)
    assert (refused.status, refused.fields) == (400, ["X-Atlas-Delivery"])
    del headers["X-Atlas-Delivery"]
    assert (await gateway.ask("POST", path, body, headers=headers)).status in (200, 202)
    assert len(read_all(gateway.settings.kafka, stream_topic(gateway.workspace, "live", "orders-prod"))) == 1
