"""Signatures on what Atlas sends, and the secrets that make them.

Events: `X-Atlas-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "{t}.{raw body}">`.
Spine: `X-Signature: sha256=<hex HMAC-SHA256 of the raw body>`; work: the same in `X-Atlas-Signature`. Every delivery
also carries the three headers of Standard Webhooks, so that the libraries of that standard can verify it:
`webhook-signature: v1,<base64 HMAC-SHA256 of "{webhook-id}.{webhook-timestamp}.{raw body}">`.
While a secret is rotated there are several: `…,v1=<new>,v1=<old>`; those of Standard Webhooks have spaces between them.
A secret that Atlas issues is derived from the master key and the entity's id and version, so that no topic holds it.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from domain.security.key_derivation import derive_key

SIGNATURE_HEADER = "X-Atlas-Signature"
SPINE_SIGNATURE_HEADER = "X-Signature"
DELIVERY_HEADER = "X-Atlas-Delivery"
"""The delivery's id, the same on all its attempts."""
SECRET_PREFIX = "whsec_"


def signing_secret(master_key: bytes, entity_id: str, version: int = 1) -> str:
    """`whsec_` + base64 of 32 bytes (the Standard Webhooks form)."""
    digest = hmac.digest(derive_key(master_key, "signing"), f"{entity_id}/{version}".encode(), "sha256")
    return SECRET_PREFIX + base64.b64encode(digest).decode()


def timestamped_signature(secrets: str | Sequence[str], timestamp_seconds: int, body: bytes) -> str:
    """The value of `X-Atlas-Signature` on the events surface; the key is the secret's text as shown.

    One `v1=` for each secret, in their order: while a secret is rotated, what was signed verifies with both.
    """
    signed_text = str(timestamp_seconds).encode() + b"." + body
    secrets = (secrets,) if isinstance(secrets, str) else secrets
    signatures = (hmac.new(secret.encode(), signed_text, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join((f"t={timestamp_seconds}", *(f"v1={signature}" for signature in signatures)))


def standard_key(secret: str) -> bytes:
    """The key of the Standard Webhooks signature: the base64 after `whsec_`, decoded. Raises ValueError."""
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def standard_signature(key: bytes, message_id: str, timestamp_seconds: int, body: bytes) -> str:
    """The value of `webhook-signature`; `key` is that of `standard_key`."""
    signed = hmac.digest(key, f"{message_id}.{timestamp_seconds}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(signed).decode()


def body_signature(secret: str, body: bytes) -> str:
    """`X-Signature` of the spine (S-035) and `X-Atlas-Signature` of the work surface (W-053): over the raw body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def callers_standard_key(secret: str) -> bytes:
    """As `standard_key`. A secret that the caller chose, and that has another form, is itself the key, as bytes."""
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        return standard_key(secret)
    except ValueError:
        return secret.encode()
