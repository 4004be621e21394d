"""A workflow whose URL is a gateway of ours: its deliveries are no requests of anybody, so no event comes of them."""

import pytest
from yarl import URL

from processors.delivery.decide import Answered
from processors.delivery.http_client import Endpoint, HttpClient, Post
from schemas.signatures import signing_secret, standard_key
from schemas.topics import stream_topic
from tests.contract.gateway.conftest import MASTER_KEY, Gateway
from tests.support.kafka_topics import read_all

SECRET = signing_secret(MASTER_KEY, "ws_1/live/wf_loop")
EVENT = b'{"stream":"orders-prod","type":"order.made","occurred_at":"2026-05-18T14:12:11Z","data":{}}'


@pytest.mark.requirement("W6")
async def test_a_delivery_to_a_gateway_is_refused_and_makes_no_event(gateway: Gateway) -> None:
    assert (await gateway.ask("POST", "/v1/event-streams", {"name": "orders-prod"})).status == 201
    client = HttpClient(5.0, allow_private_targets=True)
    endpoint = Endpoint(URL(gateway.url + "/v1/events"), SECRET, standard_key(SECRET))
    try:
        answered = await client.post(endpoint, Post("dlv_1", 1, EVENT))
    finally:
        await client.close()
    assert isinstance(answered, Answered) and answered.http_status == 401
    topic = stream_topic(gateway.workspace, "live", "orders-prod")
    assert read_all(gateway.settings.kafka, topic) == []
