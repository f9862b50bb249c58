"""Timers of many devices on one entry of the event loop.

A timer that is set again for later, as every message does with the one for silence, only moves its due time;
it stays where it is queued and is put further back when its turn comes.
"""

import asyncio
import heapq
import math
from typing import Final, Protocol

TICK: Final = 0.01  # seconds; a timer is late by at most that
_IDLE: Final = -1


class TimerOwner(Protocol):
    def timer_fired(self, name: str, /) -> None: ...


class Timer:
    """One timer; the methods of the wheel start and stop it."""

    __slots__ = ("due", "name", "owner", "tick")

    def __init__(self, owner: TimerOwner, name: str) -> None:
        self.owner: TimerOwner | None = owner
        self.name = name
        self.due = math.inf  # seconds on the loop's clock
        self.tick = _IDLE  # that it is queued for


class TimerWheel:
    """All timers of a fleet. Not for other threads than the loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queues: dict[int, list[Timer]] = {}  # by tick
        self._ticks: list[int] = []  # heap of the keys of `_queues`
        self._handle: asyncio.TimerHandle | None = None
        self._next = _IDLE  # tick that `_handle` waits for

    def start(self, timer: Timer, seconds: float) -> None:
        """Fire in `seconds`, whatever it was set to before."""
        timer.due = self._loop.time() + seconds
        self._queue(timer)

    def stop(self, timer: Timer) -> None:
        """For good; the owner is let go, although the timer stays queued."""
        timer.due = math.inf
        timer.owner = None

    def close(self) -> None:
        """No timer fires any more."""
        self._queues.clear()
        self._ticks.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _queue(self, timer: Timer) -> None:
        tick = math.ceil(timer.due / TICK)
        if timer.tick != _IDLE and timer.tick <= tick:
            return
        timer.tick = tick
        queue = self._queues.get(tick)
        if queue is None:
            self._queues[tick] = [timer]
            heapq.heappush(self._ticks, tick)
            if self._next == _IDLE or tick < self._next:
                self._wait()
        else:
            queue.append(timer)

    def _wait(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._next = self._ticks[0] if self._ticks else _IDLE
        self._handle = self._loop.call_at(self._next * TICK, self._run) if self._ticks else None

    def _run(self) -> None:
        self._handle, self._next = None, _IDLE
        now = self._loop.time()
        while self._ticks and self._ticks[0] * TICK <= now:
            tick = heapq.heappop(self._ticks)
            for timer in self._queues.pop(tick, ()):
                if timer.tick != tick:
                    continue  # it was set again for earlier
                timer.tick = _IDLE
                owner = timer.owner
                if owner is None or timer.due == math.inf:
                    continue
                if math.ceil(timer.due / TICK) > tick:
                    self._queue(timer)
                    continue
                timer.due = math.inf
                owner.timer_fired(timer.name)
        self._wait()
