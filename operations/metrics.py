"""Metrics of every process, whatever it does."""

from prometheus_client import Gauge

READY = Gauge("atlas_ready", "1 while /readyz says that the process has caught up and serves, else 0.")
