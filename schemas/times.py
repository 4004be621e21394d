"""Times as the documents write them."""

from datetime import UTC, datetime


def rfc3339(time_ms: int) -> str:
    """UTC in milliseconds: `2026-05-18T14:22:11.482Z`."""
    moment = datetime.fromtimestamp(time_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1_000:03d}Z"


def rfc3339_seconds(time_ms: int) -> str:
    """UTC in seconds: `2026-05-18T14:21:00Z`."""
    return f"{datetime.fromtimestamp(time_ms // 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
