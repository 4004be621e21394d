"""Metrics of the control agent; labels come from closed sets."""

from prometheus_client import Counter, Gauge, Histogram

from processors.runtime.metrics import DEAD_LETTERS

COMMANDS = Counter(
    "atlas_commands_total", "Commands decided, by kind and outcome (done, refused, waiting).", ["kind", "outcome"]
)
COMMANDS_AGAIN = Counter(
    "atlas_commands_repeated_total", "Commands answered as before: repeats and records read again."
)
TOPIC_TASKS = Counter(
    "atlas_topic_tasks_total",
    "Work on stream topics, by task and outcome (done, refused, retried).",
    ["task", "outcome"],
)
TOPIC_TASKS_WAITING = Gauge(
    "atlas_topic_tasks_waiting", "Work on stream topics that is not finished, expiries not yet due included."
)
TOPIC_TASK_SECONDS = Histogram(
    "atlas_topic_task_seconds",
    "Time from taking up work on a stream topic to its confirmed report.",
    ["task"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)
UNREAD_TOPICS = Gauge(
    "atlas_unread_topics", "Topics named as streams' are that belong to no stream, so that nobody reads them."
)
UNREAD_RECORDS = Gauge("atlas_unread_records", "Records on topics that belong to no stream.")

DEAD_LETTER_REASONS = ("failed", "unreadable")
for _reason in DEAD_LETTER_REASONS:
    DEAD_LETTERS.labels("control", _reason)
