"""A planted defect: a subject with one wrong step, and the same subject without it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sim.faults.powercut.model import Verdict
from sim.faults.powercut.sweep import Laboratory, SweepOptions
from sim.faults.powercut.world import Subject


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
        options = SweepOptions(fine=self.fine, torn=self.torn, nested=None if self.cuts > 1 else 0)
        return Laboratory(self.subject(planted), options)
