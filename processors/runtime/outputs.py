"""Records on their way to the broker: the interface of `OutboxBatch`, for what writes through it."""

from typing import Any, Protocol


class Outputs(Protocol):
    """The records of one unit of work. All methods are called on the event loop's thread.

    Records of one partition keep the order in which they were produced. Nothing is known of a record before
    `confirmed` returns; a process that ends earlier may leave it on the log or not.
    """

    changelog_end: dict[str, int]
    """For each changelog topic written to: the offset after the last record. Complete once `confirmed` has returned."""

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        is_changelog: bool = False,
    ) -> None:
        """Queues one record; a full local queue blocks the caller until there is space. Without `partition` the key
        decides (murmur2, as the Java client). Raises OutboxFailed or Abandoned; the record was then not queued.
        """
        ...

    def produce_many(self, topic: str, messages: list[dict[str, Any]]) -> None:
        """Queues many records, each a dict with `value` and `key`; keys decide the partitions. Raises as `produce`; the
        records before the one that failed were queued.
        """
        ...

    def produce_values(self, topic: str, partition: int, values: list[bytes]) -> None:
        """Queues many records of one partition, without keys. Raises as `produce_many`."""
        ...

    async def confirmed(self) -> None:
        """Returns when the broker has every record that was produced so far (acks=all). Raises OutboxFailed when it
        refused one, Abandoned when the assignment was given up: nothing of the unit of work then counts as done.
        """
        ...
