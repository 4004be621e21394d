"""What is measured of a gateway, its broker and its client: processor time, memory, and what is really on the log."""

import time
from collections.abc import Mapping
from pathlib import Path

import psutil
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, OffsetSpec, ResourceType

MIB = 1024 * 1024
SETTLED_SECONDS_MAX = 30.0
STILL_SECONDS = 0.5
BUSY_SHARE = 0.1  # of a core: what a gateway that has nothing to do never takes
KEPT_BYTES = 32 * MIB  # in each partition
HAS_PEAKS = Path("/proc/self/clear_refs").exists()  # Linux


def cpu_seconds(pid: int) -> float:
    """Of a process and all processes that it has started and that run."""
    times = [process.cpu_times() for process in _family(pid)]
    return sum(used.user + used.system for used in times)


def rss_mib(pid: int) -> float:
    """Of the same."""
    return sum(process.memory_info().rss for process in _family(pid)) / MIB


def forget_peak(pid: int) -> None:
    """From now on `peak_mib` is the most since now."""
    if HAS_PEAKS:
        for process in _family(pid):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def peak_mib(pid: int) -> float:
    """The most memory that each has had, added up; where the system does not tell that, what they have now."""
    if not HAS_PEAKS:
        return rss_mib(pid)
    return sum(_peak_kib(process.pid) for process in _family(pid)) / 1024


def cpu_of_all(pids: Mapping[str, list[int]]) -> dict[str, float]:
    """By part of the system: gateway, broker, processors."""
    return {part: sum(map(cpu_seconds, of_part)) for part, of_part in pids.items()}


class Topic:
    """One topic on a broker that serves. It is connected only while it is asked, so it costs a measurement nothing."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self.name = name
        self._bootstrap = bootstrap

    def bound(self) -> None:
        """A bench appends gigabytes: the broker deletes all but the newest of them as it goes."""
        kept = {"retention.bytes": str(KEPT_BYTES), "file.delete.delay.ms": "1000"}
        setting = AlterConfigOpType.SET
        entries = [ConfigEntry(name, value, incremental_operation=setting) for name, value in kept.items()]
        resource = ConfigResource(ResourceType.TOPIC, self.name, incremental_configs=entries)
        admin = self._admin()
        admin.incremental_alter_configs([resource])[resource].result(30)

    def settled(self, gateway_pid: int) -> int:
        """How many records it was given so far, whatever became of them, once nothing is under way any more: clients
        that were ended left requests behind, in the gateway and on the way to the broker.
        """
        admin = self._admin()
        deadline = time.monotonic() + SETTLED_SECONDS_MAX
        now = self._appended(admin)
        while time.monotonic() < deadline:
            before, cpu_before = now, cpu_seconds(gateway_pid)
            time.sleep(STILL_SECONDS)
            now = self._appended(admin)
            if now == before and cpu_seconds(gateway_pid) - cpu_before < BUSY_SHARE * STILL_SECONDS:
                break
        return now

    def _appended(self, admin: AdminClient) -> int:
        partitions = admin.list_topics(self.name, timeout=30).topics[self.name].partitions
        asked = admin.list_offsets({TopicPartition(self.name, p): OffsetSpec.latest() for p in partitions})
        return sum(int(future.result(30).offset) for future in asked.values())

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _peak_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError(f"no peak of process {pid}")
