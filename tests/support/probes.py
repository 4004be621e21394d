"""One request of every kind at every gateway, again and again beside what else goes on."""

import threading
import time
from collections import defaultdict

from tests.support.coming_back import Check, Installation, requests_of

EVERY_SECONDS = 1.0


class Probes:
    """`longest_wrong`: by kind of request, for how long it was answered wrongly without a right answer between, from
    the first wrong answer to the last (seconds).
    """

    def __init__(self, installation: Installation) -> None:
        self.asked = 0
        self.longest_wrong: dict[str, float] = defaultdict(float)
        self.said: dict[str, str] = {}
        """What the longest ended with."""
        self._ended = threading.Event()
        kinds = requests_of(installation).items()
        self._threads = [threading.Thread(target=self._run, args=(kind, ask)) for kind, ask in kinds]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, kind: str, ask: Check) -> None:
        wrong_since: float | None = None
        while not self._ended.wait(EVERY_SECONDS):
            said, now = ask(), time.monotonic()
            self.asked += 1
            if said is None:
                wrong_since = None
                continue
            wrong_since = now if wrong_since is None else wrong_since
            if now - wrong_since > self.longest_wrong[kind]:
                self.longest_wrong[kind], self.said[kind] = now - wrong_since, said
