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
WAITING = Gauge("atlas_delivery_waiting", "Deliveries read and waiting for their endpoint's turn.")
FETCHED = Gauge("atlas_delivery_fetched", "Deliveries in memory that came from the table, as their time had come.")
SPILLED = Counter("atlas_delivery_spilled_total", "Deliveries put into the table, as their endpoint had no room.")
OPEN_CIRCUITS = Gauge("atlas_delivery_open_circuits", "Endpoints that are not sent to, or probed one at a time.")
RETRY_LATE_SECONDS = Histogram(
    "atlas_delivery_retry_late_seconds",
    "From the time at which a retry was due to its start.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 300.0, 3_600.0),
)
UNCONFIRMED_OUTCOMES = Gauge(
    "atlas_delivery_unconfirmed_outcomes", "Outcomes, and deliveries for the table, not confirmed by the broker yet."
)
BACKPRESSURE = Counter(
    "atlas_delivery_backpressure_total",
    "Times that reading a partition waited, as all that may stand in memory did.",
)

DEAD_LETTER_REASONS = ("unreadable",)
for _reason in DEAD_LETTER_REASONS:
    DEAD_LETTERS.labels("delivery", _reason)
