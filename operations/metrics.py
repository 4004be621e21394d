"""Metrics that every process has."""

from prometheus_client import Counter, Gauge

READY = Gauge("atlas_ready", "1 while /readyz says that the process has caught up and serves, else 0.")
CONTROL_BEHIND_SECONDS = Gauge(
    "atlas_control_behind_seconds",
    "How old this process's view of control may be; +Inf until it was read to its end once.",
)
DEGRADED = Gauge(
    "atlas_degraded", "1 while /readyz names it under degraded: the process serves, but worse than it should.", ["what"]
)
READER_FAILURES = Counter(
    "atlas_reader_failures_total",
    "Threads that read the log for this process and ended with an error.",
    ["reader"],
)
