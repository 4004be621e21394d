"""`python -m tests.support.unheard_worker <group>`: a worker that its group's coordinator does not hear for a while.

As long as the file UNHEARD_WHILE is there, no request to the coordinator is answered; all else of the broker is.
"""

import os
from pathlib import Path
from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupCoordinatorNotAvailableError

from processors import __main__ as processors


def main() -> int:
    silence, send = Path(os.environ["UNHEARD_WHILE"]), GroupCoordinator._send_req

    async def send_or_not(coordinator: Any, request: Any) -> Any:
        if silence.exists():  # noqa: ASYNC240 a look at one file
            coordinator.coordinator_dead()
            raise GroupCoordinatorNotAvailableError
        return await send(coordinator, request)

    GroupCoordinator._send_req = send_or_not
    return processors.main()


if __name__ == "__main__":
    os._exit(main())  # as processors ends
