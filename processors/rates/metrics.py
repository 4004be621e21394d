"""Metrics of the allocation of limits."""

from prometheus_client import Counter, Gauge

ALLOCATIONS = Counter("atlas_rate_deals_total", "Allocations of a bucket among gateways that were written to quotas.")
GATEWAYS = Gauge("atlas_rate_gateways", "Gateways that were heard of within the last seconds.")
BUCKETS = Gauge("atlas_rate_buckets", "Buckets whose use was reported within the last half minute.")
