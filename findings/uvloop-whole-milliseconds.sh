#!/bin/sh
# uvloop 0.23.0: `loop.time()` counts whole milliseconds, where asyncio's own loop has the resolution of the monotonic
# clock. So a duration taken from two `loop.time()` is 0 or 1 ms for anything that takes less than a millisecond.
# Measure with `time.monotonic()` or `time.perf_counter()`.
# Seen: 2,000 readings over some 25 ms are 25 to 30 different values with uvloop, all of them whole milliseconds, and
# 2,000 different values with asyncio.
# Ends 0 while it is so, else 1.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "uvloop==0.23.0"
"$work/venv/bin/python" - <<'PYTHON'
import asyncio
import time

import uvloop


async def readings():
    loop, seen = asyncio.get_running_loop(), []
    for _ in range(2_000):
        seen.append(loop.time())
        await asyncio.sleep(0)  # uvloop updates its time once an iteration
        until = time.monotonic() + 0.00001
        while time.monotonic() < until:
            pass
    return seen


def are_whole(seen):
    return all(abs(one * 1_000 - round(one * 1_000)) < 1e-6 for one in seen)


def values_of(new_loop):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(readings())


theirs, usual = values_of(uvloop.new_event_loop), values_of(asyncio.new_event_loop)
print(f"uvloop: {len(set(theirs))} values, whole milliseconds: {are_whole(theirs)}")
print(f"asyncio: {len(set(usual))} values, whole milliseconds: {are_whole(usual)}")
raise SystemExit(0 if are_whole(theirs) and not are_whole(usual) else 1)
PYTHON
