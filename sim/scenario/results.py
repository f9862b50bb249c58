"""What came of a run. Pure; the reports are made of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sim.scenario.measure import SlowDevice, Verdict
from sim.scenario.series import Sample

RESULT_VERSION: Final = 1
LIMITED: Final = "limited by the generator"


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """When a phase began and ended, in seconds since the start of the run."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Result:
    """`limited` says why the numbers are the generator's rather than the cloud's; empty when they are not."""

    scenario: str
    description: str
    seed: int
    began: str  # ISO 8601, UTC
    seconds: float
    interrupted: bool
    problems: tuple[str, ...]
    limited: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    phases: tuple[PhaseSpan, ...]
    samples: tuple[Sample, ...]
    slowest: tuple[SlowDevice, ...]
    summary: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Every threshold holds, nothing went wrong, and the run came to its end."""
        return not self.interrupted and not self.problems and all(each.passed for each in self.verdicts)

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        failed = sum(not each.passed for each in self.verdicts)
        if self.interrupted:
            text = "interrupted"
        elif self.passed:
            text = f"passed, {len(self.verdicts)} thresholds hold"
        else:
            text = f"failed, {failed} of {len(self.verdicts)} thresholds do not hold"
            text += f", {len(self.problems)} problems" if self.problems else ""
        return f"{text}; {LIMITED}" if self.limited else text

    def json(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return {
            "result_version": RESULT_VERSION,
            "passed": self.passed,
            "headline": self.headline,
            **asdict(self),
        }
