"""Clients that do what clients do, and a checker with books of its own: each event is sent again, with its key or with
the same content, until it has a 202, and what came of it is compared with what was sent.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from http.client import HTTPException
from itertools import count, pairwise

from tests.support.api import RETRY_SECONDS, EventsApi

NO_ANSWER = 0
"""In the place of a status: cut off, or never reached."""
CLIENTS_MAX = 1_000


class Books:
    """What was sent to `stream`, and the id that each event was acknowledged with.

    `faults`: answers that no client should get. `errors`: how many of each status there were on the way; what one of
    `in_doubt` was sent before is stored or not.
    """

    def __init__(self, gateways: Sequence[EventsApi], stream: str, *, events_a_second: float) -> None:
        self.ids: dict[str, str] = {}
        self.faults: list[str] = []
        self.errors: dict[int, int] = defaultdict(int)
        self.in_doubt: set[str] = set()
        self.acknowledged_at: list[float] = []
        self.longest_wait_seconds = 0.0
        self.longest_refused_seconds = 0.0
        """Of one event, from its first 503 to its last."""
        self._gateways = gateways
        self._stream = stream
        self._every_seconds = 1 / events_a_second
        self._ended = threading.Event()
        self._clients: list[threading.Thread] = []
        self._clock = threading.Thread(target=self._run)
        self._clock.start()

    def close(self) -> None:
        """Returns when each event has been acknowledged."""
        self._ended.set()
        self._clock.join()
        for client in self._clients:
            client.join()

    def longest_silence(self) -> float:
        """The longest time in which nobody's event was acknowledged."""
        times = sorted(self.acknowledged_at)
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def _run(self) -> None:
        """Events come when they come, however long others wait for their answer: each has a client of its own."""
        due = time.monotonic()
        for number in count():
            due += self._every_seconds
            if self._ended.wait(max(0.0, due - time.monotonic())):
                return
            self._clients = [client for client in self._clients if client.is_alive()]
            if len(self._clients) < CLIENTS_MAX:
                client = threading.Thread(target=self._send, args=(number,))
                self._clients.append(client)
                client.start()

    def _send(self, number: int) -> None:
        """Until it is acknowledged, however long that takes, at each gateway in turn."""
        name = str(number)
        event = {
            "stream": self._stream,
            "type": "order.paid",
            "occurred_at": "2026-05-18T14:22:11Z",
            "data": {"n": name},
        }
        headers = {"Idempotency_Key": name} if number % 2 == 0 else {}
        began, refused_at = time.monotonic(), list[float]()
        for gateway in count(number):
            try:
                answer = self._gateways[gateway % len(self._gateways)].post("/v1/events", event, **headers)
                status = answer.status
            except (OSError, HTTPException):
                status = NO_ANSWER
            now = time.monotonic()
            if status == 202:
                self.ids[name] = answer.json["id"]
                self.acknowledged_at.append(now)
                self.longest_wait_seconds = max(self.longest_wait_seconds, now - began)
                if refused_at:
                    self.longest_refused_seconds = max(self.longest_refused_seconds, refused_at[-1] - refused_at[0])
                return
            self.errors[status] += 1
            if status not in (NO_ANSWER, 503):
                self.faults.append(f"{name}: {status} {answer.body!r}")
                return
            self.in_doubt.add(name)
            if status == 503:
                refused_at.append(now)
            time.sleep(RETRY_SECONDS)
