"""What a call costs (B-058): tokens by the rates of prices.yaml, in billionths of a dollar, whole numbers.

An installation's own price file (`ATLAS_PRICES`) is read by `read_prices` and added by `add_prices`, once, at the
start of a process.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import yaml

from domain.guardrails.model_names import GLOBAL, GOVERNMENT, ListedName, names_of
from schemas.telemetry import Price

MODELS_REMEMBERED_MAX = 4_096
AZURE_PER_MILLE = {"azure/us": 1_100, "azure/eu": 1_100, "azure/apac": 1_200, "azure/us-gov": 1_375}
"""What Azure asks of all its models where a call names one of its data zones, in thousandths of the listed price."""


class LongPrompt(NamedTuple):
    """What a whole call costs where its prompt has more than `above` tokens."""

    above: int
    rates: "Rates"


class Rates(NamedTuple):
    """Billionths of a dollar a thousand tokens (so all published rates are whole). `written`: input that was put into
    the provider's cache for minutes, `written_long`: for an hour or longer. `regional`, `government`: factors, in
    thousandths, of calls that are bound to a region of Bedrock's, or to one of AWS's for governments."""

    tokens_in: int
    tokens_out: int
    cached_in: int
    written: int
    written_long: int
    premium: bool = False
    regional: int = 1_000
    government: int = 1_200
    long_prompt: LongPrompt | None = None


class Cost(NamedTuple):
    nano: int
    price: Price


class PricesInvalid(ValueError):
    """`errors`: all that is wrong with a price file."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


# The list

_NUMBERS = ("in", "out", "cached_in", "write", "write_long", "regional", "gov")
_OF_LONG_PROMPTS = ("above", *_NUMBERS[:5])
USD_MAX = 1_000_000


def read_prices(text: str) -> dict[str, Rates]:
    """Of a price file: `models: {name: {in, out, …}}`, in US dollars a million tokens. Raises PricesInvalid."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PricesInvalid([f"is not YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(document, dict) or set(document) - {"models"} or not isinstance(document.get("models"), dict):
        raise PricesInvalid(["must hold `models` and nothing else: {models: {my-model: {in: 1.0, out: 2.0}}}"])
    models = document["models"]
    errors = [f"{name}: {error}" for name, row in models.items() for error in _errors_of(name, row)]
    if errors:
        raise PricesInvalid(errors)
    return {name.lower(): _rates(row) for name, row in models.items()}


def _errors_of(name: Any, row: Any) -> list[str]:
    if not isinstance(name, str) or not name:
        return ["is no name of a model; put it in quotes"]
    if not isinstance(row, dict):
        return ["must be {in: …, out: …}"]
    errors = _errors_of_numbers(row, ("premium", "long_prompt", *_NUMBERS))
    if not isinstance(row.get("premium", False), bool):
        errors.append("premium must be true or false")
    longer = row.get("long_prompt")
    if longer is not None:
        of_long = _errors_of_numbers(longer, _OF_LONG_PROMPTS) if isinstance(longer, dict) else ["must be {above: …}"]
        errors += [f"long_prompt: {error}" for error in of_long]
        if isinstance(longer, dict) and "above" not in longer:
            errors.append("long_prompt: above is missing")
    return errors


def _errors_of_numbers(row: Mapping[Any, Any], known: tuple[str, ...]) -> list[str]:
    errors = [f"{name} is missing" for name in ("in", "out") if name not in row]
    errors += [f"{name} is not known" for name in row if name not in known]
    for name, value in row.items():
        if name in (*_NUMBERS, "above"):
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number or not 0 <= value <= USD_MAX * (10 if name == "above" else 1):
                errors.append(f"{name} must be a number from 0 to {USD_MAX:,}, not {value!r}")
    return errors


def _rates(row: Mapping[str, Any]) -> Rates:
    def rate(name: str, otherwise: int) -> int:
        return round(row[name] * 1_000_000) if row.get(name) is not None else otherwise

    tokens_in = rate("in", 0)
    written = rate("write", tokens_in)
    longer = row.get("long_prompt")
    return Rates(
        tokens_in,
        rate("out", 0),
        rate("cached_in", tokens_in),
        written,
        rate("write_long", written),
        bool(row.get("premium")),
        round(row.get("regional", 1) * 1_000),
        round(row.get("gov", 1.2) * 1_000),
        LongPrompt(int(longer["above"]), _rates(longer)) if longer else None,
    )


def _load() -> tuple[Rates, dict[str, Rates]]:
    """With libyaml's parser: PyYAML's own takes a tenth of a second, at the start of every process."""
    text = resources.files("domain.guardrails").joinpath("prices.yaml").read_text(encoding="utf-8")
    document = yaml.load(text, yaml.CSafeLoader)
    return _rates(document["fallback"]), {name: _rates(row) for name, row in document["models"].items()}


FALLBACK, MODELS = _load()


def add_prices(models: Mapping[str, Rates]) -> None:
    """To the list, for the life of this process; those of the same name are replaced."""
    MODELS.update(models)
    _listed.cache_clear()


# Looking up


class _Listed(NamedTuple):
    rates: Rates
    per_mille: int


def rates_of(model: str) -> Rates | None:
    """None for a model that is not listed under any of its names (model_names.py)."""
    listed = _listed(model)
    return None if listed is None else listed.rates


@lru_cache(MODELS_REMEMBERED_MAX)
def _listed(model: str) -> _Listed | None:
    for named in names_of(model):
        rates = MODELS.get(named.name)
        if rates is not None:
            return _Listed(rates, _per_mille(rates, named))
    return None


def _per_mille(rates: Rates, named: ListedName) -> int:
    if named.area in ("", GLOBAL):
        return 1_000
    if named.area == GOVERNMENT:
        return rates.government
    return AZURE_PER_MILLE.get(named.area, rates.regional)


def cost_of(
    model: str,
    tokens_in: int,
    tokens_out: int,
    cached_tokens: int = 0,
    *,
    written_tokens: int = 0,
    written_long_tokens: int = 0,
) -> Cost:
    """`cached_tokens` (read from the provider's cache) and what was written into it are parts of `tokens_in`."""
    listed = _listed(model)
    rates, per_mille = (FALLBACK, 1_000) if listed is None else listed
    if rates.long_prompt is not None and tokens_in > rates.long_prompt.above:
        rates = rates.long_prompt.rates
    cached = min(cached_tokens, tokens_in)
    written_long = min(written_long_tokens, tokens_in - cached)
    written = min(written_tokens, tokens_in - cached - written_long)
    plain = tokens_in - cached - written - written_long
    nano = plain * rates.tokens_in + cached * rates.cached_in + tokens_out * rates.tokens_out
    nano += written * rates.written + written_long * rates.written_long
    return Cost(nano * per_mille // 1_000_000, Price.FALLBACK if listed is None else Price.LISTED)


def is_premium(model: str) -> bool:
    rates = rates_of(model)
    return rates is not None and rates.premium
