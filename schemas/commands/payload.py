"""The base of all payloads, and the registry that each payload class joins when it is defined."""

from typing import Any, ClassVar

import msgspec

PAYLOADS: dict[str, type["Payload"]] = {}
"""Every payload class by its kind. Complete once `schemas.commands` is imported."""


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all payloads. A field at its default is left out, so equal payloads are equal bytes."""

    kind: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        """Raises TypeError where two classes claim one kind."""
        super().__init_subclass__(**options)
        if cls.kind in PAYLOADS:
            raise TypeError(f"{cls.kind} is a kind of both {PAYLOADS[cls.kind].__name__} and {cls.__name__}")
        PAYLOADS[cls.kind] = cls

    def encode(self) -> bytes:
        return msgspec.json.encode(self)
