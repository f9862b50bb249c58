"""A result as JUnit XML, which CI systems read: a test case for each threshold, one for the run. Pure."""

from typing import Final
from xml.etree import ElementTree as ET

from sim.scenario.results import LIMITED, Result

SUITE: Final = "cloudsim.fleet"


def junit(result: Result) -> bytes:
    """The XML document, UTF-8."""
    failures = sum(not each.passed for each in result.verdicts)
    broken = [*result.problems, *(["interrupted"] if result.interrupted else [])]
    suite = ET.Element(
        "testsuite",
        name=f"{SUITE}.{result.scenario}",
        tests=str(len(result.verdicts) + 1),
        failures=str(failures),
        errors=str(int(bool(broken))),
        skipped="0",
        time=f"{result.seconds:.3f}",
        timestamp=result.began,
    )
    properties = ET.SubElement(suite, "properties")
    facts = [("seed", str(result.seed)), ("devices", str(result.summary["devices"]))]
    for name, value in [*facts, *((LIMITED, reason) for reason in result.limited)]:
        ET.SubElement(properties, "property", name=name, value=_plain(value))
    classname = f"{SUITE}.{result.scenario}"
    run = ET.SubElement(
        suite, "testcase", classname=classname, name="the run comes to its end", time=f"{result.seconds:.3f}"
    )
    if broken:
        ET.SubElement(run, "error", type="run", message=_plain("; ".join(broken)))
    for verdict in result.verdicts:
        case = ET.SubElement(
            suite, "testcase", classname=classname, name=_plain(verdict.words), time=f"{verdict.at:.3f}"
        )
        if not verdict.passed:
            ET.SubElement(case, "failure", type="threshold", message=_plain(f"measured: {verdict.shown}"))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    document: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _plain(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(char if char.isprintable() else "?" for char in text)
