"""When two requests are the same one: the rules side by side. docs/idempotency.md explains them to callers.

| | events (events.py) | commands (commands.py) | AtlasWork (commands.py) | model calls (model_calls.py) |
|---|---|---|---|---|
| what must be the same in a repeat | the payload, canonical | everything in the payload | operation and object | – |
| a repeat gets | the first answer | the first answer, a refusal too | the first 2xx answer | counted once |
| another request under the key | 409 `duplicate_event` | 409 `idempotency_key_reused` | the same | – |
| without a key | the event's content is the key | every request is carried out | the same | every call counts |
| keys are separate by | workspace, environment, surface | the same | the same | workspace, how it was reported |
| one owner decides | admission | the control agent | the control agent | the guardrails |

A key counts for 24 hours of the log's time, from the append time of the record that took it.
"""

KEY_LIFE_MS = 24 * 3_600_000
"""The one life of every key above. What is kept of an answer, and for how long, never decides: this does."""
KEY_KEPT_SECONDS = KEY_LIFE_MS // 1_000 + 2 * 3_600
"""Tables drop entries by a worker's clock: two hours late, so that none is missing while its key counts."""
