"""Messages to devices from where nothing may wait."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from sim.cloud.messages import Outgoing

_log = logging.getLogger(__name__)

Publish = Callable[[Outgoing], Awaitable[object]]


class Publisher:
    """Hands messages to `publish` in order, one task for all."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def put(self, message: Outgoing) -> None:
        """The states of the consoles bound how many wait: each has one message out at a time."""
        self._queue.put_nowait(message)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            message = await self._queue.get()
            try:
                await self._publish(message)
            except Exception:
                _log.exception("a message to a device was not sent")
