"""Metrics of admission."""

from prometheus_client import Counter

from processors.runtime.metrics import DEAD_LETTERS

OUTCOMES = ("admitted", "replay", "conflict", "refused", "rerouted")

DECISIONS = Counter("atlas_decisions_total", "Records of stream topics decided, by outcome.", ["outcome"])
for _outcome in OUTCOMES:
    DECISIONS.labels(_outcome)  # there from the start, so that the first of its kind shows as an increase

DEAD_LETTER_REASONS = (
    "conflict",
    "empty_value",
    "invalid",
    "poisoned",
    "too_large",
    "unknown_stream",
    "unreadable",
    "wrong_stream",
)
for _reason in DEAD_LETTER_REASONS:
    DEAD_LETTERS.labels("admission", _reason)
