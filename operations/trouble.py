"""When trouble that comes and goes counts as there, and when as over: two bounds, so that nothing flaps."""

from typing import NamedTuple


class Bounds(NamedTuple):
    """Trouble is there once something is overdue by more than `begins_seconds`, and over once it has been overdue by
    less than `ends_seconds` for `quiet_seconds` without a break.
    """

    begins_seconds: float
    ends_seconds: float
    quiet_seconds: float


class Trouble(NamedTuple):
    """`quiet_since_seconds`: while it is there, since when nothing of it was seen."""

    is_there: bool = False
    quiet_since_seconds: float | None = None

    def after(self, overdue_seconds: float, now_seconds: float, bounds: Bounds) -> "Trouble":
        """What holds after a look at `now_seconds`, of any clock that only goes forward."""
        if not self.is_there:
            return Trouble(overdue_seconds > bounds.begins_seconds)
        if overdue_seconds >= bounds.ends_seconds:
            return Trouble(is_there=True)
        since_seconds = now_seconds if self.quiet_since_seconds is None else self.quiet_since_seconds
        is_over = now_seconds - since_seconds >= bounds.quiet_seconds
        return Trouble() if is_over else Trouble(is_there=True, quiet_since_seconds=since_seconds)
