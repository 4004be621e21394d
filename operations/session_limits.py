"""Whether the brokers accept members with this session time-out: they have a shortest and a longest one.

Asked before the process joins a group, so that the error names the numbers that work. Where brokers do not say
(describing them takes a right of its own), the group's own refusal ends the process, with a less helpful message.
"""

from confluent_kafka import KafkaException
from confluent_kafka.admin import ResourceType  # type: ignore[attr-defined]

from operations.cluster_admin import ClusterAdmin

ANSWER_SECONDS = 10.0
SHORTEST, LONGEST = "group.min.session.timeout.ms", "group.max.session.timeout.ms"


class SessionRefused(Exception):
    """No group takes a member with this session; the message says what one may be."""


def refuse_session(bootstrap: str, session_seconds: float) -> None:
    """Blocking. Raises SessionRefused; returns where the session fits, or where no broker says."""
    limits = _limits(bootstrap)
    if limits is not None and not limits[0] <= session_seconds <= limits[1]:
        raise SessionRefused(
            f"ATLAS_SESSION_SECONDS is {session_seconds:g}, but the brokers take sessions of {limits[0]:g} to "
            f"{limits[1]:g} s ({SHORTEST}, {LONGEST}). Set it to one of these, or change the brokers."
        )


def _limits(bootstrap: str) -> tuple[float, float] | None:
    """The shortest and the longest session in seconds, as one broker has them."""
    admin = ClusterAdmin(bootstrap, ANSWER_SECONDS)
    try:
        broker = str(next(iter(admin.metadata().brokers)))
        entries = admin.configurations(ResourceType.BROKER, [broker])[broker]
        return int(entries[SHORTEST]) / 1000, int(entries[LONGEST]) / 1000
    except (KafkaException, KeyError, StopIteration):  # away, not allowed to ask, or brokers that are not Kafka's
        return None
