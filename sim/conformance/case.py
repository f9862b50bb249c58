"""A case, the suite it belongs to, and how a case says what it found. Pure."""

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, NoReturn, TypeVar

from cloudsdk.errors import CloudSdkError, UsageError

MAX_SHOWN: Final = 200  # characters of a seen value in a report

Bench = TypeVar("Bench")
Run = Callable[[Bench], None]


class ViolationError(CloudSdkError):
    """The subject did something else than the case wants."""

    code = "conformance.violation"

    def __init__(self, wanted: str, seen: object) -> None:
        self.wanted = wanted
        self.seen = shown(seen)
        super().__init__(f"wanted {wanted}, seen {self.seen}")


class NotRunError(CloudSdkError):
    """The case cannot be tried here; the message says why."""

    code = "conformance.not-run"


class OvertimeError(CloudSdkError):
    """The case has used up its time."""

    code = "conformance.overtime"


class Severity(StrEnum):
    """What a failure means: devices break, or an engineer is surprised."""

    MUST = "must"
    SHOULD = "should"


@dataclass(frozen=True, slots=True)
class Case(Generic[Bench]):
    """`source` names the fact that the case rests on, `reason` why it matters. `needs` names abilities that
    not every subject offers; without them the case is not run."""

    id: str
    title: str
    source: str
    severity: Severity
    reason: str
    needs: tuple[str, ...]
    run: Run[Bench]


class Suite(Generic[Bench]):
    """Cases in the order in which they were defined."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.cases: list[Case[Bench]] = []

    def case(
        self,
        case_id: str,
        title: str,
        source: str,
        *,
        severity: Severity = Severity.MUST,
        needs: Sequence[str] = (),
    ) -> Callable[[Run[Bench]], Run[Bench]]:
        """Add the function to the suite; its docstring is the reason."""

        def add(run: Run[Bench]) -> Run[Bench]:
            if case_id in self.ids:
                raise ValueError(f"two cases with the id {case_id}")
            reason = " ".join((run.__doc__ or "").split())
            self.cases.append(Case(case_id, title, source, severity, reason, tuple(needs), run))
            return run

        return add

    @property
    def ids(self) -> list[str]:
        return [case.id for case in self.cases]

    def selected(self, patterns: Sequence[str]) -> "list[Case[Bench]]":
        """Cases whose id fits one of the shell patterns; all without a pattern. Raises `UsageError` for a
        pattern that fits none."""
        for pattern in patterns:
            if not fnmatch.filter(self.ids, pattern):
                raise UsageError(f"no case fits {pattern!r}: see --list")
        return [
            case
            for case in self.cases
            if not patterns or any(fnmatch.fnmatchcase(case.id, pattern) for pattern in patterns)
        ]


def shown(value: object) -> str:
    """`value` as one short printable line."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def violated(wanted: str, seen: object) -> NoReturn:
    raise ViolationError(wanted, seen)


def expect(holds: Any, wanted: str, seen: object) -> None:
    """Raises `ViolationError` unless `holds`."""
    if not holds:
        raise ViolationError(wanted, seen)


def expect_equal(seen: object, wanted: object, what: str) -> None:
    """Raises `ViolationError` unless both are equal; `what` names the thing compared."""
    if seen != wanted:
        raise ViolationError(f"{what} {shown(wanted)}", seen)
