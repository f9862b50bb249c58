"""What can be wrong with a scenario before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cloudsdk.errors import CloudSdkError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing in a scenario file that cannot be. `line` counts from 1; None where no line is to blame."""

    source: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}, line {self.line}"
        return f"{place}: {self.message}"


class ScenarioError(CloudSdkError):
    """A scenario file that cannot be used; all that is wrong with it is in `problems`."""

    code: ClassVar[str] = "scenario.file"
    exit_status: ClassVar[int] = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        more = f" (and {len(problems) - 1} more: cloudsim scenario validate)" if len(problems) > 1 else ""
        super().__init__(f"{problems[0]}{more}")
        self.problems = tuple(problems)


class ScenarioRunError(CloudSdkError):
    """A scenario that cannot run here and now."""

    code = "scenario.run"


class ReferenceCloudError(ScenarioRunError):
    """The reference cloud of a run did not start, or has ended."""

    code = "scenario.cloud"


class BehaviourError(ScenarioRunError):
    """A behaviour of the user's own that cannot be loaded."""

    code = "scenario.behaviour"
    exit_status = 2
