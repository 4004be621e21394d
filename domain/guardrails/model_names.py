"""The names that a model may have in a price list, and where it runs, from the one name that a call gives.

| a call's name | looked up, the first that is listed counts | runs in |
|---|---|---|
| `openai/gpt-4o-2024-08-06` | it, `gpt-4o-2024-08-06`, `openai/gpt-4o`, `gpt-4o` | |
| `anthropic/claude-sonnet-4.5` | …, `claude-sonnet-4-5` | |
| `eu.amazon.nova-lite-v1:0` | …, `eu.amazon.nova-lite`, `amazon.nova-lite`, `nova-lite` | `eu` |
| `bedrock/eu-west-3/mistral.…-2402-v1:0`, `arn:aws:bedrock:eu-west-3:…` | …, `eu.mistral.…-2402`, … | `eu` |
| `bedrock/us-gov-west-1/anthropic.claude-sonnet-5` | …, `us-gov.anthropic.claude-sonnet-5`, … | `us-gov` |
| `azure/eu/gpt-4o` | it, `eu/gpt-4o`, `gpt-4o` | `azure/eu` |
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

GLOBAL = "global"
GOVERNMENT = "us-gov"
_BEDROCK_ID = re.compile(
    r"^(?:(?P<area>us-gov|us|eu|apac|jp|au|ca|sa|global)\.)?"
    r"(?P<vendor>(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen"
    r"|writer|xai|zai)\.)(?=[a-z])"
)
_BEDROCK_AREA = re.compile(
    r"^(?:(?P<arn>arn:aws[a-z-]*:bedrock:)|bedrock(?:_mantle|_converse)?/)(?P<area>us-gov|[a-z]{2})-[a-z]+-\d(?=[:/])"
)
_MANTLE = "bedrock_mantle/"
_AZURE_AREA = re.compile(r"^azure/(?:us-gov|us|eu|apac)(?=/)")
_FINE_TUNED = re.compile(r"^(ft:[^:]+):.*$")
_DOTTED_CLAUDE = re.compile(r"^(claude-.*?\d)\.(\d)")
_VARIANT = re.compile(
    r"(?:[-@:](?:\d{4}-?\d{2}-?\d{2}|\d{2}-\d{4}|\d{4}|latest|preview|free|exp|\d{3}|instruct|versatile|thinking|default)"
    r"|-v\d+(?::\d+)?(?::\d+k)?|[-@:]v\d+|-\d:\d|:\d+)$"
)


class ListedName(NamedTuple):
    """`area`: where the call runs, empty where the call's name says nothing, or where `name` itself says it: what is
    listed under such a name is the area's own price."""

    name: str
    area: str


def names_of(model: str) -> Iterator[ListedName]:
    """With its date and version before without, and the longest way of naming the vendor first."""
    whole = model.lower()
    *path, last = whole.split("/")
    found = _BEDROCK_ID.match(last)
    prefix, vendor = ("", "") if found is None else (found["area"] or "", found["vendor"])
    path_area, depth = _area_of(whole)
    area = prefix or path_area
    within = _FINE_TUNED.sub(r"\1", last[found.end() if found else 0 :])
    yield ListedName(whole, "")
    for name in _shorter_and_shorter(within):
        written = (f"{prefix}." if prefix else "") + vendor + name
        for start in range(len(path)):
            is_said = bool(prefix) or start < depth
            yield ListedName("/".join([*path[start:], written]), "" if is_said else area)
        if vendor:
            yield ListedName(f"{area}.{vendor}{name}", "")
            yield ListedName(vendor + name, area)
        yield ListedName(name, area)
        yield ListedName(_DOTTED_CLAUDE.sub(r"\1-\2", name), area)


def _shorter_and_shorter(name: str) -> Iterator[str]:
    """Without its date, version and variant."""
    yield name
    while (shorter := _VARIANT.sub("", name)) != name:
        name = shorter
        yield name


def _area_of(whole: str) -> tuple[str, int]:
    """By what comes before the model's own name, and how many parts of the path reach it. A region of AWS by its
    continent, whose regions are priced alike."""
    if (aws := _BEDROCK_AREA.match(whole)) is not None:
        return ("apac" if aws["area"] == "ap" else aws["area"]), 1 if aws["arn"] else 2
    if (azure := _AZURE_AREA.match(whole)) is not None:
        return azure[0], 2
    return ("us", 1) if whole.startswith(_MANTLE) else ("", 0)
