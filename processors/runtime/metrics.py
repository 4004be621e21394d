"""Metrics of every processor; labels come from closed sets (agents, tables, reasons), never from records."""

from prometheus_client import Counter, Gauge, Histogram

BATCH_RECORDS = Histogram(
    "atlas_batch_records",
    "Records in a batch that an agent was handed.",
    ["agent"],
    buckets=(1, 3, 10, 30, 100, 300, 1_000, 4_000),
)
BATCH_SECONDS = Histogram(
    "atlas_batch_seconds",
    "Time from handing a batch to an agent until all that it caused was confirmed.",
    ["agent"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
RECORDS = Counter("atlas_records_total", "Records that an agent has handled.", ["agent"])
LAG_RECORDS = Gauge(
    "atlas_lag_records",
    "Records of the agent's topics that are not handled yet, those that are held back included.",
    ["group"],
)
HELD_BACK_RECORDS = Gauge(
    "atlas_held_back_records",
    "Records of the agent's topics that nobody can read before a Kafka producer ends its transaction.",
    ["group"],
)
HELD_BACK_SECONDS = Gauge(
    "atlas_held_back_seconds",
    "For how long the transaction that is open for the longest time has held records back; 0 where none does.",
    ["group"],
)
DEAD_LETTERS = Counter(
    "atlas_dead_letters_total", "Records set aside on the topic dead-letters, by reason.", ["group", "reason"]
)
OUTBOX_CONFIRM_SECONDS = Histogram(
    "atlas_outbox_confirm_seconds",
    "How long a batch waited for the broker to confirm all that it caused; those confirmed at once left out.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
OUTBOX_WAITING = Gauge("atlas_outbox_waiting_records", "Records queued or under way to the broker.")
OUTBOX_FULL = Counter("atlas_outbox_full_total", "Times that the outbox waited because its local queue was full.")
TABLE_RECOVERED = Counter(
    "atlas_table_recovered_total", "Changelog records applied to a table when it was opened.", ["table"]
)
TABLE_OPEN_SECONDS = Histogram(
    "atlas_table_open_seconds", "Time to open a table's partition, recovery included.", ["table"]
)
MISSED = Counter(
    "atlas_records_missed_total", "Offsets that retention took away before the group had read them.", ["group"]
)
REBALANCES = Counter("atlas_rebalances_total", "Assignments that this worker received.", ["group"])
GIVEN_UP = Counter(
    "atlas_assignments_given_up_total",
    "Times that this worker gave up its assignment and joined its group again: its coordinator, or a broker, was away.",
    ["group"],
)
