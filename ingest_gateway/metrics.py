"""Every metric of the gateway: name, kind, meaning, labels. Labels come from closed sets, never from a request."""

from prometheus_client import Counter, Gauge, Histogram

from ingest_gateway.latency import BulkHistogram

LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

HTTP_REQUESTS = Counter(
    "atlas_http_requests_total",
    "Requests answered. operation is the route's name, or other; status 499 is a client that left before the answer.",
    ["surface", "operation", "status"],
)
HTTP_REQUEST_SECONDS = Histogram(
    "atlas_http_request_seconds",
    "From the complete head to the answer, the body's reading included; without the answer's way to the client.",
    ["surface", "operation"],
    buckets=LATENCY_SECONDS,
)
HTTP_UNREADABLE = Counter(
    "atlas_http_unreadable_total",
    "Connections closed because what came in was not HTTP as we take it, by what was wrong.",
    ["surface", "reason"],
)

PRODUCE_SECONDS = BulkHistogram(
    "atlas_produce_seconds",
    "From queueing a record to the broker's answer, stored or not.",
    buckets=LATENCY_SECONDS,
)
PRODUCE_QUEUE = Gauge("atlas_produce_queue_records", "Records queued or under way to the broker.")
PRODUCE_OLDEST_SECONDS = Gauge(
    "atlas_produce_oldest_seconds",
    "For how long the record waits that has waited the longest for the brokers to confirm it, or no broker answers.",
)
PRODUCE_FAILURES = Counter(
    "atlas_produce_failures_total",
    "Records not confirmed by the broker, by librdkafka's name of the cause, or queue_full, or other.",
    ["code"],
)
PRODUCE_LATE = Counter(
    "atlas_produce_late_reports_total",
    "Reports on records whose request had gone: stored or failed.",
    ["outcome"],
)
VERDICT_SECONDS = Histogram(
    "atlas_verdict_seconds",
    "From asking for a verdict to having it.",
    buckets=LATENCY_SECONDS,
)
VERDICT_WAITERS = Gauge("atlas_verdict_waiters", "Requests that wait for a verdict now.")
VERDICTS_LATE = Counter("atlas_verdicts_late_total", "Requests that gave up waiting for their verdict.")
VERDICTS_UNCLAIMED = Counter(
    "atlas_verdicts_unclaimed_total",
    "Verdicts that nobody here waited for: too late, repeated, or another process's.",
)

RATE_LIMITED = Counter(
    "atlas_rate_limited_total", "Requests refused with 429 because their workspace's bucket was full.", ["rate_class"]
)
RATE_BUCKETS = Gauge("atlas_rate_limit_buckets", "Buckets that this gateway keeps.")
RATE_GATEWAYS = Gauge("atlas_rate_limit_gateways", "Gateways that share the buckets, as far as this one knows.")
RATE_REPORTS_LOST = Counter(
    "atlas_rate_reports_lost_total", "Reports of use and heartbeats that did not reach the log in time."
)

EVENTS_PUBLISHED = Counter(
    "atlas_events_published_total",
    "Events sent to the events surface, one by one (single) or in batches, and whether they were accepted (202).",
    ["way", "result"],
)

LIVE_READERS = Gauge("atlas_live_readers", "Readers of live streams now.")
LIVE_EVENTS = Counter("atlas_live_events_total", "Events handed to readers of live streams, each counted.")
LIVE_DROPPED = Counter(
    "atlas_live_readers_dropped_total",
    "Readers of live streams cut off: they read more slowly than events came, or the log could not be read.",
)

READS_INCOMPLETE = Counter(
    "atlas_reads_incomplete_total",
    "Lists answered without events that wait for a Kafka producer's open transaction.",
)

AUTHENTICATION_FAILURES = Counter(
    "atlas_authentication_failures_total",
    "Requests whose credential was refused, by the answer: 401 not good, 403 not from there, 429 too many failures.",
    ["answer"],
)

EDGE_CALLS = Counter(
    "atlas_edge_calls_total",
    "Calls that came to the edge proxy: forwarded (the provider answered), uncounted (so did it, at an endpoint that "
    "costs nothing), blocked by a guardrail, over_budget and "
    "budget_unavailable (strict: refused, undecided), failed (no answer from the provider), left (by the client).",
    ["provider", "outcome"],
)
EDGE_FIRST_BYTE_SECONDS = Histogram(
    "atlas_edge_first_byte_seconds",
    "From a proxied call's arrival to the provider's answer beginning.",
    ["provider"],
    buckets=(*LATENCY_SECONDS, 30.0, 60.0),
)
EDGE_OPEN = Gauge("atlas_edge_open_calls", "Proxied calls under way, streams included.")
EDGE_USAGE = Counter(
    "atlas_edge_usage_total",
    "Where proxied calls' tokens came from: reported by the provider, estimated from lengths, none (an error answer).",
    ["usage"],
)
EDGE_FRAMES_UNREAD = Counter(
    "atlas_edge_frames_unread_total", "Frames of streams that passed without being read: too long, or no JSON."
)
EDGE_TELEMETRY = Counter(
    "atlas_edge_telemetry_records_total",
    "Telemetry records of proxied calls: sent, spooled (the log was away), sent_later (from the spool), dropped (the "
    "spool was full or failed), unattributed (the key turned out to be unknown), torn (cut short by a crash), "
    "unsendable (a record that can't be written at all; the others are).",
    ["way"],
)
EDGE_SPOOL_BYTES = Gauge("atlas_edge_spool_bytes", "Telemetry on disk that waits for the log.")
EDGE_LOG_AWAY = Gauge("atlas_edge_log_away", "1 while the edge proxy keeps telemetry back, as the log takes none.")
for _way in ("sent", "spooled", "sent_later", "dropped", "unattributed", "torn", "unsendable"):
    EDGE_TELEMETRY.labels(_way)
for _usage in ("reported", "estimated", "none"):
    EDGE_USAGE.labels(_usage)
