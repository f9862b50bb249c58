"""The sweep: one undisturbed run, and at each of its flash operations the states that a cut leaves.

A loss of power leaves nothing but flash, so the state behind a cut is made from a copy of the world and the
one operation; nothing is run twice to get there. From each such state the subject is started until it comes
to rest. States that were seen before are not run again: two worlds in the same state have the same future.
"""

import random
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from sim.faults.powercut.model import (
    MOMENTS,
    Cut,
    Judgement,
    Point,
    Schedule,
    ScheduleError,
    Site,
    Verdict,
)
from sim.faults.powercut.recall import Recall
from sim.faults.powercut.world import POWER_ON, Console, Step, Subject, World
from sim.flash.power import CutMoment, FlashOperation, PowerCut, TornStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """How much is cut.

    `points` and `nested` are numbers of schedules with one and with two cuts, drawn with `seed`; None: all.
    `torn` is the part (0 to 1) of a torn operation that is done; None: as the subject's power supply has it.
    `torn_style` is how it looks.
    """

    fine: bool = False  # at page programs and block erases instead of driver calls
    points: int | None = None
    nested: int | None = 0
    seed: int = 1
    torn: float | None = None
    torn_style: TornStyle = TornStyle.PREFIX
    most_steps: int = 32  # of a recovery; one that takes more does not converge


class EndlessError(Exception):
    """Raised by a step that goes on for ever."""


class _VisitError(BaseException):
    """The laboratory's own code failed while firmware ran."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Laboratory:
    """Cuts one subject.

    `surplus` counts the second cuts made so far beyond those a plan can know of: every one when all are asked
    for; it is negative when recoveries had fewer places than second cuts were drawn for them.
    """

    def __init__(self, subject: Subject, options: SweepOptions | None = None) -> None:
        self.subject = subject
        self.options = options or SweepOptions()
        self.surplus = 0
        self._recall = Recall(lambda world: self._step(world, _silent))
        self._second = _Memory[tuple[tuple[Cut, Judgement], ...]](_REMEMBERED)

    def dry_run(self) -> tuple[list[Site], Judgement]:
        """The operations of the undisturbed run, and how it ends."""
        sites: list[Site] = []

        def note(world: World, index: int, operation: FlashOperation) -> None:
            place = self.subject.partition(operation.device, operation.offset)
            bare = replace(operation, data=b"")
            sites.append(Site(index, bare, world.stage or "bootloader", place))

        return sites, self._run(self._world(), note)

    def plan(self, sites: list[Site]) -> "Plan":
        """Which of the points of a dry run are cut."""
        options = self.options
        total = len(sites) * len(MOMENTS)
        source = random.Random(options.seed)
        chosen = (
            range(total)
            if options.points is None
            else sorted(source.sample(range(total), k=min(options.points, total)))
        )
        nested = (
            Counter(source.choices(range(total), k=options.nested)) if options.nested and total else Counter()
        )
        return Plan(frozenset(chosen), nested, total)

    def sweep(self, plan: "Plan", report: Callable[[Point], None], *, part: int = 0, parts: int = 1) -> None:
        """Judge the points of `plan`, in the order of the run, and hand each to `report`.

        Of `parts` equal sweeps that share the work this is number `part`.
        """

        def visit(world: World, index: int, operation: FlashOperation) -> None:
            if index // _STRIPE % parts != part:
                return
            for number, moment in enumerate(MOMENTS, start=index * len(MOMENTS)):
                if number in plan.first:
                    self._first(_cut(world, operation, moment), Cut(index, moment), report)
                if self.options.nested is None or plan.nested[number]:
                    twin = _cut(world, operation, moment)
                    self._nested(twin, Cut(index, moment), plan.nested[number], report)

        self._run(self._world(), visit)

    def replay(self, schedule: Schedule, console: Console) -> Point:
        """Run one schedule from the first power on, with everything it writes to the console.

        Raises `ScheduleError` when the run has no such operation.
        """
        world = self._world()
        for cut in schedule.cuts:

            def trigger(index: int, _: FlashOperation, cut: Cut = cut) -> CutMoment | None:
                return cut.moment if index == cut.index else None

            world.power.arm(trigger, fine=schedule.fine)
            try:
                self._settle(world, console)
            except PowerCut as exc:
                console(f"\n--- {exc} ---\n")
                world.lose_power()
            else:
                raise ScheduleError(f"{schedule}: the run has ended before operation {cut.index}")
        world.power.disarm()
        return Point(schedule, self._settle(world, console))

    # --- points -------------------------------------------------------------------------------------

    def _first(self, world: World, cut: Cut, report: Callable[[Point], None]) -> None:
        report(Point(Schedule((cut,), self.options.fine), self._future(world)))

    def _nested(self, world: World, first: Cut, count: int, report: Callable[[Point], None]) -> None:
        """Cut the recovery: `count` times at random, everywhere when all are asked for."""
        if self.options.nested is None:
            state = world.state()
            found = self._second.get(state)
            if found is None:
                found = self._second.put(state, tuple(self._everywhere(world)))
        else:
            found = tuple(self._drawn(world, random.Random(f"{self.options.seed} {first}"), count))
        self.surplus += len(found) - count
        for cut, judgement in found:
            report(Point(Schedule((first, cut), self.options.fine), judgement))

    def _everywhere(self, world: World) -> Iterator[tuple[Cut, Judgement]]:
        found: list[tuple[Cut, Judgement]] = []

        def visit(world: World, index: int, operation: FlashOperation) -> None:
            for moment in MOMENTS:
                found.append((Cut(index, moment), self._future(_cut(world, operation, moment))))

        self._run(world, visit)
        return iter(found)

    def _drawn(self, world: World, source: random.Random, count: int) -> Iterator[tuple[Cut, Judgement]]:
        """A sample of the recovery's cuts, kept while it runs (reservoir sampling)."""
        kept: list[tuple[Cut, World]] = []
        seen = 0

        def visit(world: World, index: int, operation: FlashOperation) -> None:
            nonlocal seen
            for moment in MOMENTS:
                seen += 1
                place = len(kept) if len(kept) < count else source.randrange(seen)
                if place < count:
                    kept[place : place + 1] = [(Cut(index, moment), _cut(world, operation, moment))]

        self._run(world, visit)
        return ((cut, self._future(twin)) for cut, twin in kept)

    def _world(self) -> World:
        world = self.subject.world()
        if self.options.torn is not None:
            world.power.torn_fraction = self.options.torn
            world.power.torn_style = self.options.torn_style
        return world

    # --- runs ---------------------------------------------------------------------------------------

    def _run(self, world: World, visit: "_Visit") -> Judgement:
        """Run to the end, with `visit` called before each operation."""

        def watch(index: int, operation: FlashOperation) -> CutMoment | None:
            try:
                visit(world, index, operation)
            except Exception as exc:  # not the firmware's: nothing below may take it for that
                raise _VisitError(exc) from exc
            return None

        world.power.arm(watch, fine=self.options.fine)
        try:
            return self._settle(world, _silent)
        except _VisitError as exc:
            raise exc.cause from None
        finally:
            world.power.disarm()

    def _settle(self, world: World, console: Console) -> Judgement:
        starts = 0
        for _ in range(self.options.most_steps):
            starts += world.stage == POWER_ON
            if (verdict := self._step(world, console)) is not None:
                return replace(verdict, starts=starts)
        return Judgement(Verdict.NO_CONVERGENCE, f"not at rest after {starts} starts", starts)

    def _future(self, world: World) -> Judgement:
        """What becomes of this world; steps that an earlier one foretells are not run."""
        starts = 0
        for _ in range(self.options.most_steps):
            starts += world.stage == POWER_ON
            if (end := self._recall.step(world)) is not None:
                return replace(end, starts=starts)
        return Judgement(Verdict.NO_CONVERGENCE, f"not at rest after {starts} starts", starts)

    def _step(self, world: World, console: Console) -> Judgement | None:
        """One step; the judgement when it was the last."""
        try:
            if self.subject.step(world, console) is Step.AGAIN:
                return None
        except EndlessError as exc:
            return Judgement(Verdict.NO_CONVERGENCE, str(exc))
        except Exception as exc:  # firmware that dies: a finding, not the end of the sweep
            return Judgement(Verdict.BRICK, f"{type(exc).__name__}: {exc}")
        return self.subject.judge(world)


@dataclass(frozen=True, slots=True)
class Plan:
    """Points by number: site times three plus the moment's place in `MOMENTS`.

    `nested` says how many second cuts are drawn behind a point.
    """

    first: frozenset[int]
    nested: Counter[int]
    total: int

    @property
    def armed(self) -> int:
        """Schedules that will be run, without those behind which every second cut is made."""
        return len(self.first) + self.nested.total()


_Value = TypeVar("_Value")
_Visit = Callable[[World, int, FlashOperation], None]
_REMEMBERED: Final = 64  # recoveries of which every cut is known
_STRIPE: Final = 64  # operations that one of several sweeps takes in a row: neighbours share states


def _silent(_text: str) -> None:
    pass


def _cut(world: World, operation: FlashOperation, moment: CutMoment) -> World:
    """The world behind a cut of `operation`, which is about to begin in `world`."""
    twin = world.fork()
    twin.devices[operation.device].carry_out(operation, moment)
    twin.lose_power()
    return twin


class _Memory(Generic[_Value]):
    """Values by state; the least recently used ones are forgotten."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, _Value] = OrderedDict()

    def get(self, state: Hashable) -> _Value | None:
        value = self._values.get(state)
        if value is not None:
            self._values.move_to_end(state)
        return value

    def put(self, state: Hashable, value: _Value) -> _Value:
        self._values[state] = value
        self._values.move_to_end(state)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value
