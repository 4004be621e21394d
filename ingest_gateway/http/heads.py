"""Whether a request's head is accepted, decided before routing. Raises `Refused`; the guard then closes.

The parser has refused broken syntax before, two Hosts or Content-Lengths, and Content-Length next to a transfer coding.
What it accepts and we don't: HTTP/0.9, transfer codings other than `chunked`, hosts that are not ours or not
well formed, targets that name another host, paths that decode to something else than they show, headers given twice or
with bytes beyond ASCII where we read one value, expectations other than `100-continue`, bodies larger than any route
takes.
"""

import re
from urllib.parse import unquote_to_bytes

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11

from ingest_gateway.http.errors import ErrorKind, Refused
from ingest_gateway.http.limits import HttpLimits

HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
ABSOLUTE_TARGET = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
HIDDEN_IN_SEGMENT = re.compile(r"[\x00-\x1f\x7f/\\]")
KNOWN_HOSTS_MAX = 1000


class HeadRules:
    """The rules of one listener."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._known_hosts: set[str] = set()  # spellings that passed: most requests name one of a few

    def check(self, request: web.BaseRequest) -> None:
        """Raises the first error of the head."""
        headers = request.headers
        _check_framing(request)
        host = headers.get(hdrs.HOST)
        if host not in self._known_hosts:
            self._check_host(host)
        target = request.raw_path
        if target[0] != "/":
            _check_absolute_target(target, host)
        if "%" in target or "/." in target or "\\" in target or not target.isascii():
            _check_path(target)
        for name in self._limits.read_once:
            values = headers.getall(name, None)
            if values is not None and (len(values) > 1 or not values[0].isascii()):
                raise Refused(ErrorKind.MALFORMED_REQUEST, f"The header {name} must be given once, in ASCII.")
        self._check_body_to_come(request)

    def _check_host(self, host: str | None) -> None:
        allowed = self._limits.allowed_hosts
        if host is None:  # HTTP/1.0 needs none
            if allowed is not None:
                raise Refused(ErrorKind.MALFORMED_REQUEST, "The Host header is missing.")
            return
        if HOST.fullmatch(host) is None:
            raise Refused(ErrorKind.MALFORMED_REQUEST, "The Host header is malformed.")
        if allowed is not None and host.lower() not in allowed and _without_port(host.lower()) not in allowed:
            raise Refused(ErrorKind.MISDIRECTED)
        if len(self._known_hosts) < KNOWN_HOSTS_MAX:
            self._known_hosts.add(host)

    def _check_body_to_come(self, request: web.BaseRequest) -> None:
        expectation = request.headers.get(hdrs.EXPECT)
        if expectation is not None and expectation.lower() != "100-continue":
            raise Refused(ErrorKind.EXPECTATION_FAILED)
        length = request.content_length
        if length is not None and length > self._limits.body_bytes_max:
            raise Refused(ErrorKind.BODY_TOO_LARGE)


def _check_framing(request: web.BaseRequest) -> None:
    version = request.version
    if version < HttpVersion10:
        raise Refused(ErrorKind.MALFORMED_REQUEST, "HTTP/1.0 or HTTP/1.1 is needed.")
    coding = request.headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and (version != HttpVersion11 or coding.lower() != "chunked"):
        raise Refused(ErrorKind.MALFORMED_REQUEST, "The only transfer coding is chunked, in HTTP/1.1.")


def _check_absolute_target(target: str, host: str | None) -> None:
    """`GET http://host/path` is the same as `GET /path` if the host is the Host header's; a proxy we are not."""
    if target == "*":
        raise Refused(ErrorKind.NOT_FOUND)
    named = ABSOLUTE_TARGET.match(target)
    if named is None or host is None or named[1].lower() != host.lower():
        raise Refused(ErrorKind.MALFORMED_REQUEST, "The request target names another host.")


def _check_path(target: str) -> None:
    """No segment may, once decoded, be a dot segment or hold a separator, a control or bytes beyond UTF-8."""
    path = target.partition("?")[0].partition("#")[0]
    if not path.isascii() or BAD_ESCAPE.search(path):
        raise Refused(ErrorKind.NOT_FOUND)
    for segment in path.split("/"):
        try:
            decoded = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            raise Refused(ErrorKind.NOT_FOUND) from None
        if decoded in (".", "..") or HIDDEN_IN_SEGMENT.search(decoded):
            raise Refused(ErrorKind.NOT_FOUND)


def _without_port(host: str) -> str:
    return host if host.endswith("]") else host.rpartition(":")[0] or host
