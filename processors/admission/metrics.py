"""Metrics of admission."""

from prometheus_client import Counter

DECISIONS = Counter("atlas_decisions_total", "Records of stream topics decided, by outcome.", ["outcome"])
