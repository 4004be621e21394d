"""Three real brokers, each a controller too, as docs/production.md asks for: what one broker can't show happens here.

Topics are kept three times and written with two in sync. Session time-outs are Kafka's own (a dead broker is noticed
after 9 s), unless a test says otherwise by `properties`. Brokers are numbered 0 to 2 here; their Kafka ids are 1 to 3.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest
from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.broker import Broker, BrokerFailed, new_cluster_id, serving_cluster
from deploy.local.spawn import last_lines, wait_until
from operations.kafka_clients import admin_config
from tests.support.ports import free_port

NODES = 3
HEAP_MB = 192
KAFKAS_OWN = {"broker.session.timeout.ms": "9000", "broker.heartbeat.interval.ms": "2000"}
REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}
MOVED_SECONDS = 60.0
SERVING_SECONDS = 150.0
ANSWER_SECONDS = 10.0
Answer = TypeVar("Answer")


class ThreeBrokers:
    """`bootstrap` names all three."""

    def __init__(self, home: Path, properties: Mapping[str, str] | None = None) -> None:
        self._paused: set[int] = set()
        controllers = [free_port() for _ in range(NODES)]
        voters = ",".join(f"{_id(i)}@127.0.0.1:{port}" for i, port in enumerate(controllers))
        cluster_id = new_cluster_id()
        shared = KAFKAS_OWN | REPLICATED | {"controller.quorum.voters": voters} | dict(properties or {})
        self.brokers = [
            Broker(
                home / f"broker-{i}",
                free_port(),
                controllers[i],
                HEAP_MB,
                properties={"node.id": str(_id(i))} | shared,
                cluster_id=cluster_id,
            )
            for i in range(NODES)
        ]

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start_all(self) -> None:
        """Returns when all three serve. Raises BrokerFailed."""
        for broker in self.brokers:
            broker.prepare()
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            self._wait_until_serving(broker)
        self._wait_until(self._is_whole, "three brokers that know each other")

    def kill_all(self) -> None:
        for broker in self.brokers:
            broker.kill()

    def launch(self, i: int) -> None:
        """Starts it and does not wait."""
        self.brokers[i].launch()

    def start(self, i: int) -> None:
        """Returns when it serves. Raises BrokerFailed."""
        self.brokers[i].launch()
        self._wait_until_serving(self.brokers[i])

    def kill(self, i: int) -> None:
        """kill -9."""
        self.brokers[i].kill()

    def stop(self, i: int) -> None:
        """SIGTERM: it hands on what it leads, then ends."""
        self.brokers[i].stop()

    def pause(self, i: int) -> None:
        self._paused.add(i)
        self.brokers[i].pause()

    def resume(self, i: int) -> None:
        self._paused.discard(i)
        self.brokers[i].resume()

    # Who does what; None while nobody is known to

    def leader_of(self, topic: str, partition: int) -> int | None:
        metadata = self._client().list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        found = metadata.partitions.get(partition)
        return None if found is None or found.leader < 1 else found.leader - 1

    def leads_nothing(self, i: int) -> bool:
        topics = self._client().list_topics(timeout=ANSWER_SECONDS).topics.values()
        return all(partition.leader != _id(i) for topic in topics for partition in topic.partitions.values())

    def in_sync(self) -> bool:
        """Whether every partition of every topic has its three copies in sync."""
        topics = self._client().list_topics(timeout=ANSWER_SECONDS).topics.values()
        return all(len(p.isrs) == len(p.replicas) for topic in topics for p in topic.partitions.values())

    def coordinator_of(self, group: str) -> int:
        """Waits until there is one."""

        async def ask(admin: AIOKafkaAdminClient) -> int:
            return int(await admin.find_coordinator(group)) - 1

        found: list[int] = []

        def know() -> bool:
            try:
                found.append(self._asked(ask))
            except Exception:  # of many kinds while the group's partition of the offsets topic has no leader
                return False
            return True

        self._wait_until(know, f"a coordinator of {group}")
        return found[-1]

    def controller(self) -> int:
        """The leader of the controllers' quorum, as the running broker with the newest word has it on its disk."""
        newest = max(
            (json.loads(self._quorum_state(i).read_text()) for i in range(NODES) if self.brokers[i].pid is not None),
            key=lambda state: (int(state["leaderEpoch"]), int(state["leaderId"])),
        )
        return int(newest["leaderId"]) - 1

    # Moving leaders

    def lead(self, i: int, topic: str, partition: int) -> None:
        """Makes broker `i` the partition's preferred leader, and then its leader."""
        replicas = [_id(i), *(_id(other) for other in range(NODES) if other != i)]

        async def ask(admin: AIOKafkaAdminClient) -> None:
            assignment = [(topic, [(partition, replicas, {})], {})]
            request = AlterPartitionReassignmentsRequest(int(ANSWER_SECONDS * 1000), assignment, {})
            answer = (await admin._send_request(request)).to_object()
            codes = [answer["error_code"], *(p["error_code"] for t in answer["responses"] for p in t["partitions"])]
            for code in filter(None, codes):
                raise for_code(code)

        self._asked(ask)

        def leads() -> bool:
            self.elect_preferred()
            return self.leader_of(topic, partition) == i

        self._wait_until(leads, f"broker {i} to lead {topic}[{partition}]")

    def elect_preferred(self) -> None:
        """Every partition whose preferred leader is in sync goes back to it."""
        client = self._client()
        try:
            client.elect_leaders(ElectionType.PREFERRED, None).result(
                ANSWER_SECONDS
            )  # takes no time-outs: a SystemError
        except KafkaException as error:
            raise AssertionError(f"no election: {error}") from error

    # Inside

    def _wait_until_serving(self, broker: Broker) -> None:
        """More patient than for one broker: it waits for its peers, and three of them share the machine."""
        serves = lambda: serving_cluster(broker.bootstrap, ANSWER_SECONDS) is not None  # noqa: E731
        if not wait_until(lambda: broker.pid is None or serves(), SERVING_SECONDS) or broker.pid is None:
            raise BrokerFailed(f"{broker.bootstrap} does not serve:\n" + "\n".join(last_lines(broker.log, 15)))

    def _quorum_state(self, i: int) -> Path:
        return self.brokers[i].home / "data" / "__cluster_metadata-0" / "quorum-state"

    def _running(self) -> str:
        """Those that are asked: a paused one is no help."""
        running = [broker for i, broker in enumerate(self.brokers) if broker.pid is not None and i not in self._paused]
        return ",".join(broker.bootstrap for broker in running)

    def _client(self) -> AdminClient:
        """A new one each time: it knows nothing of elections that are over."""
        return AdminClient(admin_config(self._running()))

    def _is_whole(self) -> bool:
        return len(self._client().list_topics(timeout=ANSWER_SECONDS).brokers) == NODES

    def _asked(self, ask: Callable[[AIOKafkaAdminClient], Coroutine[Any, Any, Answer]]) -> Answer:
        async def run() -> Answer:
            admin = AIOKafkaAdminClient(bootstrap_servers=self._running())
            await admin.start()
            try:
                return await ask(admin)
            finally:
                await admin.close()

        return asyncio.run(run())

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            try:
                return condition()
            except KafkaException:
                return False

        assert wait_until(holds, MOVED_SECONDS, 0.2), f"waited {MOVED_SECONDS:g} s for {what}"


def _id(i: int) -> int:
    return i + 1
