"""A gateway whose broker has stopped answering: it knows that its view of keys grows old, says so, and holds back."""

import time
from pathlib import Path

import pytest

from deploy.local.broker import Broker
from tests.contract.gateway.conftest import Gateway, a_gateway
from tests.support.kafka_topics import ensure_base_topics
from tests.support.until import until

BEHIND_SECONDS_MAX = 4.0


async def ask_keys(gateway: Gateway) -> tuple[int, str]:
    answer = await gateway.ask("GET", "/v1/keys")
    return answer.status, "" if answer.status == 200 else answer.json["error"]["message"]


@pytest.mark.requirement("F39")
async def test_a_paused_broker_makes_the_view_old_and_its_return_makes_it_new(
    own_broker: Broker, tmp_path: Path
) -> None:
    ensure_base_topics(own_broker.bootstrap)
    bound = {"ATLAS_CONTROL_BEHIND_SECONDS_MAX": str(BEHIND_SECONDS_MAX), "ATLAS_VERDICT_TIMEOUT_SECONDS": "30"}
    async with a_gateway(own_broker.bootstrap, tmp_path, **bound) as gateway:
        control = gateway.clients.control
        assert (await ask_keys(gateway))[0] == 200
        await until(lambda: control.behind_seconds < BEHIND_SECONDS_MAX)
        own_broker.pause()
        try:
            await until(lambda: control.behind_seconds > BEHIND_SECONDS_MAX)
            status, message = await ask_keys(gateway)
            assert status == 503 and "can't be sure" in message
            event = await gateway.ask("GET", "/v1/events/evt_01HX9YQK2T7V3M4ZB6F5N0WJ1A")
            assert (event.status, event.code) == (503, "read_model_behind"), "it may have been made meanwhile"
        finally:
            own_broker.resume()
        resumed_seconds = time.monotonic()
        await until(lambda: control.behind_seconds < BEHIND_SECONDS_MAX)
        print(f"current {time.monotonic() - resumed_seconds:.1f} s after the broker's return")
        assert (await ask_keys(gateway))[0] == 200
