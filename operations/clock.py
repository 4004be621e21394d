"""The one clock: shells read it here and hand the time on; rules take it as an argument."""

import time


def now_ms() -> int:
    """Milliseconds since 1970 (UTC), as records and entities hold them."""
    return time.time_ns() // 1_000_000
