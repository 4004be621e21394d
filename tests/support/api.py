"""The events API as a client of it sees it: one connection, small calls, retried as its document says."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any

RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    """Names in any case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class EventsApi:
    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._key = key

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request. Headers are given with underscores (`Idempotency_Key`)."""
        request = urllib.request.Request(self.url + path, method=method, data=body)
        request.add_header("Authorization", f"Bearer {self._key}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def post(self, path: str, body: object, **headers: str) -> Answer:
        return self.call("POST", path, json.dumps(body).encode(), **headers)

    def post_until(self, status: int, path: str, body: bytes, give_up_seconds: float = 60.0, **headers: str) -> Answer:
        """Repeats while the service is away or says that it is, as a client with an Idempotency-Key may."""
        deadline = time.monotonic() + give_up_seconds
        while True:
            try:
                answer = self.call("POST", path, body, **headers)
                if answer.status == status:
                    return answer
                said = f"{answer.status} {answer.body!r}"
                assert answer.status >= 500, said
            except OSError as error:
                said = repr(error)
            assert time.monotonic() < deadline, f"{path} did not answer {status} in {give_up_seconds} s: {said}"
            time.sleep(RETRY_SECONDS)

    def wait_for_status(self, event_id: str, status: str, give_up_seconds: float = 60.0) -> dict[str, Any]:
        """The event, once it stands where it should. Raises AssertionError with where it stood last."""
        deadline = time.monotonic() + give_up_seconds
        while True:
            answer = self.call("GET", f"/v1/events/{event_id}")
            if answer.status == 200 and answer.json["status"] == status:
                event: dict[str, Any] = answer.json
                return event
            assert time.monotonic() < deadline, f"{event_id} is not {status} after {give_up_seconds} s: {answer.body!r}"
            time.sleep(0.1)
