"""How far the running transfers are. The database knows how far they were when they ended."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

RATE_WINDOW: Final = 30  # seconds over which the rate of a task is taken


@dataclass(slots=True)
class _Running:
    task: int | None
    sent: int = 0


@dataclass(slots=True)
class _Rate:
    """Bytes per second of the clock, the newest last."""

    seconds: deque[list[int]] = field(default_factory=lambda: deque(maxlen=RATE_WINDOW + 1))

    def add(self, now: int, count: int) -> None:
        if self.seconds and self.seconds[-1][0] >= now:
            self.seconds[-1][1] += count
        else:
            self.seconds.append([now, count])

    def value(self, now: int) -> int:
        recent = [entry for entry in self.seconds if entry[0] > now - RATE_WINDOW]
        if not recent:
            return 0
        return sum(count for _, count in recent) // (now - recent[0][0] + 1)


class LiveTransfers:
    """Counts of running transfers, to be used from any thread. `clock` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[int, _Running] = {}
        self._rates: dict[int, _Rate] = {}

    def begin(self, transfer: int, task: int | None) -> None:
        with self._lock:
            self._running[transfer] = _Running(task)

    def advance(self, transfer: int, count: int) -> None:
        """`count` more bytes were sent."""
        with self._lock:
            running = self._running.get(transfer)
            if running is None:
                return
            running.sent += count
            if running.task is not None:
                self._rates.setdefault(running.task, _Rate()).add(int(self._clock()), count)

    def end(self, transfer: int) -> None:
        with self._lock:
            self._running.pop(transfer, None)
            now = int(self._clock())
            for task in [task for task, rate in self._rates.items() if not rate.value(now)]:
                del self._rates[task]

    def sent(self, transfer: int | None) -> int:
        """Bytes that this transfer has sent; 0 when it is over."""
        with self._lock:
            running = self._running.get(transfer) if transfer is not None else None
            return running.sent if running is not None else 0

    def sent_for(self, task: int) -> int:
        """Bytes that the running transfers of the task have sent."""
        with self._lock:
            return sum(running.sent for running in self._running.values() if running.task == task)

    def rate(self, task: int) -> int:
        """Bytes per second of late."""
        with self._lock:
            rate = self._rates.get(task)
            return rate.value(int(self._clock())) if rate is not None else 0
