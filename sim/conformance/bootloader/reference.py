"""The simulated bootloaders as a command: `python -m sim.conformance.bootloader.reference {directory}`.

Exit status 0 says that an application was started, 1 that none was.
"""

import sys
from pathlib import Path

from sim.board import open_board
from sim.bootloader.outcome import BootOutcome


def _write(text: str) -> None:
    sys.stdout.write(text)


def main(directory: str) -> int:
    with open_board(Path(directory)) as board:
        result = board.boot(_write)
    return 0 if result.outcome is BootOutcome.JUMP else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
