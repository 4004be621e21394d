"""An event to start from in tests: valid, with every field given; each test changes what it is about."""

from typing import Any

import msgspec

NOW_MS = 1_716_042_131_482  # 2024-05-18T14:22:11.482Z
OCCURRED_AT = "2024-05-18T14:22:11Z"
OCCURRED_MS = 1_716_042_131_000
ABSENT = object()


def an_event(**changes: Any) -> dict[str, Any]:
    """The document's example, in our own values. `field=ABSENT` leaves a field out."""
    event: dict[str, Any] = {
        "stream": "orders-prod",
        "type": "order.fulfilled",
        "occurred_at": OCCURRED_AT,
        "data": {"order_id": "ord_1", "total_cents": 4299, "line_items": [{"sku": "BK-1", "qty": 1}]},
        "actor": {"type": "user", "id": "usr_1", "tenant_id": "tnt_1", "ip": "203.0.113.42", "user_agent": "Shop/3.4"},
        "metadata": {"region": "eu-west-1", "channel": "web"},
        **changes,
    }
    return {name: value for name, value in event.items() if value is not ABSENT}


def a_body(**changes: Any) -> bytes:
    return msgspec.json.encode(an_event(**changes))


def a_body_with(field: str, text: bytes | str) -> bytes:
    """The event's JSON with one field's text put in as it stands: what no encoder would write."""
    text = text.encode() if isinstance(text, str) else text
    return msgspec.json.encode({**an_event(), field: msgspec.Raw(text)})
