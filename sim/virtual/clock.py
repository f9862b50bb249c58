"""Virtual time: it goes on only because something is due.

Times are integers of microseconds since the world began, so that no sum of delays depends on rounding.
"""

import heapq
from collections.abc import Callable
from typing import Final

SECOND: Final = 1_000_000  # microseconds


def microseconds(seconds: float) -> int:
    return round(seconds * SECOND)


class Timer:
    """Something that is due at a time."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    @property
    def is_armed(self) -> bool:
        return self._action is not None

    def cancel(self) -> None:
        self._action = None

    def fire(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()


class VirtualClock:
    """What is due at the same time happens in the order it was asked for."""

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Timer]] = []
        self._asked = 0

    def at(self, when: int, action: Callable[[], None]) -> Timer:
        """Do `action` at the time `when`, now if that is past."""
        timer = Timer(action)
        self._asked += 1
        heapq.heappush(self._queue, (max(when, self.now), self._asked, timer))
        return timer

    def after(self, delay: int, action: Callable[[], None]) -> Timer:
        """Do `action` in `delay` microseconds."""
        return self.at(self.now + delay, action)

    @property
    def next_due(self) -> int | None:
        """When something happens next; None: nothing will."""
        queue = self._queue
        while queue and not queue[0][2].is_armed:
            heapq.heappop(queue)
        return queue[0][0] if queue else None

    def step(self) -> bool:
        """Go to what is due next and do it; returns whether there was anything."""
        if self.next_due is None:
            return False
        self.now, _, timer = heapq.heappop(self._queue)
        timer.fire()
        return True

    def run_until(self, when: int) -> None:
        """Do everything that is due up to and including `when`."""
        while (due := self.next_due) is not None and due <= when:
            self.step()
        self.now = max(self.now, when)
