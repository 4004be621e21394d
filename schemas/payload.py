"""The base of what commands carry."""

from typing import ClassVar

import msgspec


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all payloads: a field at its default is left out, so equal payloads are equal bytes."""

    kind: ClassVar[str]

    def encode(self) -> bytes:
        return msgspec.json.encode(self)
