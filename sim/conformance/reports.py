"""A report as JUnit XML and as a badge, and a suite as a page. Pure."""

from typing import Any, Final
from xml.etree import ElementTree as ET

from sim.conformance.case import Case, Suite
from sim.conformance.results import Report, Verdict

_GREEN: Final = "#2e7d32"
_RED: Final = "#c62828"
_GREY: Final = "#616161"
_CHARACTER: Final = 6.6  # width of one character of the badge's font in pixels, about
_MARGIN: Final = 6  # pixels beside a text of the badge


def junit(report: Report) -> bytes:
    """The XML document, UTF-8. An expected failure counts as skipped, an unexpected pass as a failure."""
    name = f"cloudsim.conform.{report.suite}"
    counts = report.counts
    suite = ET.Element(
        "testsuite",
        name=name,
        tests=str(len(report.results)),
        failures=str(counts[Verdict.FAIL] + counts[Verdict.XPASS]),
        errors=str(counts[Verdict.ERROR]),
        skipped=str(counts[Verdict.NOT_RUN] + counts[Verdict.XFAIL]),
        time=f"{report.seconds:.3f}",
    )
    for result in report.results:
        case = ET.SubElement(suite, "testcase", classname=name, name=result.id, time=f"{result.seconds:.3f}")
        match result.verdict:
            case Verdict.FAIL | Verdict.XPASS:
                kind = "failure"
            case Verdict.ERROR:
                kind = "error"
            case Verdict.NOT_RUN | Verdict.XFAIL:
                kind = "skipped"
            case _:
                continue
        found = ET.SubElement(case, kind, message=_plain(result.detail), type=str(result.severity))
        found.text = _plain(f"{result.title} ({result.source})")
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _plain(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(character if character.isprintable() else "?" for character in text)


def badge(report: Report) -> bytes:
    """An SVG image: the suite, and how many of the cases that were run passed."""
    ran = len(report.results) - report.counts[Verdict.NOT_RUN]
    left, right = f"conform {report.suite}", f"{report.counts[Verdict.PASS]}/{ran}"
    colour = _GREY if report.interrupted or not ran else _GREEN if report.ok() else _RED
    widths = [round(len(text) * _CHARACTER) + 2 * _MARGIN for text in (left, right)]
    total = sum(widths)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="20" role="img"'
        f' aria-label="{left}: {right}">',
        f'<rect width="{widths[0]}" height="20" fill="#424242"/>',
        f'<rect x="{widths[0]}" width="{widths[1]}" height="20" fill="{colour}"/>',
        '<g fill="#fff" font-family="Verdana,sans-serif" font-size="11" text-anchor="middle">',
        f'<text x="{widths[0] / 2:g}" y="14">{left}</text>',
        f'<text x="{widths[0] + widths[1] / 2:g}" y="14">{right}</text>',
        "</g></svg>",
    ]
    return ("\n".join(parts) + "\n").encode()


def page(suite: Suite[Any]) -> str:
    """The suite as Markdown: every case with its source and reason."""
    lines = [f"# {suite.title}", ""]
    for case in suite.cases:
        lines += [f"## {case.id}", "", f"{case.title}. *{case.severity}*, {case.source}{_needs(case)}.", ""]
        lines += [case.reason, ""]
    return "\n".join(lines)


def _needs(case: Case[Any]) -> str:
    return f"; needs {', '.join(case.needs)}" if case.needs else ""
