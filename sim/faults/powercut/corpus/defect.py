"""A planted defect: a subject with one wrong step, and the same subject without it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sim.faults.powercut.model import Judgement, Verdict
from sim.faults.powercut.sweep import Laboratory, SweepOptions
from sim.faults.powercut.world import Console, Step, Subject, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One mistake.

    `subject(True)` makes the firmware with it, `subject(False)` the control. With no loss of power both do
    the same. `expected` are the verdicts that the mistake leads to, `where` is what it is planted in. `cuts`
    is how many losses of power it takes; `torn` is the part of a torn operation that is done.
    """

    name: str
    mistake: str
    where: str
    expected: frozenset[Verdict]
    subject: Callable[[bool], Subject] = field(repr=False)
    cuts: int = 1
    fine: bool = False
    torn: float = 0.5

    def laboratory(self, *, planted: bool = True) -> Laboratory:
        """A laboratory that cuts it everywhere."""
        subject = _Torn(self.subject(planted), self.torn)
        return Laboratory(subject, SweepOptions(fine=self.fine, nested=None if self.cuts > 1 else 0))


@dataclass(frozen=True, slots=True)
class _Torn:
    """A subject on a supply that tears operations at `fraction`."""

    subject: Subject
    fraction: float

    def world(self) -> World:
        world = self.subject.world()
        world.power.torn_fraction = self.fraction
        return world

    def step(self, world: World, console: Console) -> Step:
        return self.subject.step(world, console)

    def judge(self, world: World) -> Judgement:
        return self.subject.judge(world)

    def partition(self, device: str, offset: int) -> str:
        return self.subject.partition(device, offset)
