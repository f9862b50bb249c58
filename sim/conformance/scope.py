"""The time a case has, and what has to end with it."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from sim.conformance.case import OvertimeError

POLL: Final = 0.02  # seconds between two looks at a condition


class Scope:
    """`seconds` from now on. What was given to `add` is closed by `close`, last first, from any thread."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._closers: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._closed = False

    def remaining(self) -> float:
        """Seconds left. Raises `OvertimeError` when there are none."""
        left = self._end - time.monotonic()
        if self._closed or left <= 0:
            raise OvertimeError("the time of the case is over")
        return left

    def at_most(self, seconds: float) -> float:
        """The smaller of `seconds` and what is left."""
        return min(seconds, self.remaining())

    def add(self, close: Callable[[], None]) -> None:
        with self._lock:
            if not self._closed:
                self._closers.append(close)
                return
        close()

    def own(self, connection: socket.socket) -> None:
        """Close the socket in the end; whoever waits for it wakes up."""

        def close() -> None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

        self.add(close)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            closers, self._closers = self._closers, []
        for close in reversed(closers):
            with contextlib.suppress(Exception):
                close()

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition holds; False if it does not within `seconds`."""
        end = time.monotonic() + self.at_most(seconds)
        while not condition():
            if time.monotonic() >= end:
                return False
            time.sleep(POLL)
        return True
