"""Metrics of the KV mirror."""

from prometheus_client import Counter, Gauge

LAG_SECONDS = Gauge(
    "atlas_kv_mirror_lag_seconds",
    "How long ago the oldest change that is not yet in Cloudflare KV was decided; 0 when all are.",
)
WRITES = Counter(
    "atlas_kv_mirror_writes_total", "Changes sent to Cloudflare KV: written, deleted, failed.", ["outcome"]
)
for _outcome in ("written", "deleted", "failed"):
    WRITES.labels(_outcome)
