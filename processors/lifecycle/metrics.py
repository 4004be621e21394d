"""Metrics of the lifecycle process; labels come from closed sets."""

from prometheus_client import Counter, Gauge

from domain.delivery.webhooks import WebhookType
from processors.runtime.metrics import DEAD_LETTERS

WEBHOOKS = Counter("atlas_webhooks_total", "Outcome webhooks handed to delivery, by type.", ["type"])
for _type in WebhookType:
    WEBHOOKS.labels(_type)
REPLAYED = Counter("atlas_replayed_events_total", "Events that replays handed to delivery once more.")
REPLAY_SKIPPED = Counter(
    "atlas_replay_skipped_events_total", "Events that a replay passed over: their payload is gone."
)
REPLAYS_RUNNING = Gauge("atlas_replays_running", "Replays that this process works on.")

DEAD_LETTER_REASONS = ("unreadable",)
for _reason in DEAD_LETTER_REASONS:
    DEAD_LETTERS.labels("lifecycle", _reason)
