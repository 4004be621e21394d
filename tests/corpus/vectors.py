"""What follows from a text, a key or an event alone: recorded once, the same for ever. Pure."""

from collections.abc import Callable
from typing import Any

from tests.corpus import adapter, files, secrets_adapter

MASTER_KEY = bytes(range(32))
NOW_MS = 1_779_114_131_482
JSON_TEXTS = (
    '{"b": 1, "a": [1.0, 1e0, -0, 18446744073709551617, "\\u0041\\/"], "a": {"z": null, "é": true}}',
    '{"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.1, "tools": []}',
    '{"model": "claude", "system": "be brief", "messages": [{"content": [{"text": "hi", "type": "text"}]}]}',
    "{}",
)
TEXTS = ("", "a", "order-2", "ws_4F9KQ2C7Z1", "Zoë ☃ 𝄞", "x" * 200, "key_01HX9Z0F8C5G3R8K2V1NQ7M4WP")
OF_JSON = frozenset({"canonical JSON", "fingerprint"})
EVENTS: tuple[tuple[str, str | None], ...] = (
    ('{"stream":"orders","type":"order.fulfilled","occurred_at":"2026-05-18T14:22:11Z","data":{"n":1}}', None),
    ('{"stream":"orders","type":"order.fulfilled","occurred_at":"2026-05-18T16:22:11.5+02:00","data":{"n":1}}', "k-1"),
    ('{"data":{"b":1.10,"a":[]},"stream":"orders","type":"a.b","occurred_at":"2026-05-18T14:22:11Z",'
     '"actor":{"type":"user","id":"usr_1"},"metadata":{"ordering_key":"o"},"idempotency_key":"in-body"}', None),
)  # fmt: skip


def made() -> dict[str, Any]:
    """Everything that the code makes of these, by what it is called."""
    return {
        "texts": {
            name: {text: form(text) for text in (JSON_TEXTS if name in OF_JSON else TEXTS)}
            for name, form in adapter.FORMS_OF_TEXT.items()
        },
        "with a key": {text: adapter.made_with_a_key(MASTER_KEY, text) for text in TEXTS if text},
        "events": [_of_event(body, key) for body, key in EVENTS],
        "deliveries": [
            adapter.id_of_delivery("events.ws_1.live.orders", "A" * 22, 3, 4_711, NOW_MS, target, replay)
            for target in ("wf_billing", "sub_01HX9Z0F8C5G3R8K2V1NQ7M4WP")
            for replay in (0, 1)
        ],
    }


def _of_event(body: str, key: str | None) -> dict[str, str]:
    identifier, digest, table_key = adapter.id_of_event("ws_1", "live", body.encode(), key, NOW_MS)
    return {"id": identifier, "payload hash": digest.hex(), "table key": table_key.hex()}


def record() -> None:
    closed = {kind: {text: _closed(kind)(text) for text in TEXTS if text} for kind in ("cursor", "position", "secret")}
    files.write_json(files.VECTORS, {"made": made(), "closed": closed})


def _closed(kind: str) -> Callable[[str], str]:
    return lambda text: secrets_adapter.closed_now(MASTER_KEY, text, NOW_MS)[kind]
