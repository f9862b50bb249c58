"""Run a program that ends when its parent does: `python orphan.py PARENT-PID PROGRAM ARGUMENT...`.

The kernel sends the signal even if the parent is killed with SIGKILL. Linux only; elsewhere the program
simply runs.
"""

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # The setting outlives exec (prctl(2)).
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the setting took effect
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
