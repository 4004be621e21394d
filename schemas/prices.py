"""What a call costs (B-058): tokens by the rates of schemas/prices.yaml, in billionths of a dollar, whole numbers."""

import re
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import yaml

from schemas.burn import Price

MODELS_REMEMBERED_MAX = 4_096
_VENDOR = re.compile(r"^(?:[\w.-]+/)+")
_VARIANT = re.compile(r"[-@:](?:\d{4}-?\d{2}-?\d{2}|\d{4}|latest|preview|free|exp|v\d+|\d{3}|instruct|versatile)$")


class Rates(NamedTuple):
    """Billionths of a dollar a thousand tokens (so all published rates are whole)."""

    tokens_in: int
    tokens_out: int
    cached_in: int
    premium: bool = False


class Cost(NamedTuple):
    nano: int
    price: Price


def _load() -> tuple[Rates, dict[str, Rates]]:
    text = resources.files("schemas").joinpath("prices.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    return _rates(document["fallback"]), {name: _rates(row) for name, row in document["models"].items()}


def _rates(row: dict[str, float]) -> Rates:
    tokens_in, tokens_out = round(row["in"] * 1_000_000), round(row["out"] * 1_000_000)
    cached = row.get("cached_in")
    return Rates(
        tokens_in, tokens_out, tokens_in if cached is None else round(cached * 1_000_000), bool(row.get("premium"))
    )


FALLBACK, MODELS = _load()


@lru_cache(MODELS_REMEMBERED_MAX)
def rates_of(model: str) -> Rates | None:
    """None for a model that is not listed. A vendor in front (`openai/gpt-4o`) and a date or variant behind
    (`gpt-4o-2024-08-06`) do not matter.
    """
    name = _VENDOR.sub("", model.lower())
    while name not in MODELS:
        shorter = _VARIANT.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return MODELS[name]


def cost_of(model: str, tokens_in: int, tokens_out: int, cached_tokens: int = 0) -> Cost:
    """`cached_tokens` are a part of `tokens_in`."""
    listed = rates_of(model)
    rates = FALLBACK if listed is None else listed
    cached = min(cached_tokens, tokens_in)
    nano = ((tokens_in - cached) * rates.tokens_in + cached * rates.cached_in + tokens_out * rates.tokens_out) // 1_000
    return Cost(nano, Price.FALLBACK if listed is None else Price.LISTED)


def is_premium(model: str) -> bool:
    rates = rates_of(model)
    return rates is not None and rates.premium
