"""What a request presents as its credential: a key's token or a session's, from the surface's own header. Pure."""

import re
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import hdrs, web

from domain.security.api_tokens import TOKEN

JWT_CHARACTERS_MAX = 8_000  # a header line ends at 8,190 bytes
_JWT = r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}"
_BEARER = re.compile(rf"(?i:bearer) +(?:({TOKEN.pattern})|({_JWT}))", re.ASCII)


class Credential(NamedTuple):
    """One of the two. Nothing is known of it but its form."""

    token: str | None
    session: str | None = None


class Presentation(NamedTuple):
    """How a surface's callers present themselves: in which header, which must be there once, and in what form.

    `read` gives None for what has not that form; `usual` writes a token as nearly all clients do. A request without the
    header that `bearer_for` is true of may present itself as a bearer. `hint`: what to say of one that is no good.
    """

    header: str
    read: Callable[[str], Credential | None]
    usual: Callable[[str], str]
    bearer_for: Callable[[web.Request], bool] = lambda request: False
    hint: str = ""

    def of(self, request: web.Request) -> "Presentation":
        """How this request is looked at."""
        return BEARER if self.header not in request.headers and self.bearer_for(request) else self


def _read_bearer(written: str) -> Credential | None:
    found = _BEARER.fullmatch(written)
    if found is None:
        return None
    token, session = found.groups()
    return None if session is not None and len(session) > JWT_CHARACTERS_MAX else Credential(token, session)


def _read_bare(written: str) -> Credential | None:
    return None if TOKEN.fullmatch(written) is None else Credential(written)


BEARER = Presentation(hdrs.AUTHORIZATION, _read_bearer, "Bearer {}".format)


def bare(header: str, bearer_for: Callable[[web.Request], bool] = lambda request: False) -> Presentation:
    """The token and nothing else in a header of that name, which few expect, so answers name it."""
    hint = f"The key is missing, malformed or revoked. Send the organization's key, as it is, in the header {header}."
    return Presentation(header, _read_bare, str, bearer_for, hint)
