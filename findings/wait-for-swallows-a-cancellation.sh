#!/bin/sh
# Python 3.11.7: `asyncio.wait_for` swallows a cancellation that comes in the same turn of the loop as the result.
# `task.cancel()` returns True, but `await wait_for(…)` returns the result, and a task that loops over it goes on although
# it was cancelled. `asyncio.timeout` does not do that, nor does `wait_for` of Python 3.12, which is built on it (gh-86296).
# Seen: cancelled in that turn, the task with `wait_for` ends with its result, the one with `timeout` is cancelled.
# Needs a `python3.11`. Ends 0 while it is so, else 1.
set -eu
command -v python3.11 >/dev/null || { echo "python3.11 is needed" >&2; exit 2; }
python3.11 - <<'PYTHON'
import asyncio
import sys


async def by_wait_for(future):
    return await asyncio.wait_for(future, 5)


async def by_timeout(future):
    async with asyncio.timeout(5):
        return await future


async def cancelled_with_the_result(wait):
    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wait(future))
    await asyncio.sleep(0)
    future.set_result("the result")
    asked = task.cancel()
    try:
        return asked, await task
    except asyncio.CancelledError:
        return asked, "cancelled"


async def main():
    return [await cancelled_with_the_result(wait) for wait in (by_wait_for, by_timeout)]


seen = asyncio.run(main())
print(sys.version.split()[0], dict(zip(("wait_for", "timeout"), seen)))
raise SystemExit(0 if seen == [(True, "the result"), (True, "cancelled")] else 1)
PYTHON
