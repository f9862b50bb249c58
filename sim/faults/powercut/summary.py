"""A sweep in words, for terminal, page and CI alike."""

import re
from typing import Final

from sim.faults.powercut.model import Judgement, Verdict
from sim.faults.powercut.results import BadPoint, SweepReport

_BREAKS: Final = re.compile("[\t\n\r]+")
#: What neither a terminal nor XML 1.0 takes: control characters, surrogates, non-characters.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

MEANINGS: Final = {
    Verdict.RECOVERED_NEW: "runs the new firmware, and the cloud knows",
    Verdict.RECOVERED_OLD: "runs the old firmware, and the cloud knows",
    Verdict.NO_CONVERGENCE: "never comes to rest",
    Verdict.WRONG_IMAGE: "whole, but not what device and cloud believe",
    Verdict.SILENT_CORRUPTION: "damaged, and nobody noticed",
    Verdict.BRICK: "no application starts any more",
}


def plain(text: str) -> str:
    """`text` in one line, with U+FFFD for everything that cannot be printed."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub(" ", text))


def headline(report: SweepReport) -> str:
    """The result in one sentence."""
    if not report.armed:
        return "there is nothing to cut: the device does not use its flash"
    found = f"{report.bad_count} of {report.fired} power cuts end badly"
    if not report.bad_count:
        found = f"all {report.fired} power cuts end well"
    if report.interrupted:
        return f"interrupted: {found} so far"
    if not report.complete:
        return f"{found}, but {report.armed} were armed: the device does not do the same every time"
    return found


def summary(report: SweepReport) -> list[tuple[str, str]]:
    """What was swept and how, as names and values."""
    swept, options = report.swept, report.options
    packages = ", ".join(f"{each.name} {each.version} ({each.size} bytes)" for each in swept.packages)
    level = "page programs and block erases" if options.fine else "driver calls"
    torn = "" if options.torn is None else f"{options.torn:g} of a torn operation is done"
    drawn = options.points is not None or options.nested
    lines = [
        ("board", swept.board),
        ("bootloader", swept.bootloader),
        ("profile", swept.profile),
        ("packages", packages),
        ("operations", f"{report.operations} {level}"),
        ("torn", torn),
        ("seed", str(options.seed) if drawn else ""),
        ("faults", f"{report.armed} armed, {report.fired} fired"),
        ("time", f"{report.seconds:.1f} s"),
    ]
    return [(name, value) for name, value in lines if value]


def verdict_line(judgement: Judgement) -> str:
    """A verdict and its reason."""
    return plain(": ".join(filter(None, (judgement.verdict.value, judgement.detail))))


def place(bad: BadPoint) -> str:
    """The operation that the first cut of a bad point hits."""
    hit = bad.site.operation
    moment = bad.point.schedule.cuts[0].moment.value
    return f"{moment} {hit.op} of {hit.length} bytes at {hit.offset:#x} of {hit.device}"
