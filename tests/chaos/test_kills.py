"""Admission killed at random moments under load; a checker that keeps its own books says what must have come of it.

`CHAOS_ROUNDS` kills (3 unless set; `make chaos` does 50), at moments that `CHAOS_SEED` decides.
"""

import os
import random
import secrets
import threading
import time
from collections import defaultdict

import pytest

from schemas.records import Verdict
from schemas.replies import ReplyTo
from tests.pipeline.admission.conftest import MakeStream, Written
from tests.support.kafka_topics import PARTITIONS
from tests.support.streams import LiveStream
from tests.support.worker import Worker

pytestmark = pytest.mark.slow  # minutes: `make test-slow`

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", "11"))
LIFE_SECONDS_MAX = 3.0
ROUTES = ["wf_one", "wf_two"]


class Books:
    """What was sent and acknowledged, and what may be answered: known from the sending alone."""

    def __init__(self, stream: LiveStream, chance: random.Random) -> None:
        self.asked: dict[str, dict[bytes, int]] = defaultdict(dict)
        """Of each key the payload that came with each question."""
        self._stream = stream
        self._chance = chance
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        writer = self._stream.writer()
        sent = 0
        while not self._ended.is_set():
            # a new key, or one of any age again, now and then with another payload
            number = len(self.asked) if self._chance.random() < 0.6 else self._chance.randrange(len(self.asked) + 1)
            payload = int(self._chance.random() < 0.2)
            correlation = secrets.token_bytes(16)
            self.asked[f"key-{number}"][correlation] = payload
            reply = ReplyTo(sent % PARTITIONS, correlation)
            writer.send_as_gateway(reply=reply, idempotency_key=f"key-{number}", data={"payload": payload})
            sent += 1
            if sent % 8 == 0:
                time.sleep(0.02)
        writer.flush()
        assert writer.errors == []
        assert len(writer.stored) == sent, "every one was acknowledged"

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def questions(self) -> set[bytes]:
        return {correlation for asked in self.asked.values() for correlation in asked}

    def check(self, verdicts: list[Verdict]) -> set[str]:
        """Each question has one answer, however often it was given; each key has one original. Returns their ids."""
        answers: dict[bytes, set[bytes]] = defaultdict(set)
        for verdict in verdicts:
            answers[verdict.correlation].add(verdict.encode())
        assert answers.keys() == self.questions
        differing = [list(map(Verdict.decode, given)) for given in answers.values() if len(given) > 1]
        assert differing == [], "asked once, answered in two ways"
        said = {correlation: Verdict.decode(next(iter(given))) for correlation, given in answers.items()}
        originals: set[str] = set()
        for key, asked in self.asked.items():
            firsts = [correlation for correlation in asked if said[correlation].outcome == "admitted"]
            assert len(firsts) == 1, (key, [said[correlation] for correlation in asked])
            original, payload = said[firsts[0]], asked[firsts[0]]
            originals.add(original.event_id)
            for correlation, mine in asked.items():
                if correlation != firsts[0]:
                    assert said[correlation].outcome == ("replay" if mine == payload else "conflict"), key
                    assert said[correlation].event_id == original.event_id
                    assert said[correlation].received_ms == original.received_ms
        assert len(originals) == len(self.asked)
        return originals


@pytest.mark.requirement("F15", "F20")
@pytest.mark.timeout(240 + 60 * ROUNDS)
def test_killed_at_random_each_acknowledged_event_has_its_effect_once(
    admission: Worker, a_stream: MakeStream, written: Written
) -> None:
    chance = random.Random(SEED)
    stream = a_stream(routes=ROUTES)
    books = Books(stream, random.Random(SEED + 1))
    try:
        for _ in range(ROUNDS):
            time.sleep(chance.uniform(0, LIFE_SECONDS_MAX))
            admission.kill()
            admission.start_until_ready()
    finally:
        books.close()

    answered: set[bytes] = set()
    verdicts: list[Verdict] = []
    while len(answered) < len(books.questions):
        verdicts = written.verdicts(books.questions, len(verdicts) + len(books.questions) - len(answered))
        answered = {verdict.correlation for verdict in verdicts}
    originals = books.check(verdicts)
    again = len(verdicts) - len(answered)
    figures = f"{len(answered)} questions about {len(originals)} keys, {again} answers given again"
    print(f"{ROUNDS} kills (seed {SEED}): {figures}")

    deliveries = {delivery.encode(): delivery for delivery in written.deliveries(stream, len(ROUTES) * len(originals))}
    effects = sorted((delivery.event_id, delivery.workflow_id) for delivery in deliveries.values())
    assert effects == sorted((event_id, route) for event_id in originals for route in ROUTES)
