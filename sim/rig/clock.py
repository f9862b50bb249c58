"""The time a test waits in: the wall clock's, or a virtual one that passes at once."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from sim.virtual.clock import SECOND, VirtualClock, microseconds

MAX_STEPS: Final = 200_000  # events of one wait in virtual time; one that takes more is caught in a loop
_POLL: Final = 0.005  # seconds between two looks


class RigClock(ABC):
    """`patience` is how many seconds a test waits unless it says otherwise."""

    is_virtual: bool
    patience: float

    @property
    @abstractmethod
    def now(self) -> float:
        """Seconds, from any start."""

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""

    @abstractmethod
    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until `condition`, at most `seconds`; returns whether it holds."""


class WallClock(RigClock):
    is_virtual = False
    patience = 30.0

    @property
    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        __tracebackhide__ = True
        deadline = self.now + seconds
        while not condition():
            if self.now > deadline:
                return False
            time.sleep(_POLL)
        return True


class PassingClock(RigClock):
    """Virtual time: it passes only while a test waits, and then at once (docs/virtual-time.md)."""

    is_virtual = True
    patience = 24 * 3600.0

    def __init__(self) -> None:
        self.world = VirtualClock()

    @property
    def now(self) -> float:
        return self.world.now / SECOND

    def sleep(self, seconds: float) -> None:
        self.wait(lambda: False, seconds)

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        __tracebackhide__ = True
        deadline = self.world.now + microseconds(seconds)
        for _ in range(MAX_STEPS):
            if condition():
                return True
            due = self.world.next_due
            if due is None or due > deadline:
                self.world.run_until(deadline)
                return condition()
            self.world.step()
        return condition()
