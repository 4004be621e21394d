"""Runs a command that ends when its parent does: `python lifeline.py <parent pid> <signal> <command …>`.

Linux only: PR_SET_PDEATHSIG survives exec, so the command keeps this process's pid and gets the signal when the thread
that started it ends, however that happened (SIGKILL too). Elsewhere the command just runs. It imports nothing of ours
and is run with `-I -S`, so that it costs milliseconds; a `preexec_fn` would run Python between
fork and exec of a process with threads.
"""

import os
import sys

PR_SET_PDEATHSIG = 1
PARENT_GONE = 125


def main(arguments: list[str]) -> None:
    parent_pid, signal_number, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the line above: no signal will come
            sys.exit(PARENT_GONE)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
