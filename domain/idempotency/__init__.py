"""When two requests are the same one. docs/idempotency.md explains it to callers.

| | events (events.py) | commands (commands.py) | AtlasWork (commands.py) |
|---|---|---|---|
| the same in a repeat | the payload, canonical | everything that was asked for | operation and object, not the body |
| a repeat gets | the first answer | the first answer, a refusal too | the first 2xx answer |
| another request | 409 `duplicate_event` | 409 `idempotency_key_reused` | 409 `idempotency_key_reused` |
| decided by | admission | the control agent | the control agent |

Calls of models are recognized by their event id, for as long, and counted once (domain/guardrails/state.py). The 24
hours are the log's time, from the record that took the key.
"""

KEY_LIFE_MS = 24 * 3_600_000
