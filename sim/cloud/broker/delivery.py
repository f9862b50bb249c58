"""Runs the cloud's callbacks: in order for one client, independently for different clients."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from sim.cloud.broker.effects import Connected, Disconnected, Message, Notice
from sim.cloud.broker.policy import BrokerPolicy

_log = logging.getLogger(__name__)

_FAILED = "callback for client %r failed"


class Deliveries:
    """A queue and a task for each client with a callback that is not done.

    `on_room(client_id)` is called whenever a client's backlog falls to `room` notices.
    """

    def __init__(self, policy: BrokerPolicy, *, room: int, on_room: Callable[[str], None]) -> None:
        self._policy = policy
        self._room = room
        self._on_room = on_room
        self._queues: dict[str, deque[Notice]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, notice: Notice) -> int:
        """Run a notice's callback after those before it; returns how many of its client are not done."""
        queue = self._queues.get(notice.client_id)
        if queue is None:
            running = self._start(notice)
            if running is None:
                return 0
            queue = self._queues[notice.client_id] = deque()
            task = asyncio.get_running_loop().create_task(self._run(notice.client_id, running, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.append(notice)
        return len(queue)

    def backlog(self, client_id: str) -> int:
        """Notices of a client that wait or are being handled."""
        return len(self._queues.get(client_id, ()))

    async def finish(self, patience: float) -> None:
        """Wait until all callbacks are done; cancel those that take longer than `patience` seconds."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=patience)
        for task in late:
            task.cancel()
        if late:
            _log.warning("%d callbacks did not finish within %.1f s and were cancelled", len(late), patience)
            await asyncio.wait(late)
        self._queues.clear()

    async def _run(self, client_id: str, running: Awaitable[None] | None, queue: deque[Notice]) -> None:
        """Finish the callback of `queue[0]`, then run the others."""
        while True:
            if running is not None:
                try:
                    await running
                except Exception:
                    _log.exception(_FAILED, client_id)
            queue.popleft()
            if len(queue) == self._room:
                asyncio.get_running_loop().call_soon(self._on_room, client_id)
            if not queue:
                break
            running = self._start(queue[0])
        del self._queues[client_id]

    def _start(self, notice: Notice) -> Awaitable[None] | None:
        """Call back. A plain function is then done, a coroutine has still to run."""
        policy = self._policy
        try:
            match notice:
                case Message():
                    return policy.on_message(
                        notice.client_id, notice.topic, notice.payload, is_will=notice.is_will
                    )
                case Connected():
                    return policy.on_connect(notice.client_id, notice.address)
                case Disconnected():
                    return policy.on_disconnect(notice.client_id)
        except Exception:
            _log.exception(_FAILED, notice.client_id)
            return None
