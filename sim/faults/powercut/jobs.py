"""A whole sweep, in this process or spread over several, with a report in the end whatever happens.

Processes are forked, so that firmware made of closures can be swept, too. Each makes the undisturbed run by
itself, judges its share of the points and sends what it found every `INTERVAL`, so that Ctrl-C costs only
moments of work.
"""

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError
from sim.faults.powercut.model import MOMENTS, Point, Verdict
from sim.faults.powercut.results import Collector, SweepReport, Swept
from sim.faults.powercut.sweep import Laboratory, Plan, SweepOptions
from sim.faults.powercut.world import Subject

MAX_JOBS: Final = 64  # processes
INTERVAL: Final = 0.2  # seconds between two messages of a process, or two calls of `on_progress`
_PATIENCE: Final = 2.0  # seconds that a process has to end when it is told to
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

#: Called with the number of faults that have fired, and of all that are armed, None while only the end shows.
Progress = Callable[[int, int | None], None]

_log = logging.getLogger(__name__)


class UndisturbedError(CloudSdkError):
    """What is to be swept does not even work while the power stays on."""

    code: ClassVar[str] = "powercut.undisturbed"


class WorkerError(CloudSdkError):
    """A process of the sweep has ended before its work was done."""

    code: ClassVar[str] = "powercut.worker"


def run_sweep(
    subject: Subject,
    swept: Swept,
    options: SweepOptions | None = None,
    *,
    jobs: int = 1,
    expected: Verdict = Verdict.RECOVERED_NEW,
    on_progress: Progress | None = None,
) -> SweepReport:
    """Sweep `subject` in `jobs` processes; the report does not depend on how many.

    Ctrl-C (`KeyboardInterrupt`) ends the sweep, not the call: the report says that it was interrupted. Raises
    `UndisturbedError` unless the undisturbed run ends as `expected`: cutting what does not work shows
    nothing. Raises `WorkerError`.
    """
    started = time.monotonic()
    laboratory = Laboratory(subject, options)
    sites, undisturbed = laboratory.dry_run()
    if undisturbed.verdict is not expected:
        raise UndisturbedError(
            f"without any power cut the device ends as {undisturbed.verdict.value}"
            f" ({undisturbed.detail or 'no reason given'}), so that cuts would show nothing: see first that "
            "it works (cloudsim rbl lint)"
        )
    plan = laboratory.plan(sites)
    tally = _Tally(Collector(len(sites)), plan, laboratory.options, on_progress)
    interrupted = False
    try:
        if jobs == 1:
            _alone(laboratory, plan, tally)
        else:
            _spread(laboratory, plan, tally, jobs)
    except KeyboardInterrupt:
        interrupted = True
    return tally.collector.report(
        sites,
        swept=swept,
        options=laboratory.options,
        undisturbed=undisturbed,
        armed=tally.armed,
        interrupted=interrupted,
        seconds=time.monotonic() - started,
    )


class _Tally:
    """What is known so far, of all processes."""

    def __init__(
        self, collector: Collector, plan: Plan, options: SweepOptions, on_progress: Progress | None
    ) -> None:
        self.collector = collector
        self._planned = plan.armed
        self._open_end = options.nested is None
        self._surplus: dict[int, int] = {}  # by part
        self._on_progress = on_progress

    @property
    def armed(self) -> int:
        return self._planned + sum(self._surplus.values())

    def note(self, part: int, surplus: int) -> None:
        self._surplus[part] = surplus
        if self._on_progress is not None:
            self._on_progress(self.collector.fired, None if self._open_end else self.armed)


def _alone(laboratory: Laboratory, plan: Plan, tally: _Tally) -> None:
    def tick() -> None:
        tally.note(0, laboratory.surplus)

    try:
        laboratory.sweep(plan, _ticking(tally.collector.add, tick))
    finally:
        tick()


def _ticking(add: Callable[[Point], None], tick: Callable[[], None]) -> Callable[[Point], None]:
    """`add`, with a `tick` behind it every `INTERVAL`."""
    due = time.monotonic() + INTERVAL

    def report(point: Point) -> None:
        nonlocal due
        add(point)
        if time.monotonic() >= due:
            tick()
            due = time.monotonic() + INTERVAL

    return report


# --- processes ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a process found since its last message. `failure` says why it gives up."""

    found: Collector
    surplus: int
    last: bool = False
    failure: str = ""


@dataclass(frozen=True, slots=True)
class _Worker:
    part: int
    process: BaseProcess
    results: Connection


def _spread(laboratory: Laboratory, plan: Plan, tally: _Tally, jobs: int) -> None:
    workers: list[_Worker] = []
    try:
        for part in range(jobs):
            workers.append(_start(laboratory, plan, part, jobs))
        running = {worker.results: worker for worker in workers}
        while running:
            for results in wait([*running]):
                worker = running[results]  # type: ignore[index]  # `wait` returns what it was given
                batch = _receive(worker)
                tally.collector = tally.collector.merged(batch.found)
                tally.note(worker.part, batch.surplus)
                if batch.last:
                    del running[worker.results]
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(_PATIENCE)
            worker.process.kill()
            worker.results.close()


def _start(laboratory: Laboratory, plan: Plan, part: int, parts: int) -> _Worker:
    context = multiprocessing.get_context("fork")
    results, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(laboratory, plan, part, parts, results, sender), daemon=True
    )
    # No signal may reach the process before it has said what is to become of it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    sender.close()
    return _Worker(part, process, results)


def _receive(worker: _Worker) -> _Batch:
    try:
        batch: _Batch = worker.results.recv()
    except (EOFError, OSError):
        worker.process.join(_PATIENCE)
        status = worker.process.exitcode
        how = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        raise WorkerError(
            f"a process of the sweep ended early ({how}), and its share of the points is missing: "
            "run it again, with fewer --jobs if memory is short"
        ) from None
    if batch.failure:
        raise WorkerError(f"a process of the sweep failed: {batch.failure}")
    return batch


def _work(
    laboratory: Laboratory, plan: Plan, part: int, parts: int, results: Connection, sender: Connection
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    results.close()  # else the pipe would outlive the process that reads it
    operations = plan.total // len(MOMENTS)
    found = Collector(operations)

    def add(point: Point) -> None:
        found.add(point)

    def send(*, last: bool = False, failure: str = "") -> None:
        nonlocal found
        try:
            sender.send(_Batch(found, laboratory.surplus, last, failure))
        except OSError:  # nobody listens any more
            raise SystemExit(1) from None
        found = Collector(operations)

    try:
        laboratory.sweep(plan, _ticking(add, send), part=part, parts=parts)
    except Exception as exc:
        _log.debug("sweep failed", exc_info=True)
        send(failure=f"{type(exc).__name__}: {exc}")
    send(last=True)
