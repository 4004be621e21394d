"""Metrics of projection."""

from prometheus_client import Counter, Gauge, Histogram

from processors.runtime.metrics import DEAD_LETTERS

ROWS = Counter("atlas_projection_rows_total", "Rows written to the read model, unchanged ones included.", ["table"])
TRANSACTION_SECONDS = Histogram(
    "atlas_projection_transaction_seconds",
    "Time of one transaction of the read model.",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
)
TRANSACTION_RECORDS = Histogram(
    "atlas_projection_transaction_records",
    "Records in one transaction of the read model.",
    buckets=(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000),
)
VISIBLE_SECONDS = Histogram(
    "atlas_projection_visible_seconds",
    "From an event's append to its being in the read model; the oldest event of each transaction.",
    buckets=(0.005, 0.01, 0.03, 0.1, 0.3, 0.5, 1, 3, 10, 60, 600),
)
EXPIRED = Counter("atlas_projection_expired_total", "Events that left the read model with their stream's retention.")
RETRIES = Counter("atlas_projection_retries_total", "Transactions tried again because the database was away or locked.")
AWAY = Gauge("atlas_projection_database_away", "1 while the read model's database does not take transactions.")

DEAD_LETTER_REASONS = ("row_refused", "unreadable")
for _reason in DEAD_LETTER_REASONS:
    DEAD_LETTERS.labels("projection", _reason)
