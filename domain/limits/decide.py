"""Allocates one bucket to the gateways: the part of its rate that each may use, and the room that each has at once.

The parts follow demand, that is requests accepted and refused within the last moments: the gateway with most requests
gets most of the rate. A hundredth of the rate is divided evenly, so that no gateway is ever without; the parts add up
to the whole. The free room of the bucket (`room`, counted here from what was accepted) is allocated again each time,
half of it evenly: it goes where it is needed, and none is lost with a gateway that does not use it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from domain.limits.quotas import WHOLE_PPM, Quota, burst_ppm
from schemas.records import Shares

ROOM = 60_000
"""The room that one request takes. One unit is what a rate of one request a minute drains in a millisecond."""
EVEN_PPM = 10_000
ALLOCATION_APART_MS = 150
PRESSED_PART = 2  # a gateway is short of room when it has less than half of its depth


class Part(NamedTuple):
    """A gateway's part of a bucket: its recent requests, and its count of accepted ones as last reported."""

    demand: int = 0
    accepted: int = 0


def grown(room: int, quota: Quota, elapsed_ms: int) -> int:
    """The room after so long, at most the bucket's depth."""
    return min(quota.burst * ROOM, room + quota.per_minute * max(0, elapsed_ms))


def shares_of(demands: Mapping[str, int]) -> dict[str, int]:
    """Millionths of the rate by gateway; they add up to a million. Without any demand they are even."""
    total = sum(demands.values())
    even_ppm = EVEN_PPM if total else WHOLE_PPM
    shares = {gateway: even_ppm // len(demands) for gateway in demands}
    if total:
        for gateway, demand in demands.items():
            shares[gateway] += (WHOLE_PPM - even_ppm) * demand // total
    most = max(demands, key=lambda gateway: (demands[gateway], gateway))
    shares[most] += WHOLE_PPM - sum(shares.values())  # what rounding left: less than one millionth a gateway, twice
    return shares


def allocate(bucket: str, parts: Mapping[str, Part], room: int, now_ms: int) -> Shares:
    """The whole bucket among these gateways; `room` in `ROOM`s, negative when more was accepted than it had room."""
    gateways = sorted(parts)
    shares = shares_of({gateway: parts[gateway].demand for gateway in gateways})
    milli = room * 1000 // ROOM
    return Shares(
        bucket=bucket,
        gateways=gateways,
        dealt_ms=now_ms,
        share_ppm=[shares[gateway] for gateway in gateways],
        room_milli=[milli * burst_ppm(shares[gateway], len(gateways)) // WHOLE_PPM for gateway in gateways],
        accepted=[parts[gateway].accepted for gateway in gateways],
    )


def is_pressed(refused: int, room_milli: int, quota: Quota, share_ppm: int, gateways: int) -> bool:
    """Whether a gateway needs more than it has: it refused requests, or will soon."""
    depth_milli = quota.burst * 1000 * burst_ppm(share_ppm, gateways) // WHOLE_PPM
    return refused > 0 or room_milli * PRESSED_PART < depth_milli


def must_allocate(before: Shares | None, gateways: list[str], pressed: bool, now_ms: int) -> bool:
    """An allocation is made for a gateway that is short, but not too often, and again when gateways came or went."""
    if before is None:
        return pressed
    return before.gateways != gateways or (pressed and now_ms - before.dealt_ms >= ALLOCATION_APART_MS)
