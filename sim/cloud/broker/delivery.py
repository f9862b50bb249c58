"""Runs the cloud's callbacks: in order for one client, independently for different clients."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from sim.cloud.broker.effects import Connected, Disconnected, Message, Notice
from sim.cloud.broker.policy import BrokerPolicy

_log = logging.getLogger(__name__)


class Deliveries:
    """A queue per client with something to tell, and one task for each such client.

    `on_room(client_id)` is called whenever a client's backlog falls to `room` notices.
    """

    def __init__(self, policy: BrokerPolicy, *, room: int, on_room: Callable[[str], None]) -> None:
        self._policy = policy
        self._room = room
        self._on_room = on_room
        self._queues: dict[str, deque[Notice]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, notice: Notice) -> int:
        """Append a notice to its client's queue; returns how many wait there."""
        queue = self._queues.get(notice.client_id)
        if queue is None:
            queue = self._queues[notice.client_id] = deque()
            task = asyncio.get_running_loop().create_task(self._run(notice.client_id, queue))
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

    async def _run(self, client_id: str, queue: deque[Notice]) -> None:
        while queue:
            try:
                await self._call(queue[0])
            except Exception:
                _log.exception("callback for client %r failed", client_id)
            queue.popleft()
            if len(queue) == self._room:
                asyncio.get_running_loop().call_soon(self._on_room, client_id)
        del self._queues[client_id]

    async def _call(self, notice: Notice) -> None:
        match notice:
            case Message(client_id, topic, payload, is_will):
                await self._policy.on_message(client_id, topic, payload, is_will=is_will)
            case Connected(client_id, address):
                await self._policy.on_connect(client_id, address)
            case Disconnected(client_id):
                await self._policy.on_disconnect(client_id)
