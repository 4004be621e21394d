"""Metrics of the guardrails."""

from prometheus_client import Counter

from schemas.guardrail_policy import Layer, Mode

CALLS = Counter("atlas_guardrail_calls_total", "Model calls that were counted, by whether they came in time.", ["when"])
DUPLICATES = Counter("atlas_guardrail_duplicates_total", "Model calls that were counted within 24 hours before.")
TRIPS = Counter("atlas_guardrail_trips_total", "Layers that tripped.", ["layer", "mode"])
WARNINGS = Counter(
    "atlas_guardrail_budget_warnings_total", "Caps of which so much was spent, counted once in a period.", ["percent"]
)
BUDGETS = Counter("atlas_guardrail_reservations_total", "Reservations under a strict budget, by answer.", ["outcome"])

for layer in Layer:
    for mode in (Mode.WARN, Mode.ENFORCE):
        TRIPS.labels(layer, mode)
for counter, values in (
    (WARNINGS, ("50", "80", "100")),
    (CALLS, ("in_time", "late")),
    (BUDGETS, ("granted", "refused")),
):
    for value in values:
        counter.labels(value)
