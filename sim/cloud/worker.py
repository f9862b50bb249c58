"""The threads that touch the database, so that the event loop never waits for a disk: one that writes, and
one that only looks, for log-ins."""

import asyncio
import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, ParamSpec, Protocol, TypeVar

MAX_BATCH: Final = 256  # events that share one transaction
MAX_WAITING: Final = 1024  # events in line; the rest waits at the brokers

P = ParamSpec("P")
R = TypeVar("R")

_Batch = Callable[[], contextlib.AbstractContextManager[None]]

_log = logging.getLogger(__name__)


class Batches(Protocol):
    """What `Store` gives: a transaction that those inside it join, for writing and for reading."""

    def batch(self) -> contextlib.AbstractContextManager[None]: ...

    def snapshot(self) -> contextlib.AbstractContextManager[None]: ...


class Worker:
    """Runs calls that write one after another, in the order they were made, and beside them those that read.

    It belongs to the event loop that first uses it.
    """

    def __init__(self, batches: Batches) -> None:
        self._writer = _Line("cloud-store", batches.batch)
        self._reader = _Line("cloud-reader", batches.snapshot)
        self._room = asyncio.Semaphore(MAX_WAITING)

    @property
    def waiting(self) -> int:
        """Calls in line for the writing thread."""
        return self._writer.waiting

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A call with transactions of its own."""
        return await self._writer.put(lambda: call(*args, **kwargs), shared=False)

    async def event(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A call whose transaction may become part of a larger one with its neighbours, so that one wait for
        the disk serves all of them. Waits for a place in line; returns when the changes are durable."""
        async with self._room:
            return await self._writer.put(lambda: call(*args, **kwargs), shared=True)

    async def look(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A call that only reads; it sees whatever was durable before, and stands in no line with events."""
        return await self._reader.put(lambda: call(*args, **kwargs), shared=True)

    def close(self) -> None:
        """Finish what is in line, then end the threads."""
        self._writer.close()
        self._reader.close()


class _Job:
    __slots__ = ("call", "error", "future", "loop", "result", "shared")

    def __init__(self, call: Callable[[], Any], loop: asyncio.AbstractEventLoop, shared: bool) -> None:
        self.call = call
        self.loop = loop
        self.shared = shared
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        self.error = None
        try:
            self.result = self.call()
        except Exception as exc:
            self.error = exc


class _Line:
    """One thread and the calls in line for it. Neighbours that are `shared` run inside one `batch`."""

    def __init__(self, name: str, batch: _Batch) -> None:
        self._batch = batch
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._jobs.qsize()

    async def put(self, call: Callable[[], R], *, shared: bool) -> R:
        if self._closed:
            raise RuntimeError("the worker is closed")
        job = _Job(call, asyncio.get_running_loop(), shared)
        self._jobs.put(job)
        result: R = await job.future
        return result

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        taken: deque[_Job | None] = deque()
        while True:
            if not taken:
                taken.append(self._jobs.get())
            with contextlib.suppress(queue.Empty):
                while len(taken) < MAX_BATCH:
                    taken.append(self._jobs.get_nowait())
            first = taken.popleft()
            if first is None:
                return
            together = [first]
            while first.shared and taken and (job := taken[0]) is not None and job.shared:
                together.append(job)
                taken.popleft()
            self._run(together)

    def _run(self, jobs: list[_Job]) -> None:
        jobs = [job for job in jobs if not job.future.cancelled()]
        if len(jobs) == 1 or not self._together(jobs):
            for job in jobs:
                job.run()
        if jobs:
            with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
                jobs[0].loop.call_soon_threadsafe(_settle, jobs)

    def _together(self, jobs: list[_Job]) -> bool:
        """False when none of them counts, whatever it returned."""
        begun = False
        try:
            with self._batch():
                begun = True
                for job in jobs:
                    job.run()
        except Exception as exc:
            if not begun:
                for job in jobs:
                    job.error = exc
                return True
            _log.warning("%d calls are repeated one by one: %s", len(jobs), exc)
            return False
        return True


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
