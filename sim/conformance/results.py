"""What a run of a suite found. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sim.conformance.case import Severity


class Verdict(StrEnum):
    """`xfail` is a failure that the file of expected failures names, `xpass` a pass that it names."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    ERROR = "error"
    NOT_RUN = "not run"
    XFAIL = "xfail"
    XPASS = "xpass"


@dataclass(frozen=True, slots=True)
class Result:
    """`detail` says what was wanted and seen, what went wrong, or why the case was not run."""

    id: str
    title: str
    source: str
    severity: Severity
    verdict: Verdict
    detail: str = ""
    wanted: str = ""
    seen: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    suite: str
    subject: str
    results: tuple[Result, ...]
    seconds: float
    interrupted: bool = False
    counts: Mapping[Verdict, int] = field(init=False)

    def __post_init__(self) -> None:
        found = Counter(result.verdict for result in self.results)
        object.__setattr__(self, "counts", {verdict: found[verdict] for verdict in Verdict})

    def ok(self, *, strict: bool = False) -> bool:
        """True if something ran and nothing is wrong. Failures of "should" count when `strict`."""
        ran = sum(self.counts.values()) - self.counts[Verdict.NOT_RUN]
        return ran > 0 and not any(self._is_bad(result, strict=strict) for result in self.results)

    @staticmethod
    def _is_bad(result: Result, *, strict: bool) -> bool:
        if result.verdict is Verdict.FAIL:
            return strict or result.severity is Severity.MUST
        return result.verdict in (Verdict.ERROR, Verdict.XPASS)

    def facts(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "suite": self.suite,
            "subject": self.subject,
            "ok": self.ok(),
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "counts": {str(verdict): count for verdict, count in self.counts.items()},
            "results": [{**asdict(result), "seconds": round(result.seconds, 3)} for result in self.results],
        }
