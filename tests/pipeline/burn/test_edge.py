"""The edge proxy as gateway processes run it, with the real owner of flags and budgets behind them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from domain.security.api_tokens import TokenHasher
from tests.pipeline.burn.conftest import Installation, Organization
from tests.support.gateway_process import GatewayProcess
from tests.support.ports import free_port
from tests.support.provider_stub import Behaviour, ProviderStub, provider_stub
from tests.support.talked_down import TALKED_DOWN
from tests.support.until import until

PATH = "/openai/v1/chat/completions"
COST_USD = 0.0001425  # of the stub's answer by gpt-4o's rates: 7 × 2.50 + 4 × 1.25 + 12 × 10 dollars a million
WAIT = aiohttp.ClientTimeout(total=60)


@pytest.fixture
async def stub() -> AsyncIterator[ProviderStub]:
    async with provider_stub() as running:
        yield running


class Gateway(GatewayProcess):
    """Serves the burn surface alone."""

    def __init__(self, installation: Installation, home: Path, stub: ProviderStub, **environment: str) -> None:
        self.port = free_port()
        super().__init__(
            environment.pop("kafka", installation.kafka),
            home,
            ATLAS_EDGE_PROVIDERS=f'{{"openai": "{stub.url}/v1"}}',
            **installation.env,
            **{"ATLAS_BURN_PORT": str(self.port), "ATLAS_RATE_LIMITS": "off", **environment},
        )
        self.set(ATLAS_SURFACES="burn")

    @property
    def edge(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def body(text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "max_tokens": 12, **more}


# a token for each byte of the body at 2.50, and 12 at 10 dollars a million: what is set aside for a call
WORST_TOKENS_IN = len(json.dumps(body()))
WORST_USD = (WORST_TOKENS_IN * 2.5 + 12 * 10) / 1_000_000


def told(tokens_in: int, tokens_out: int) -> bytes:
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}
    return json.dumps({"choices": [{"message": {"content": "hi"}}], "usage": usage}).encode()


async def ask(organization: Organization, gateway: Gateway, text: str = "hi") -> int:
    async with organization.session.post(
        gateway.edge + PATH, json=body(text), headers={"AtlasBurn-API-Key": organization.key}, timeout=WAIT
    ) as answer:
        await answer.read()
        return int(answer.status)


async def account(organization: Organization) -> Any:
    return (await organization.ask("GET", "/api/guardrails/status")).json


async def reservations(organization: Organization) -> int:
    return int((await account(organization))["reservations"]["count"])


async def spent(organization: Organization) -> bool:
    return bool((await account(organization))["spend"]["day_usd"] > 0)


async def comes(asked: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Asks until it is so."""
    async with asyncio.timeout(40):
        while await asked() != wanted:  # noqa: ASYNC110 what is asked has no event to set
            await asyncio.sleep(0.05)


async def set_policy(organization: Organization, **policy: Any) -> None:
    answer = await organization.ask("PUT", "/api/guardrails/policy", policy)
    assert answer.status == 200, answer.body


@pytest.mark.requirement("B-016", "B-027", "B-029", "B-030", "B-042")
async def test_the_fourth_identical_call_is_the_last(
    installation: Installation, organization: Organization, stub: ProviderStub, tmp_path: Path
) -> None:
    """Through the proxy alone: what it tells trips the layer, and it stops what comes then, until it is resumed."""
    gateway = Gateway(installation, tmp_path / "gateway", stub)
    gateway.start_until_ready()
    try:
        installation.kv.refusals = [(500, None), (429, "1")]
        assert [await ask(organization, gateway, "again") for _ in range(4)] == [200] * 4
        await comes(lambda: ask(organization, gateway, f"another question {len(stub.calls)}"), 429)
        assert len(stub.calls) < 30
        status = await account(organization)
        assert (status["status"], status["flag"]["layer"]) == ("suspended", "dumb_loop_detector")
        mirrored = f"guardrail:{organization.id}"
        await until(lambda: mirrored in installation.kv.values)
        assert b"dumb_loop_detector" in installation.kv.values[mirrored][0]
        assert installation.kv.refusals == []
        assert installation.control.metric('atlas_kv_mirror_writes_total{outcome="failed"}') >= 2
        await until(lambda: installation.control.metric("atlas_kv_mirror_lag_seconds") == 0)
        resume = {"org_id": organization.id, "reason": "manual_resume"}
        await organization.ask("DELETE", "/api/guardrails/enforce", resume)
        await comes(lambda: ask(organization, gateway, f"and another {len(stub.calls)}"), 200)
        await until(lambda: mirrored not in installation.kv.values)
        hashed = TokenHasher(bytes.fromhex(installation.env["ATLAS_MASTER_KEY"])).hash(organization.key)
        assert f"key:{hashed}" in installation.kv.values, "an edge worker knows the key"
    finally:
        gateway.kill()


@pytest.mark.requirement("F54")
async def test_256_calls_at_once_on_a_strict_budget_for_100(
    installation: Installation, organization: Organization, stub: ProviderStub, tmp_path: Path
) -> None:
    """Over two gateways: exactly 100 go upstream, and what was spent is what they cost: as much as was set aside."""
    caps = [{"period": "day", "hard_usd": 100.5 * WORST_USD}]
    off = {"mode": "off"}
    await set_policy(
        organization, budget_mode="strict", financial_limits={"caps": caps}, dumb_loop=off, burst=off, ping_pong=off
    )
    most = Behaviour(wait_seconds=1.0, raw=[told(WORST_TOKENS_IN, 12)], content_type="application/json")
    stub.behave = most
    gateways = [Gateway(installation, tmp_path / str(number), stub) for number in range(2)]
    for gateway in gateways:
        gateway.set(ATLAS_VERDICT_TIMEOUT_SECONDS="30")
        gateway.start()
    try:
        for gateway in gateways:
            await asyncio.to_thread(gateway.wait_until_ready)
        statuses = Counter(await asyncio.gather(*(ask(organization, gateways[n % 2]) for n in range(256))))
        assert statuses == {200: 100, 429: 156}
        assert len(stub.calls) == 100
        await comes(lambda: reservations(organization), 0)
        spend = (await account(organization))["spend"]
        assert round(spend["day_usd"], 7) == round(100 * WORST_USD, 7)
    finally:
        for gateway in gateways:
            gateway.kill()


@pytest.mark.requirement("F54")
async def test_30_calls_at_once_on_a_strict_budget_of_a_dollar(
    installation: Installation, organization: Organization, stub: ProviderStub, tmp_path: Path
) -> None:
    """Whatever way their limits are written, of which each call then uses all: 200,000 tokens, 0.12 dollars."""
    off = {"mode": "off"}
    caps = [{"period": "day", "hard_usd": 1.0}]
    layers = {"dumb_loop": off, "burst": off, "ping_pong": off, "retry_cascade": off}
    await set_policy(organization, budget_mode="strict", financial_limits={"caps": caps}, **layers)
    stub.behave = Behaviour(wait_seconds=0.5, raw=[told(20, 200_000)], content_type="application/json")
    gateway = Gateway(installation, tmp_path / "gateway", stub)
    gateway.set(ATLAS_VERDICT_TIMEOUT_SECONDS="30")
    gateway.start_until_ready()

    async def ask_for_much(number: int) -> int:
        path, members = TALKED_DOWN[number % len(TALKED_DOWN)]
        asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], **members}
        async with organization.session.post(
            gateway.edge + path, json=asked, headers={"AtlasBurn-API-Key": organization.key}, timeout=WAIT
        ) as answer:
            await answer.read()
            return int(answer.status)

    try:
        statuses = Counter(await asyncio.gather(*(ask_for_much(number) for number in range(30))))
        await comes(lambda: reservations(organization), 0)
        spent_usd = (await account(organization))["spend"]["day_usd"]
    finally:
        gateway.kill()
    assert set(statuses) == {200, 429} and statuses[200] == len(stub.calls)
    assert 0.12 <= spent_usd <= 1.0, statuses


@pytest.mark.requirement("F54")
async def test_a_gateway_killed_in_the_middle_leaks_nothing(
    installation: Installation, organization: Organization, stub: ProviderStub, tmp_path: Path
) -> None:
    """What it had set aside lapses; then the budget has all its room again."""
    caps = [{"period": "day", "hard_usd": 10.5 * WORST_USD}]
    off = {"mode": "off"}
    await set_policy(organization, budget_mode="strict", financial_limits={"caps": caps}, dumb_loop=off, burst=off)
    stub.behave = Behaviour(wait_seconds=60)
    gateway = Gateway(installation, tmp_path / "gateway", stub, ATLAS_EDGE_TIMEOUT_SECONDS="3")
    gateway.set(ATLAS_VERDICT_TIMEOUT_SECONDS="30")
    gateway.start_until_ready()
    running = [asyncio.create_task(ask(organization, gateway)) for _ in range(10)]
    try:
        await until(lambda: len(stub.calls) == 10)
        assert await ask(organization, gateway) == 429, "the budget is full of calls under way"
        gateway.kill()
        await asyncio.gather(*running, return_exceptions=True)
        stub.behave = Behaviour()
        gateway.start_until_ready()
        await comes(lambda: ask(organization, gateway), 200)
        spend = (await account(organization))["spend"]
        assert spend["day_usd"] <= 2 * COST_USD, "calls that nobody settled are not counted"
    finally:
        gateway.kill()


@pytest.mark.requirement("B-041", "F53")
async def test_without_kafka_from_the_start_and_killed(
    installation: Installation, organization: Organization, stub: ProviderStub, tmp_path: Path
) -> None:
    """It forwards, says that it is not ready, and what it kept on disk is told by the next one: whose it was, too."""
    home = tmp_path / "gateway"
    alone = Gateway(installation, home, stub, kafka=f"127.0.0.1:{free_port()}")
    alone.start()
    try:
        await comes(lambda: _asked(organization, alone), 200)
        assert set(await asyncio.to_thread(alone.missing)) >= {"log"}
        ingest = await _status(organization, alone.edge + "/api/ingest")
        assert ingest == 503, "nothing but the proxy answers yet"
        await until(lambda: any(path.stat().st_size for path in home.glob("edge-spool/*/*.seg")))
        assert alone.metric("atlas_edge_log_away") == 1.0
    finally:
        alone.kill()
    after = Gateway(installation, home, stub)
    after.start_until_ready()
    try:
        await comes(lambda: spent(organization), True)
        await until(lambda: not list(home.glob("edge-spool/*/*.seg")))
        assert after.metric("atlas_edge_spool_bytes") == 0.0
    finally:
        after.kill()


async def _asked(organization: Organization, gateway: Gateway) -> int:
    try:
        return await ask(organization, gateway)
    except aiohttp.ClientError:
        return 0


async def _status(organization: Organization, url: str) -> int:
    headers = {"AtlasBurn-API-Key": organization.key}
    async with organization.session.post(url, json={"events": []}, headers=headers) as answer:
        return int(answer.status)
