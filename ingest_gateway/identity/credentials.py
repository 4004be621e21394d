"""What a request presents as its credential: a key's token or a session's, from the surface's own header. Pure."""

import re
from collections.abc import Callable
from typing import NamedTuple

from aiohttp import hdrs, web

from schemas.tokens import TOKEN

JWT_CHARACTERS_MAX = 8_000  # a header line ends at 8,190 bytes
_JWT = r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}"
_BEARER = re.compile(rf"(?i:bearer) +(?:({TOKEN.pattern})|({_JWT}))", re.ASCII)


class Credential(NamedTuple):
    """One of the two. Nothing is known of it but its form."""

    token: str | None
    session: str | None = None


class Presented(NamedTuple):
    """`anything`: something was sent as a credential, be it that it is none."""

    anything: bool
    credential: Credential | None


NOTHING = Presented(False, None)
Reader = Callable[[web.BaseRequest], Presented]


def bearer(request: web.BaseRequest) -> Presented:
    """Of exactly one well-formed Authorization header."""
    written = request.headers.getall(hdrs.AUTHORIZATION, ())
    if len(written) != 1:
        return Presented(True, None) if written else NOTHING
    found = _BEARER.fullmatch(written[0])
    if found is None:
        return Presented(True, None)
    token, session = found.groups()
    if session is not None and len(session) > JWT_CHARACTERS_MAX:
        return Presented(True, None)
    return Presented(True, Credential(token, session))


def header(name: str) -> Reader:
    """Of exactly one header of that name with a token and nothing else."""

    def read(request: web.BaseRequest) -> Presented:
        written = request.headers.getall(name, ())
        if len(written) != 1 or TOKEN.fullmatch(written[0]) is None:
            return Presented(bool(written), None)
        return Presented(True, Credential(written[0]))

    return read
