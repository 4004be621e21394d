"""Turns what aiohttp and the system raise during an attempt into an error code and a text without an address.

After a status line nothing is a failure any more; the text then says what could not be read.
One table: the first row that fits decides. Errors of libraries go no further than this file.
"""

import errno
import ssl

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientPayloadError,
    ClientResponseError,
    ClientSSLError,
    InvalidURL,
    ServerDisconnectedError,
)
from aiohttp.http_exceptions import LineTooLong

from domain.delivery.decide import ErrorCode, Failed
from operations.outgoing import ConnectForbidden

_BY_ERROR: tuple[tuple[type[BaseException], Failed], ...] = (
    (ConnectForbidden, Failed(ErrorCode.TARGET_FORBIDDEN, "has an address that is private, local or reserved")),
    (ClientConnectorCertificateError, Failed(ErrorCode.TLS_FAILED, "has no valid certificate")),
    (ssl.SSLCertVerificationError, Failed(ErrorCode.TLS_FAILED, "has no valid certificate")),
    (ClientSSLError, Failed(ErrorCode.TLS_FAILED, "did not complete the TLS handshake")),
    (ssl.SSLError, Failed(ErrorCode.TLS_FAILED, "did not complete the TLS handshake")),
    (ClientConnectorDNSError, Failed(ErrorCode.CONNECTION_FAILED, "has a name that could not be resolved")),
    (ServerDisconnectedError, Failed(ErrorCode.CONNECTION_FAILED, "closed the connection without an answer")),
    (ClientResponseError, Failed(ErrorCode.CONNECTION_FAILED, "did not answer in HTTP")),
    (ClientPayloadError, Failed(ErrorCode.CONNECTION_FAILED, "did not answer in HTTP")),
    (InvalidURL, Failed(ErrorCode.CONNECTION_FAILED, "has a URL that can't be used")),
)
_BY_ERRNO: dict[int, Failed] = {
    errno.ECONNREFUSED: Failed(ErrorCode.CONNECTION_FAILED, "refused the connection"),
    errno.ECONNRESET: Failed(ErrorCode.CONNECTION_FAILED, "reset the connection"),
    errno.EPIPE: Failed(ErrorCode.CONNECTION_FAILED, "reset the connection"),
    errno.EHOSTUNREACH: Failed(ErrorCode.CONNECTION_FAILED, "could not be reached"),
    errno.ENETUNREACH: Failed(ErrorCode.CONNECTION_FAILED, "could not be reached"),
    errno.ETIMEDOUT: Failed(ErrorCode.CONNECTION_FAILED, "could not be reached"),
}
_ANY_OTHER = Failed(ErrorCode.CONNECTION_FAILED, "could not be reached")


def failure_of(error: BaseException) -> Failed:
    """For any error of an attempt except a time-out. The causes of an aiohttp error are looked at as well."""
    chain = [error, *_causes(error)]
    for kind, failure in _BY_ERROR:
        if any(isinstance(one, kind) for one in chain):
            return failure
    for one in chain:
        if isinstance(one, OSError) and one.errno in _BY_ERRNO:
            return _BY_ERRNO[one.errno]
    return _ANY_OTHER


def unread_of(error: BaseException) -> str:
    """Completes "<workflow> answered 200, but …"."""
    if isinstance(error, TimeoutError):
        return "the rest of its answer did not come in time"
    if any(isinstance(one, LineTooLong) for one in (error, *_causes(error))):
        return "a header of its answer is too long to be read"
    return "the rest of its answer broke off or can't be read as HTTP"


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    while error.__cause__ is not None and len(causes) < 5:
        error = error.__cause__
        causes.append(error)
    return causes
