"""`Retry-After` of a 429 or 503: how long the endpoint asks to be left alone. Pure. What can't be read is ignored."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

HONOURED = frozenset({429, 503})
ASKED_MS_MAX = 7 * 86_400_000  # far above any schedule's longest step, which is what binds
_SECONDS = re.compile(r"[0-9]+")
_CHARACTERS_MAX = 64


def asked_pause_ms(http_status: int, written: str | None, now_ms: int) -> int | None:
    """From the header's text, seconds or a date. None for other statuses, for what is past and for what is neither."""
    if http_status not in HONOURED or written is None:
        return None
    text = written.strip()
    if len(text) > _CHARACTERS_MAX:
        return ASKED_MS_MAX if _SECONDS.fullmatch(text) and text.isascii() else None
    pause_ms = int(text) * 1_000 if _SECONDS.fullmatch(text) else _until_date_ms(text, now_ms)
    return min(pause_ms, ASKED_MS_MAX) if pause_ms > 0 else None


def _until_date_ms(text: str, now_ms: int) -> int:
    try:
        at = parsedate_to_datetime(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return int(at.timestamp() * 1_000) - now_ms
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0
