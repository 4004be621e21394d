"""Ends a listening socket without losing a connection.

The kernel makes a connection and keeps it in the socket's queue until the process takes it; closing the socket resets
all that wait, and those whose handshake is under way. So first the socket takes no further handshakes (a filter drops
SYN packets), then what is under way is accepted, and only an empty queue is closed. A client whose SYN was dropped
sends it again after a second: it meets another process that shares the port, or is refused and may go elsewhere.

The filter and the queue's length are Linux's own. Elsewhere what waits gets the same time to be accepted, and the queue
is then closed as it is.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

HANDSHAKE_SECONDS = 0.1  # for handshakes that have begun: a round trip to a proxy nearby takes far less
EMPTY_SECONDS = 2.0
LOOK_SECONDS = 0.01
SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python has no name for it
FLAGS_BYTE, SYN, ACK = 13, 0x02, 0x10  # of a TCP header
DROP, PASS = 0, 0xFFFFFFFF
DROP_SYN = (
    (0x30, 0, 0, FLAGS_BYTE),  # load the byte with the flags
    (0x54, 0, 0, SYN | ACK),  # keep these two
    (0x15, 0, 1, SYN),  # only SYN: next instruction; else skip it
    (0x06, 0, 0, DROP),
    (0x06, 0, 0, PASS),
)
"""Instructions of the kernel's classic packet filter: code, jump if true, jump if false, operand."""
QUEUE_LENGTH = struct.Struct("=24xI")  # tcpi_unacked of struct tcp_info: of a listening socket, what waits in its queue


async def accept_the_last(listening: Iterable[socket.socket]) -> None:
    """Returns when nobody waits in these sockets' queues and nobody can come: close them then. The running loop must
    be accepting from them.
    """
    with _handles(listening) as sockets:
        for one in sockets:
            _drop_new_handshakes(one)
        await asyncio.sleep(HANDSHAKE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EMPTY_SECONDS):
                while any(map(_waiting, sockets)):  # noqa: ASYNC110 the kernel has no event for it
                    await asyncio.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def _handles(listening: Iterable[socket.socket]) -> Iterator[list[socket.socket]]:
    """The same sockets, as ones that can be asked: those of event loops can not."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.socket(fileno=os.dup(one.fileno()))) for one in listening]


def _drop_new_handshakes(listening: socket.socket) -> None:
    if sys.platform != "linux":
        return
    instructions = b"".join(struct.pack("=HBBI", *instruction) for instruction in DROP_SYN)
    program = ctypes.create_string_buffer(instructions)
    with contextlib.suppress(OSError):  # a kernel without the filter: what waits is accepted all the same
        listening.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(DROP_SYN), ctypes.addressof(program))
        )


def _waiting(listening: socket.socket) -> int:
    """How many connections wait to be accepted; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    try:
        (length,) = QUEUE_LENGTH.unpack(listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, QUEUE_LENGTH.size))
    except (OSError, struct.error):
        return 0
    return int(length)
