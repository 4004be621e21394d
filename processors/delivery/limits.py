"""How many deliveries a process attempts, and has in memory, at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    running_max: int = 1_024
    not_quick_running_max: int = 768
    """Of all endpoints together that are slow, or of which nothing is known yet. The rest is left to the others."""
    endpoint_running_max: int = 32
    unknown_running_max: int = 4
    """Of an endpoint of which nothing is known yet."""
    endpoint_loaded_max: int = 64
    """Of one endpoint, running ones included: so many are loaded from the retry table. If more have come from the log,
    and the first of them has waited for `slow_seconds`, the next ones are stored in the table."""
    slow_seconds: float = 1.0
    """An endpoint whose attempts take longer is slow."""
    full_seconds: float = 0.05
    """How long a partition without free memory waits before the longest queue is stored in the table."""
    partition_from_log_max: int = 2_000
    partition_from_log_bytes_max: int = 16 * 1024 * 1024
    from_table_max: int = 4_000
    """Loaded from the tables of all partitions."""
    from_table_bytes_max: int = 64 * 1024 * 1024
    not_quick_from_table_share: float = 0.75
    """Of both, for endpoints that are not quick."""
    rebalance_wait_seconds: float = 2.0
    """How long a rebalance waits for running attempts. The next owner makes those again that take longer."""
