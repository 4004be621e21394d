"""Prices: of today's models under all the names that callers and providers give them, and an installation's own file.

The expected ones are of a public list of prices (LiteLLM's, 1.110.2), not of domain/guardrails/prices.yaml.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.guardrails.prices import MODELS, PricesInvalid, add_prices, cost_of, is_premium, read_prices
from operations.settings import Settings, SettingsInvalid
from schemas.telemetry import Price

MILLION = 1_000_000
USD = 1_000_000_000


def usd(model: str, tokens_in: int, tokens_out: int = 0, cached: int = 0, **written: int) -> float:
    cost = cost_of(model, tokens_in, tokens_out, cached, **written)
    assert cost.price is Price.LISTED
    return cost.nano / USD


SONNET_4_5 = (3.0, 15.0, 0.30, 3.75, 6.0)
SONNET_4_5_IN_A_REGION = tuple(round(price * 1.1, 3) for price in SONNET_4_5)
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile"
HAIKU_4_5 = (1.0, 5.0, 0.10, 1.25, 2.0)


def plain(tokens_in: float, tokens_out: float, cached: float | None = None) -> tuple[float, ...]:
    """Of a model whose cache costs nothing to write."""
    return (tokens_in, tokens_out, tokens_in if cached is None else cached, tokens_in, tokens_in)


def times(factor: float, prices: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(round(price * factor, 4) for price in prices)


@pytest.mark.requirement("B-058")
@pytest.mark.parametrize(
    ("model", "prices"),
    [
        ("claude-sonnet-4-5", SONNET_4_5),
        ("claude-sonnet-4-5-20250929", SONNET_4_5),
        ("anthropic/claude-sonnet-4.5", SONNET_4_5),  # OpenRouter's
        ("claude-sonnet-4-5@20250929", SONNET_4_5),  # Vertex's
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_4_5),  # Bedrock's
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_4_5),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_4_5_IN_A_REGION),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", SONNET_4_5_IN_A_REGION),
        ("apac.anthropic.claude-haiku-4-5-20251001-v1:0", tuple(round(price * 1.1, 3) for price in HAIKU_4_5)),
        (f"{PROFILE}/global.anthropic.claude-haiku-4-5-20251001-v1:0", HAIKU_4_5),
        ("arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-3-5-sonnet-20240620-v1:0", SONNET_4_5),
        ("anthropic.claude-3-sonnet-20240229-v1:0:200k", SONNET_4_5),
        ("bedrock/us.anthropic.claude-opus-4-1-20250805-v1:0", (15.0, 75.0, 1.50, 18.75, 30.0)),
        ("claude-opus-4-5", (5.0, 25.0, 0.50, 6.25, 10.0)),
        ("claude-haiku-4-5", HAIKU_4_5),
        ("claude-3-5-haiku-latest", (0.80, 4.0, 0.08, 1.0, 1.6)),
        ("gpt-5.1", (1.25, 10.0, 0.125, 1.25, 1.25)),
        ("gpt-5.1-2025-11-13", (1.25, 10.0, 0.125, 1.25, 1.25)),
        ("gpt-5.1-chat-latest", (1.25, 10.0, 0.125, 1.25, 1.25)),
        ("gemini-2.5-flash-lite", (0.10, 0.40, 0.01, 0.10, 0.10)),
        ("gemini-2.5-flash-lite-preview-09-2025", (0.10, 0.40, 0.01, 0.10, 0.10)),
        ("models/gemini-2.5-flash", (0.30, 2.50, 0.03, 0.30, 0.30)),
        ("text-embedding-ada-002", (0.10, 0.0, 0.10, 0.10, 0.10)),
        ("text-embedding-ada-002-v2", (0.10, 0.0, 0.10, 0.10, 0.10)),
        ("us.amazon.nova-lite-v1:0", plain(0.06, 0.24, 0.015)),
        ("eu.amazon.nova-lite-v1:0", plain(0.078, 0.312, 0.0195)),
        ("apac.amazon.nova-lite-v1:0", plain(0.063, 0.252, 0.0158)),
        ("eu.amazon.nova-micro-v1:0", plain(0.046, 0.184, 0.0115)),
        ("apac.amazon.nova-micro-v1:0", plain(0.037, 0.148, 0.0092)),
        ("eu.amazon.nova-pro-v1:0", plain(1.05, 4.20, 0.2625)),
        ("apac.amazon.nova-pro-v1:0", plain(0.84, 3.36, 0.21)),
        ("amazon.nova-2-lite-v1:0", plain(0.30, 2.50, 0.075)),
        ("global.amazon.nova-2-lite-v1:0", plain(0.30, 2.50, 0.075)),
        ("us.amazon.nova-2-lite-v1:0", plain(0.33, 2.75, 0.0825)),
        ("eu.amazon.nova-2-lite-v1:0", plain(0.429, 3.597, 0.1072)),
        ("jp.amazon.nova-2-lite-v1:0", plain(0.396, 3.311, 0.099)),
        ("us.amazon.nova-2-pro-preview-20251202-v1:0", plain(1.375, 11.0, 0.3438)),
        ("bedrock/us-gov-east-1/amazon.nova-pro-v1:0", plain(0.96, 3.84, 0.24)),
        ("bedrock/us-gov-west-1/amazon.nova-lite-v1:0", plain(0.072, 0.288, 0.018)),
        ("bedrock/us-gov-west-1/anthropic.claude-sonnet-4-5-20250929-v1:0", times(1.2, SONNET_4_5)),
        ("bedrock/us-gov-east-1/claude-sonnet-4-5-20250929-v1:0", times(1.2, SONNET_4_5)),
        ("us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", times(1.2, SONNET_4_5)),
        (
            "arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-sonnet-5",
            times(1.2, (2, 10, 0.2, 2.5, 4)),
        ),
        ("bedrock/us-gov-east-1/anthropic.claude-haiku-4-5-20251001-v1:0", times(1.2, HAIKU_4_5)),
        ("bedrock/us-gov-west-1/anthropic.claude-3-haiku-20240307-v1:0", times(1.2, (0.25, 1.25, 0.03, 0.30, 0.50))),
        ("us-gov.openai.gpt-oss-20b-1:0", plain(0.084, 0.36)),
        ("us.openai.gpt-5.4", plain(2.75, 16.5, 0.275)),
        ("us.openai.gpt-5.5", plain(5.5, 33.0, 0.55)),
        ("global.openai.gpt-5.5", plain(5.0, 30.0, 0.5)),
        ("bedrock_mantle/openai.gpt-5.4", plain(2.75, 16.5, 0.275)),
        ("bedrock_mantle/us-gov-west-1/openai.gpt-5.4", plain(3.3, 19.8, 0.33)),
        ("us.openai.gpt-5.6-sol", (4.4, 22.0, 0.44, 5.5, 11.0)),
        ("bedrock_mantle/anthropic.claude-opus-5-5", (4.4, 22.0, 0.22, 5.5, 8.8)),
        ("openai.gpt-oss-20b-1:0", plain(0.07, 0.30)),
        ("anthropic.claude-mythos-preview", (27.5, 137.5, 2.75, 34.375, 55.0)),
        ("claude-fable-5-1", (10.0, 50.0, 0.25, 12.5, 20.0)),
        ("eu.anthropic.claude-fable-5", (11.0, 55.0, 1.1, 13.75, 22.0)),
        ("claude-opus-4-6@default", (5.0, 25.0, 0.50, 6.25, 10.0)),
        ("vertex_ai/claude-3-5-haiku@20241022", (1.0, 5.0, 0.10, 1.25, 2.0)),
        ("mistral.mistral-large-2402-v1:0", plain(4.0, 12.0)),
        ("bedrock/us-west-2/mistral.mistral-large-2402-v1:0", plain(4.0, 12.0)),
        ("bedrock/eu-west-3/mistral.mistral-large-2402-v1:0", plain(5.2, 15.6)),
        ("arn:aws:bedrock:eu-west-3::foundation-model/mistral.mistral-large-2402-v1:0", plain(5.2, 15.6)),
        ("azure/mistral-large-2402", plain(8.0, 24.0)),
        ("mistral.mistral-large-2407-v1:0", plain(2.0, 6.0)),
        ("mistral/mistral-large-latest", plain(0.5, 1.5, 0.05)),
        ("azure/mistral-large-latest", plain(8.0, 24.0)),
        ("mistral.mistral-large-3-675b-instruct", plain(0.5, 1.5, 0.05)),
        ("deepseek-chat", plain(0.28, 0.42, 0.028)),
        ("deepseek/deepseek-reasoner", plain(0.28, 0.42, 0.028)),
        ("deepseek-v4-pro", plain(1.32, 3.96, 0.044)),
        ("us.deepseek.r1-v1:0", plain(1.35, 5.4)),
        ("deepseek.v3-v1:0", plain(0.58, 1.68)),
        ("us.deepseek.v3.2", plain(0.62, 1.85)),
        ("eu.deepseek.v3.2", plain(0.74, 2.22)),
        ("bedrock/ap-northeast-1/deepseek.v3.2", plain(0.74, 2.22)),
        ("azure_ai/deepseek-r1", plain(1.35, 5.4)),
        ("azure/eu/gpt-4o-2024-08-06", plain(2.75, 11.0, 1.375)),
        ("azure/us-gov/gpt-5.1", plain(1.7188, 13.75, 0.1719)),
        ("azure/eu/gpt-6-sol", (2.4, 12.0, 0.24, 3.0, 4.8)),
        ("azure/text-embedding-3-small", plain(0.022, 0.0)),
        ("gpt-4-0125-preview", plain(10.0, 30.0)),
        ("ft:gpt-4o-mini-2024-07-18:our-org::abc123", plain(0.30, 1.20, 0.15)),
        ("ft:gpt-4-0613:our-org:name:abc123", plain(30.0, 60.0)),
    ],
)
def test_a_models_prices_under_each_of_its_names(model: str, prices: tuple[float, ...]) -> None:
    """Dollars a million tokens: input, output, read from the cache, written into it for minutes and for an hour."""
    tokens = 10_000  # no long prompt
    found = (
        usd(model, tokens),
        usd(model, 0, tokens),
        usd(model, tokens, 0, tokens),
        usd(model, tokens, written_tokens=tokens),
        usd(model, tokens, written_long_tokens=tokens),
    )
    assert tuple(round(price * MILLION / tokens, 4) for price in found) == prices


def test_parts_of_a_prompt_have_their_own_prices() -> None:
    cost = usd("claude-sonnet-4-5", 2_310, 50, 2_000, written_tokens=100, written_long_tokens=200)
    assert cost == pytest.approx((10 * 3 + 2_000 * 0.30 + 100 * 3.75 + 200 * 6 + 50 * 15) / MILLION)


def test_parts_are_never_more_than_the_prompt() -> None:
    assert usd("claude-sonnet-4-5", 100, 0, 80, written_tokens=80) == pytest.approx((80 * 0.30 + 20 * 3.75) / MILLION)


def test_a_long_prompt_has_another_price() -> None:
    assert usd("gemini-2.5-pro", 200_000, 1_000) == pytest.approx(0.25 + 0.01)
    assert usd("gemini-2.5-pro", 200_001, 1_000) == pytest.approx(0.5000025 + 0.015)
    assert usd("us.openai.gpt-5.5", 300_000, 1_000) == pytest.approx(300_000 * 11.0 / MILLION + 0.0495)
    assert usd("anthropic.claude-sonnet-4-20250514-v1:0", 200_001) == pytest.approx(200_001 * 6.0 / MILLION)
    assert usd("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_001) == pytest.approx(200_001 * 6.6 / MILLION)


@pytest.mark.parametrize(
    "model",
    [
        "",
        "gpt-99",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3",
        "anthropic.",
        "bedrock/us-gov-west-1/",
        "azure/eu/",
        "us-gov.nobodys.model",
        "claude-",
    ],
)
def test_a_model_that_nobody_knows_has_the_fallbacks_price(model: str) -> None:
    assert cost_of(model, 1_000, 1_000) == (10_000_000 + 30_000_000, Price.FALLBACK)
    assert cost_of(model, 1_000, 0, written_long_tokens=1_000).nano == 20_000_000


FILE = "models:\n  Our-Own: {in: 1.5, out: 3, premium: true}\n  gpt-4o: {in: 2, out: 8, cached_in: 0.5}\n"
FILE += "  azure/eu/gpt-4o: {in: 7, out: 8}\n"


@pytest.fixture
def listed() -> Iterator[None]:
    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)
    add_prices({})


@pytest.mark.usefixtures("listed")
def test_a_price_file_adds_and_replaces(tmp_path: Path) -> None:
    assert usd("gpt-4o", MILLION) == 2.5
    file = tmp_path / "prices.yaml"
    file.write_text(FILE, encoding="utf-8")
    env = {"ATLAS_HOME": str(tmp_path), "ATLAS_PRICES": str(file), "ATLAS_MASTER_KEY": "0" * 64}
    settings = Settings.from_env(env)
    add_prices(settings.prices)
    assert usd("gpt-4o-2024-08-06", MILLION, 0, MILLION) == 0.5
    assert usd("our-own", MILLION, MILLION) == 4.5
    assert usd("azure/eu/gpt-4o", MILLION) == 7.0, "a price of one's own for a name that says its region has no factor"
    assert is_premium("our-own")
    assert settings.describe()["prices"] == "our-own, gpt-4o, azure/eu/gpt-4o"


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("[1", ["is not YAML"]),
        ("- a", ["must hold `models`"]),
        ("prices: {}", ["must hold `models`"]),
        ("models: {m: {in: 1}}", ["m: out is missing"]),
        (
            "models: {m: {in: -1, out: .nan}, n: 7, 3: {in: 1, out: 2}}",
            ["m: in must", "m: out must", "n: must be", "3: is no name"],
        ),
        ("models: {m: {in: 1, out: 2, cache: 3, premium: 1}}", ["m: cache is not known", "m: premium must"]),
        (
            "models: {m: {in: 1, out: 2, long_prompt: {in: 2, out: x}}}",
            ["m: long_prompt: out must", "m: long_prompt: above"],
        ),
    ],
)
def test_all_errors_of_a_price_file_at_once(text: str, errors: list[str], tmp_path: Path) -> None:
    with pytest.raises(PricesInvalid) as invalid:
        read_prices(text)
    assert all(found.startswith(error) for found, error in zip(invalid.value.errors, errors, strict=True))
    file = tmp_path / "prices.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsInvalid) as refused:
        Settings.from_env({"ATLAS_HOME": str(tmp_path), "ATLAS_PRICES": str(file), "ATLAS_PARTITIONS": "no"})
    assert "ATLAS_PARTITIONS" in str(refused.value)
    assert all(fault in str(refused.value) for fault in errors)


def test_the_documents_price_file_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guardrails.md").read_text(encoding="utf-8")
    [written] = re.findall(r"```yaml\n(# prices\.yaml.*?)```", page, re.DOTALL)
    assert "our-own-model" in read_prices(written)


def test_a_price_file_that_is_not_there(tmp_path: Path) -> None:
    env: dict[str, Any] = {"ATLAS_HOME": str(tmp_path), "ATLAS_PRICES": str(tmp_path / "nowhere.yaml")}
    with pytest.raises(SettingsInvalid, match=r"ATLAS_PRICES .*nowhere.yaml can't be read: No such file"):
        Settings.from_env(env)
