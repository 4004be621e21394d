"""What a model can read and write at most, by its family, as providers publish it.

For strict budgets: without a limit a model may write as much as it can, and no prompt is longer than the model's
context. A model that is not listed is treated as one of the largest. Figures: LiteLLM's list (1.110.2).
"""

import re
from functools import lru_cache
from typing import NamedTuple


class ModelLimits(NamedTuple):
    """In tokens."""

    context: int
    output: int


UNLISTED = ModelLimits(2_097_152, 1_048_576)
_FAMILIES = tuple(
    (re.compile(pattern), ModelLimits(context, output))
    for pattern, context, output in (
        (r"gpt-3\.5", 16_385, 4_096),
        (r"gpt-4-(turbo|1106|0125|vision)", 128_000, 4_096),
        (r"gpt-4\.1", 1_047_576, 32_768),
        (r"gpt-4(-|$)", 32_768, 32_768),
        (r"(gpt|chatgpt)-4o", 128_000, 16_384),
        (r"o[134](-|$)", 200_000, 100_000),
        (r"text-embedding-", 8_192, 0),
        (r"claude-3-(opus|sonnet|haiku)", 200_000, 4_096),
        (r"claude-3-5-", 200_000, 8_192),
        (r"claude-", 1_000_000, 128_000),
        (r"gpt-5-pro", 400_000, 272_000),
        (r"gpt-5(\.[1-3])?(-|$)", 400_000, 128_000),
        (r"gpt-(5\.[4-6]|6)", 1_050_000, 128_000),
        (r"gemini-1\.5", 2_097_152, 8_192),
        (r"gemini-2\.0", 1_048_576, 65_536),
        (r"gemini-2\.5", 1_048_576, 65_536),
        (r"gemini-3", 1_048_576, 65_536),
        (r"grok-", 2_097_152, 1_000_000),
    )
)
_VENDOR = re.compile(r"^(?:[\w.-]+/)+")
MODELS_REMEMBERED_MAX = 4_096


@lru_cache(MODELS_REMEMBERED_MAX)
def limits_of(model: str) -> ModelLimits:
    """A vendor prefix and a date suffix are ignored, as with prices."""
    name = _VENDOR.sub("", model.lower())
    return next((limits for pattern, limits in _FAMILIES if pattern.match(name)), UNLISTED)
