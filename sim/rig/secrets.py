"""What must not leave a test in its report: keys, passwords, firmware tokens."""

import contextlib
import re
from typing import Final

from cloudsdk.env import DEVICE_KEY, PASSWORD
from cloudsdk.errors import CloudSdkError
from sim.application import ENV_PARTITION
from sim.board import Board
from sim.flash.env_image import read_env
from sim.flash.power import PowerCut

MASK: Final = "********"
_SHORTEST: Final = 6  # characters; a shorter one would be found in everything
_TOKEN: Final = re.compile(r"(?<=/)[A-Za-z0-9_-]{20,}(?![A-Za-z0-9_-])")  # a path segment, of firmware URLs


class Secrets:
    """Known secrets, masked wherever they stand. Safe from any thread."""

    def __init__(self, *known: str) -> None:
        self._known: frozenset[str] = frozenset()
        for secret in known:
            self.add(secret)

    def add(self, secret: str) -> None:
        if len(secret) >= _SHORTEST:
            self._known |= {secret}

    def learn(self, board: Board) -> None:
        """Add what the board's ENV keeps (cloudsdk-protocol 1.4)."""
        partition = board.partitions.find(ENV_PARTITION)
        if partition is None:
            return
        # Without power or a whole ENV there is nothing to read now; what was known stays known.
        with contextlib.suppress(CloudSdkError, PowerCut):
            image = read_env(partition.read(0, partition.size), partition.block_size)
            for variable in image.variables:
                if variable.name in (PASSWORD, DEVICE_KEY):
                    self.add(variable.value.decode("latin-1"))

    def mask(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, MASK)
        return _TOKEN.sub(MASK, text)
