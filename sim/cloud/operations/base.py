"""What all operations share."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sim.cloud.blobs import Blobs
from sim.cloud.logs import LogBook
from sim.cloud.model.task_review import TASK_DUE
from sim.cloud.model.vault import Vault
from sim.cloud.model.work import Caller, Scope, Work
from sim.cloud.packing import Packers
from sim.cloud.progress import LiveTransfers
from sim.cloud.store import Store


@dataclass(slots=True)
class Core:
    """One cloud, whoever asks. `clock` gives seconds since 1970; devices reach it under `public_url`. `wake`
    is called, from any thread, when a task became due."""

    store: Store
    blobs: Blobs
    clock: Callable[[], float]
    public_url: str
    vault: Vault
    devices_gone: Callable[[Sequence[str]], None] = lambda _device_ids: None  # after they were deleted
    wake: Callable[[], None] = lambda: None
    packers: Packers = field(default_factory=Packers)
    live: LiveTransfers = field(init=False)
    logs: LogBook = field(init=False)

    def __post_init__(self) -> None:
        self.live = LiveTransfers(self.clock)
        self.logs = LogBook(self.store)

    def now(self) -> int:
        return int(self.clock())

    @contextlib.contextmanager
    def work(self, caller: Caller) -> Iterator[Work]:
        """One transaction: durable when the block ends, undone when it raises."""
        with self.store.transaction() as session:
            yield Work(session, self.now(), caller, self.vault)
            due = session.info.pop(TASK_DUE, False)
        if due:
            self.store.after_commit(self.wake)

    @contextlib.contextmanager
    def look(self, caller: Caller) -> Iterator[Work]:
        """A transaction that changes nothing and waits for nobody."""
        with self.store.reading() as session:
            yield Work(session, self.now(), caller, self.vault)


class BaseOperations:
    """A caller at a cloud."""

    def __init__(self, core: Core, caller: Caller) -> None:
        self.core = core
        self.caller = caller

    @contextlib.contextmanager
    def _work(self, *scopes: Scope) -> Iterator[Work]:
        """One transaction of a caller that has all of `scopes`. Raises `ForbiddenError`."""
        for scope in scopes:
            self.caller.require(scope)
        with self.core.work(self.caller) as work:
            yield work

    @contextlib.contextmanager
    def _look(self, *scopes: Scope) -> Iterator[Work]:
        """As `_work`, for what changes nothing."""
        for scope in scopes:
            self.caller.require(scope)
        with self.core.look(self.caller) as work:
            yield work
