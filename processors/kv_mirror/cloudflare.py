"""The part of Cloudflare's REST API that the mirror uses: write and delete one value of a KV namespace. Blocking.

`PUT|DELETE <api>/accounts/<account>/storage/kv/namespaces/<namespace>/values/<key>`, a bearer token, JSON answers with
`success`. Deleting what is not there is a success.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from domain.guardrails.kv_entries import Change, Put
from operations.settings import CloudflareKv

TIMEOUT_SECONDS = 10.0
ANSWER_BYTES_MAX = 65_536


class KvRefused(Exception):
    """Not written, or not known to be. `retry_seconds`: how long Cloudflare asks to wait, if it does."""

    def __init__(self, reason: str, retry_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_seconds = retry_seconds


class KvNamespace:
    def __init__(self, settings: CloudflareKv, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        path = f"accounts/{settings.account_id}/storage/kv/namespaces/{settings.namespace_id}"
        self._url = f"{settings.api_url}/{path}/values/"
        self._token = settings.api_token
        self._timeout_seconds = timeout_seconds

    def apply(self, change: Change) -> None:
        """Raises KvRefused; doing it again does no harm."""
        url = self._url + urllib.parse.quote(change.key, safe="")
        if isinstance(change, Put):
            query = "" if change.expires_seconds is None else f"?expiration={change.expires_seconds}"
            request = urllib.request.Request(url + query, change.value, method="PUT")
            request.add_header("Content-Type", "application/octet-stream")
        else:
            request = urllib.request.Request(url, method="DELETE")
        request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as answer:
                self._check(json.loads(answer.read(ANSWER_BYTES_MAX)))
        except urllib.error.HTTPError as error:
            with error:
                raise KvRefused(f"status {error.code}", _retry_seconds(error)) from None
        except (OSError, ValueError) as error:
            raise KvRefused(f"{type(error).__name__}: {error}") from None

    @staticmethod
    def _check(answer: Any) -> None:
        if not isinstance(answer, dict) or answer.get("success") is not True:
            raise KvRefused("the answer says no success")


def _retry_seconds(error: urllib.error.HTTPError) -> float | None:
    written = error.headers.get("Retry-After", "")
    return float(written) if written.isascii() and written.isdigit() else None
