"""The scheduler: when it looks, what it publishes, what it survives."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from sim.cloud.errors import StorageError
from sim.cloud.messages import Outgoing
from sim.cloud.scheduler import Scheduler
from sim.cloud.service import Due

NOW = 1000
PATIENCE = 10.0  # seconds
NOTHING = Due([], False, None)


@dataclass(slots=True)
class Bench:
    """A scheduler that is answered from a list."""

    answers: list[Due | Exception] = field(default_factory=list)
    looks: "asyncio.Queue[int]" = field(default_factory=asyncio.Queue)
    published: "asyncio.Queue[Outgoing]" = field(default_factory=asyncio.Queue)
    scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self._due, self.published.put, lambda: float(NOW))

    async def _due(self) -> Due:
        self.looks.put_nowait(1)
        answer = self.answers.pop(0) if self.answers else NOTHING
        if isinstance(answer, Exception):
            raise answer
        return answer


def play(script: Callable[[Bench], Awaitable[None]], *answers: Due | Exception) -> None:
    """Run the scheduler with these answers until the script has seen what it wants."""

    async def main() -> None:
        bench = Bench(list(answers))
        running = asyncio.create_task(bench.scheduler.run())
        try:
            async with asyncio.timeout(PATIENCE):
                await script(bench)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(main())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not look by itself."""
    monkeypatch.setattr("sim.cloud.scheduler.LONGEST", 3600.0)


async def _two_messages(bench: Bench) -> None:
    assert [(await bench.published.get()).topic for _ in range(2)] == ["one", "two"]


def test_messages_are_published_and_more_is_fetched(patient: None) -> None:
    play(_two_messages, Due([Outgoing("one", b"")], True, None), Due([Outgoing("two", b"")], False, None))


async def _three_wakes(bench: Bench) -> None:
    for _ in range(3):
        await bench.looks.get()
        threading.Thread(target=bench.scheduler.wake).start()


def test_a_change_in_another_thread_wakes_it(patient: None) -> None:
    play(_three_wakes)


async def _three_looks(bench: Bench) -> None:
    for _ in range(3):
        await bench.looks.get()


def test_it_looks_again_when_something_is_due(patient: None) -> None:
    play(_three_looks, Due([], False, NOW), Due([], False, NOW + 1))


def test_a_database_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sim.cloud.scheduler.LONGEST", 0.1)
    play(_three_looks, StorageError("the disk is full"), ValueError("secret"))
    assert "cloud.storage" in caplog.text
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text
