"""Free ports for tests, reserved while this test process lives, so that parallel tests don't pick the same one.

They come from below the ports that the system hands out for outgoing connections, which would else take one in between.
The reservation is an abstract Unix socket (Linux): it vanishes with the process and leaves nothing behind.
"""

import random
import socket
import sys

LOWEST, HIGHEST = 15_000, 32_000
BASE_SPAN = 30  # ATLAS_PORT_BASE=b uses ports up to b+29 (operations.settings.Ports)
_reservations: list[socket.socket] = []
_random = random.SystemRandom()  # not seeded by pytest-randomly: parallel workers share its seed


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on and no other test process was given."""
    return _free_range(1)


def free_port_base() -> int:
    """A value for ATLAS_PORT_BASE: it and the 29 ports after it are free."""
    return _free_range(BASE_SPAN)


def _free_range(count: int) -> int:
    for _ in range(1_000):
        first = _random.randrange(LOWEST, HIGHEST - count)
        if all(_reserve(port) and _is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"no {count} free ports between {LOWEST} and {HIGHEST}")


def _reserve(port: int) -> bool:
    if sys.platform != "linux":
        return True
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0atlas-test-port-{port}")
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
