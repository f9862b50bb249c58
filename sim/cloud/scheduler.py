"""Wakes the tasks of a cloud: when something is due, and when something changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sim.cloud.errors import CloudError
from sim.cloud.messages import Outgoing
from sim.cloud.service import Due

PACE: Final = 0.2  # seconds between two looks: many changes are one, and queries go out in portions
LONGEST: Final = 5.0  # seconds between two looks when nothing is due

_log = logging.getLogger(__name__)


class Scheduler:
    """Calls `due` in the worker, and publishes what it says. `clock` gives seconds since 1970."""

    def __init__(
        self,
        due: Callable[[], Awaitable[Due]],
        publish: Callable[[Outgoing], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._due = due
        self._publish = publish
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Look again soon; from any thread."""
        self._loop.call_soon_threadsafe(self._changed.set)

    async def run(self) -> None:
        """Until cancelled. A look that fails is logged, and tried again."""
        while True:
            self._changed.clear()
            pause = LONGEST
            try:
                due = await self._due()
                for message in due.messages:
                    await self._publish(message)
                pause = self._pause(due)
            except CloudError as exc:
                _log.error("the tasks could not be looked at [%s]: %s", exc.code, exc)
            await asyncio.sleep(PACE)
            await self._wait(pause - PACE)

    def _pause(self, due: Due) -> float:
        if due.more:
            return PACE
        left = LONGEST if due.next_at is None else due.next_at - self._clock()
        return min(max(left, PACE), LONGEST)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await self._changed.wait()
        except TimeoutError:
            pass
