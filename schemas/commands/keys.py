"""Commands about API keys."""

from typing import ClassVar

import msgspec

from schemas.commands.fields import OVERLAP_SECONDS_DEFAULT, Environment, OverlapSeconds
from schemas.commands.payload import Payload
from schemas.entities import KeyKind

KEYS_PER_WORKSPACE_MAX = 1_000


class NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of `schemas.entities.Key` that its maker chooses. A list left out allows all that the kind allows."""

    name: str
    environment: Environment
    key_kind: KeyKind
    streams: list[str] = []
    scopes: list[str] = []
    allowed_ips: list[str] = []
    origins: list[str] = []
    expires_ms: int | None = None


class CreateKey(NewKey, Payload, frozen=True, kw_only=True):
    """Answer 201: `Key`; its token is `domain.security.api_tokens.mint_token(master_key, key_kind, environment, id)`.

    409 `key_limit_reached`; 400 (the key would have expired already).
    """

    kind: ClassVar[str] = "key.create"


class RotateKey(Payload, frozen=True, kw_only=True):
    """Replaces a key by a new one like it; the old key stays valid for `overlap_seconds`. Answer 201: the new `Key`.

    404 `key_not_found`; 409 `key_not_active`, `key_limit_reached`.
    """

    kind: ClassVar[str] = "key.rotate"
    id: str
    overlap_seconds: OverlapSeconds = OVERLAP_SECONDS_DEFAULT


class RevokeKey(Payload, frozen=True, kw_only=True):
    """Ends a key at once and for good; a revoked key stays revoked. Answer 200: `Key`. 404 `key_not_found`."""

    kind: ClassVar[str] = "key.revoke"
    id: str


class TouchKeys(Payload, frozen=True, kw_only=True):
    """From a gateway: when it last saw each of the workspace's keys used. No answer, no audit record."""

    kind: ClassVar[str] = "key.touch"
    used_ms: dict[str, int]
