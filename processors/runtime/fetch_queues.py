"""The queues between the fetcher's thread and the event loop: records that were fetched and are not handled yet.

At most one batch of a partition is out at a time; `release` lets the next one out. The bounds are in weight
(fetched_records.py), so they bound memory too. No broker and no thread is needed: the fetcher (fetcher.py) puts records
in, and does to the consumer what `pause_the_stuck` and `release` return.
"""

from collections.abc import Iterable, Set

from faust.types import TP

from processors.runtime.batches import Batch
from processors.runtime.fetched_records import FetchedRecords
from schemas.log_records import LogRecord

AHEAD_WEIGHT_MAX = 24_000  # 24,000 small records, or 96 MiB
UNHURRIED_WEIGHT_MAX = AHEAD_WEIGHT_MAX // 4

NEXT_BATCH = -1
NOT_FETCHED = 2**63


class FetchQueues:
    """Mutable, and for the event loop's thread. The fetcher's thread calls `offer`, and reads `is_full` and
    `unread`.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._offered = 0  # weight; written by the fetcher's thread only
        self._taken = 0  # weight; written by the event loop only
        self._queues: dict[TP, FetchedRecords] = {}
        self._handed_out: set[TP] = set()
        self._paused: set[TP] = set()
        self._read: set[TP] = set()
        self._begun: set[TP] = set()
        self._ends: dict[TP, int] = {}
        """Of partitions fetched but not handled to their ends: the last offset to be handled."""

    @property
    def epoch(self) -> int:
        """Rises with each assignment. Records are put in with the epoch in which they were fetched."""
        return self._epoch

    @property
    def assigned(self) -> Set[TP]:
        return self._queues.keys()

    @property
    def paused(self) -> Set[TP]:
        return self._paused

    @property
    def weight(self) -> int:
        """Of what was fetched and is not taken as a batch yet, without paused partitions."""
        return self._offered - self._taken

    @property
    def is_full(self) -> bool:
        """Nothing more should be taken from the consumer."""
        return self.weight > AHEAD_WEIGHT_MAX

    def waiting(self, tp: TP) -> int:
        """How many records of an assigned partition are here."""
        return len(self._queues[tp])

    def weight_of(self, tp: TP) -> int:
        return self._queues[tp].weight

    # Assignments

    def assign(self, tps: Set[TP]) -> None:
        """Exactly these partitions. What was fetched before is dropped."""
        self._epoch += 1
        self._taken += sum(queue.weight for tp, queue in self._queues.items() if tp not in self._paused)
        self._handed_out.clear()
        self._paused.clear()
        self._queues = {tp: FetchedRecords(self._epoch) for tp in tps}
        self._read &= tps
        self._begun &= tps
        self._ends.clear()

    def add(self, new: Set[TP]) -> None:
        """These as well. They are new on the log, so they do not make this worker less ready."""
        self._epoch += 1
        self._queues |= {tp: FetchedRecords(self._epoch) for tp in new}
        self._read |= new

    def remove(self, tps: Set[TP]) -> None:
        """What was fetched of these is dropped."""
        for tp in tps:
            queue = self._queues.pop(tp)
            self._taken += 0 if tp in self._paused else queue.weight
            self._ends.pop(tp, None)
        for marked in (self._handed_out, self._paused, self._read, self._begun):
            marked -= tps

    # Records in, batches out

    def offer(self, weight: int) -> None:
        """From the fetcher's thread: records of this weight are on their way to `put`."""
        self._offered += weight

    def put(self, epoch: int, fetched: dict[TP, list[LogRecord]], weights: dict[TP, int]) -> None:
        """Records that were fetched for an earlier assignment of their partition are dropped."""
        for tp, records in fetched.items():
            queue = self._queues.get(tp)
            if queue is None or queue.epoch > epoch:
                self._taken += weights[tp]
                continue
            queue.extend(records, weights[tp])
            self._taken += weights[tp] if tp in self._paused else 0

    def take(self, wanted: Iterable[TP] | None = None) -> dict[TP, Batch]:
        """The next batch of each partition (of those wanted) that has none out."""
        allowed = self._queues.keys() if wanted is None else self._queues.keys() & set(wanted)
        found = {}
        for tp in allowed:
            queue = self._queues[tp]
            if queue and tp not in self._handed_out:
                records, weight = queue.take()
                found[tp] = Batch(tp, records, queue.epoch)
                self._handed_out.add(tp)
                self._begun.add(tp)
                self._taken += 0 if tp in self._paused else weight
        return found

    def owns(self, batch: Batch) -> bool:
        """Its partition was not given up since."""
        queue = self._queues.get(batch.tp)
        return queue is not None and queue.epoch == batch.epoch

    def in_flight(self) -> int:
        return len(self._handed_out)

    def release(self, batch: Batch) -> bool:
        """The batch was handled (not necessarily confirmed): its partition may be handed out again. True: fetch the
        partition again, since it is paused and short now.
        """
        tp = batch.tp
        if not self.owns(batch):
            return False
        self._handed_out.discard(tp)
        if batch.next_offset > self._ends.get(tp, NOT_FETCHED):
            self._read.add(tp)
        if tp not in self._paused or self._queues[tp].is_long:
            return False
        self._paused.discard(tp)
        self._taken -= self._queues[tp].weight
        return True

    def pause_the_stuck(self) -> list[TP]:
        """Where the queues are full: the partitions to pause so that others can be fetched. The batch of each takes
        long, and it has another one waiting. They do not count as full any more.
        """
        if not self.is_full:
            return []
        stuck = [tp for tp in self._handed_out - self._paused if self._queues[tp].is_long]
        self._paused.update(stuck)
        self._taken += sum(self._queues[tp].weight for tp in stuck)
        return stuck

    def idle(self) -> set[TP]:
        """Partitions that have nothing here and no batch out. None of them while many records of others wait here,
        since those are handled first.
        """
        if self.weight > UNHURRIED_WEIGHT_MAX:
            return set()
        return {tp for tp in self._queues.keys() - self._handed_out if not self._queues[tp]}

    # How far partitions have been read

    def note_ends(self, epoch: int, at_end: Iterable[TP]) -> None:
        """These partitions were fetched to their ends a moment ago; they count as read once that much is handled."""
        for tp in self.unread().intersection(at_end):
            queue = self._queues[tp]
            if queue.epoch > epoch:
                continue
            if queue:
                self._ends.setdefault(tp, queue.last_offset)
            elif tp in self._handed_out:
                self._ends.setdefault(tp, NEXT_BATCH)
            else:
                self._read.add(tp)

    def fetched_to_end(self) -> set[TP]:
        """Partitions that were fetched to their ends and are not handled that far yet."""
        return self._ends.keys() - self._read

    def unread(self) -> set[TP]:
        """Assigned partitions that have not been handled to their ends yet since this worker got them."""
        return self._queues.keys() - self._read

    def unbegun(self) -> set[TP]:
        """Assigned partitions that may hold records, of which none was handed out yet."""
        return self.unread() - self._begun
