"""Kill flags on `control` reach a KV namespace: in order, tried again, by one writer, after a restart as well."""

import json
import secrets
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Message, Producer

from deploy.local.spawn import wait_until
from operations import clock
from operations.kafka_clients import producer_config
from operations.settings import CloudflareKv
from operations.topic_admin import ensure_topics
from processors.kv_mirror.mirror import READ_MAX, KvMirror
from schemas.entities import KillFlag, Workspace
from schemas.topics import Topic, base_topics
from tests.support.kafka_topics import PARTITIONS
from tests.support.kv_stub import TOKEN, KvStub, kv_stub

WAIT_SECONDS = 30.0


@pytest.fixture
def kv() -> Iterator[KvStub]:
    with kv_stub() as stub:
        yield stub


class Flags:
    """One organization's, written as the control process writes them."""

    def __init__(self, bootstrap: str, kv: KvStub) -> None:
        ensure_topics(bootstrap, base_topics(PARTITIONS))
        self.workspace = f"ws_{secrets.token_hex(6)}"
        self.key = self.workspace.replace("ws_", "guardrail:org_")
        self._bootstrap = bootstrap
        self._group = f"kv-mirror-{self.workspace}"
        self._kv = kv
        self._partition = 0
        self._producer = Producer(producer_config(bootstrap))

    def mirror(self) -> KvMirror:
        return KvMirror(self._bootstrap, CloudflareKv("acc", "ns", TOKEN, self._kv.url), self._group)

    def suspend(self, reason: str) -> None:
        ends_ms = clock.now_ms() + 7_200_000
        who = {"id": self.workspace, "workspace": self.workspace, "created_ms": 0}
        flag = KillFlag(layer="dumb_loop_detector", reason=reason, expires_ms=ends_ms, **who)
        self._write(flag.to_entity().encode())

    def resume(self) -> None:
        self._write(None)

    def reason(self) -> str | None:
        with self._kv.lock:
            held = self._kv.values.get(self.key)
        return None if held is None else json.loads(held[0])["reason"]

    def asked(self) -> list[str]:
        with self._kv.lock:
            return [method for method, key in self._kv.asked if key == self.key]

    def write_of_others(self, count: int) -> None:
        """Behind what was written last, in its partition: a group that is far from the end."""
        other = Workspace(id=self.workspace, workspace=self.workspace, created_ms=0, name="other").to_entity()
        for _ in range(count):
            self._producer.produce(Topic.CONTROL, other.encode(), other.key, self._partition)
        assert self._producer.flush(WAIT_SECONDS) == 0

    def _write(self, value: bytes | None) -> None:
        def note(_error: object, message: Message) -> None:
            self._partition = message.partition() or 0

        self._producer.produce(Topic.CONTROL, value, f"kill_flag/{self.workspace}".encode(), on_delivery=note)
        assert self._producer.flush(WAIT_SECONDS) == 0


@pytest.fixture
def flags(kafka: str, kv: KvStub) -> Flags:
    return Flags(kafka, kv)


@pytest.mark.requirement("B-027", "B-030", "B-050")
def test_set_told_and_taken_back(flags: Flags, kv: KvStub) -> None:
    """With its end; after a restart only what is new is written."""
    flags.suspend("first")
    mirror = flags.mirror()
    mirror.start()
    assert wait_until(lambda: flags.reason() == "first", WAIT_SECONDS)
    with kv.lock:
        expires_seconds = kv.values[flags.key][1]
    assert expires_seconds is not None and 7_100 < expires_seconds - time.time() < 7_202
    flags.resume()
    assert wait_until(lambda: flags.reason() is None, WAIT_SECONDS)
    assert wait_until(lambda: mirror.lag_seconds() == 0.0, WAIT_SECONDS)
    mirror.stop()
    written = len(flags.asked())
    flags.suspend("second")
    again = flags.mirror()
    again.start()
    assert wait_until(lambda: flags.reason() == "second", WAIT_SECONDS)
    again.stop()
    assert flags.asked()[written:] == ["PUT"]


def test_what_fails_is_tried_again_and_nothing_overtakes(flags: Flags, kv: KvStub) -> None:
    """Server errors, a rate limit, a refusal; the lag shows meanwhile, and the end is what was decided last."""
    kv.refusals = [(500, None), (429, "1"), (403, None)]
    flags.suspend("first")
    mirror = flags.mirror()
    mirror.start()
    assert wait_until(lambda: mirror.lag_seconds() > 0, WAIT_SECONDS)
    flags.resume()
    flags.suspend("last")
    assert wait_until(lambda: flags.reason() == "last" and mirror.lag_seconds() == 0, WAIT_SECONDS)
    mirror.stop()
    assert kv.refusals == []


@pytest.mark.requirement("B-027", "B-030")
def test_a_first_start_shows_nothing_that_was_lifted_long_ago(flags: Flags) -> None:
    """What was set and lifted before stands further up on the log, until that is compacted."""
    flags.suspend("old")
    flags.write_of_others(READ_MAX + 1)
    flags.suspend("present")
    mirror = flags.mirror()
    mirror.start()
    assert wait_until(lambda: flags.reason() == "present", WAIT_SECONDS)
    assert wait_until(lambda: mirror.lag_seconds() == 0.0, WAIT_SECONDS)
    mirror.stop()
    assert flags.asked() == ["PUT"]
