"""Every metric of the gateway. Labels come from closed sets: what is not in one is `other` (RELIABILITY S14)."""

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10)

# The log
PRODUCE_SECONDS = Histogram(
    "atlas_produce_seconds", "From queueing a record to the broker's answer", buckets=_LATENCY_SECONDS
)
PRODUCE_QUEUE = Gauge("atlas_produce_queue_records", "Records queued or under way to the broker")
PRODUCE_FAILURES = Counter("atlas_produce_failures_total", "Records not confirmed by the broker, by cause", ["code"])
PRODUCE_LATE = Counter(
    "atlas_produce_late_reports_total", "Reports that came after their request had gone", ["outcome"]
)
VERDICT_SECONDS = Histogram(
    "atlas_verdict_seconds", "From asking for a verdict to having it", buckets=_LATENCY_SECONDS
)
VERDICT_WAITERS = Gauge("atlas_verdict_waiters", "Requests that wait for a verdict now")
VERDICTS_LATE = Counter("atlas_verdicts_late_total", "Requests that gave up waiting for their verdict")
VERDICTS_UNCLAIMED = Counter("atlas_verdicts_unclaimed_total", "Verdicts that nobody here waited for: late or foreign")

_PRODUCE_FAILURES = frozenset(
    {
        "queue_full",
        "_MSG_TIMED_OUT",
        "_ALL_BROKERS_DOWN",
        "_TRANSPORT",
        "_FATAL",
        "_PURGE_QUEUE",
        "_PURGE_INFLIGHT",
        "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION",
        "UNKNOWN_TOPIC_OR_PART",
        "MSG_SIZE_TOO_LARGE",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "TOPIC_AUTHORIZATION_FAILED",
        "KAFKA_STORAGE_ERROR",
        "INVALID_RECORD",
    }
)


def produce_failure(name: str) -> str:
    """librdkafka's name of an error, from the closed set."""
    return name if name in _PRODUCE_FAILURES else "other"
