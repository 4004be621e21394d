"""Metrics of delivery. `outcome` is `delivered` or a value of domain.delivery.decide.ErrorCode."""

from prometheus_client import Counter, Gauge, Histogram

from domain.delivery.decide import ErrorCode
from processors.runtime.metrics import DEAD_LETTERS

ATTEMPTS = Counter(
    "atlas_delivery_attempts_total", "Attempts that ended, by outcome: delivered, or the error's code.", ["outcome"]
)
for _outcome in ("delivered", *ErrorCode):
    ATTEMPTS.labels(_outcome)  # from the start, so that the first one shows as an increase
ATTEMPT_SECONDS = Histogram(
    "atlas_delivery_attempt_seconds",
    "From the start of an attempt to its end: connection, TLS, answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
FIRST_DELIVERY_SECONDS = Histogram(
    "atlas_first_delivery_seconds",
    "From an event's append to the log to the end of the first attempt that delivered it.",
    buckets=(0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0),
)
RUNNING = Gauge("atlas_delivery_running", "Attempts that are being made.")
WAITING = Gauge("atlas_delivery_waiting", "Deliveries in memory that wait for a free slot of their endpoint.")
FETCHED = Gauge("atlas_delivery_fetched", "Deliveries in memory that came from the retry table.")
SPILLED = Counter(
    "atlas_delivery_spilled_total",
    "Deliveries stored in the retry table before their first attempt.",
)
OPEN_CIRCUITS = Gauge("atlas_delivery_open_circuits", "Endpoints whose circuit is not closed.")
RETRY_LATE_SECONDS = Histogram(
    "atlas_delivery_retry_late_seconds",
    "From the time at which a retry was due to its start.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0, 3_600.0),
)
UNCONFIRMED_OUTCOMES = Gauge(
    "atlas_delivery_unconfirmed_outcomes",
    "Outcomes, and deliveries for the retry table, that the broker has not confirmed yet.",
)
BACKPRESSURE = Counter(
    "atlas_delivery_backpressure_total",
    "Times that reading a partition waited, since memory held as many deliveries as it may.",
)

DEAD_LETTER_REASONS = ("unreadable",)
for _reason in DEAD_LETTER_REASONS:
    DEAD_LETTERS.labels("delivery", _reason)
