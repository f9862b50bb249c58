"""Verdicts, expected failures, reports, and the command line, on a suite made for it."""

import json
import threading
from pathlib import Path
from xml.etree import ElementTree as ET

import click
import pytest
from click.testing import CliRunner

from cloudsdk.errors import UsageError
from sim.cli import conform as cli
from sim.conformance.case import NotRunError, Severity, Suite, expect, expect_equal
from sim.conformance.command import Running, command_words
from sim.conformance.reports import badge, junit
from sim.conformance.results import Report, Verdict
from sim.conformance.runner import Plan, run_cases
from sim.conformance.scope import Scope
from sim.conformance.xfails import parse_xfails

SUITE = Suite[Scope]("toy", "Toys")


@SUITE.case("passes", "It passes", "fact 1")
def passes(_scope: Scope) -> None:
    """Because."""


@SUITE.case("fails", "It fails", "fact 2")
def fails(_scope: Scope) -> None:
    """Because."""
    expect_equal(2, 1, "number")


@SUITE.case("should-not-fail", "It fails a little", "fact 3", severity=Severity.SHOULD)
def should(_scope: Scope) -> None:
    """Because."""
    expect(False, "more", "less <\x1b[31m>")


@SUITE.case("breaks", "It breaks", "fact 4")
def breaks(_scope: Scope) -> None:
    """Because."""
    raise KeyError("no such thing")


@SUITE.case("needs-a-hook", "It needs something", "fact 5", needs=["hook"])
def needs(_scope: Scope) -> None:
    """Because."""


@SUITE.case("gives-up", "It cannot be tried", "fact 6")
def gives_up(_scope: Scope) -> None:
    """Because."""
    raise NotRunError("not here")


@SUITE.case("waits", "It waits for ever", "fact 7")
def waits(scope: Scope) -> None:
    """Because."""
    while True:
        scope.until(lambda: False, 60)


def run(*only: str, xfails: dict[str, str] | None = None, timeout: float = 5.0) -> Report:
    plan = Plan("toy", "a toy", xfails=xfails, timeout=timeout)
    return run_cases(SUITE.selected(only), lambda scope: scope, plan)


def found(report: Report) -> dict[str, Verdict]:
    return {result.id: result.verdict for result in report.results}


def test_verdicts() -> None:
    report = run("*[!s]", "passes", xfails={})
    assert found(report) == {
        "passes": Verdict.PASS,
        "should-not-fail": Verdict.FAIL,
        "needs-a-hook": Verdict.NOT_RUN,
        "gives-up": Verdict.NOT_RUN,
    }
    assert not run("fails").ok()
    assert not run("breaks").ok()
    assert run("passes").ok()
    (failure,) = run("fails").results
    assert (failure.wanted, failure.seen, failure.detail) == ("number 1", "2", "wanted number 1, seen 2")
    (error,) = run("breaks").results
    assert (error.verdict, error.detail) == (Verdict.ERROR, "KeyError: 'no such thing'")


def test_a_should_counts_only_when_strict() -> None:
    report = run("passes", "should-not-fail")
    assert report.ok()
    assert not report.ok(strict=True)


def test_nothing_run_is_not_good() -> None:
    assert not run("gives-up", "needs-a-hook").ok()


def test_expected_failures() -> None:
    report = run("passes", "fails", xfails={"fails": "known", "passes": "was known"})
    assert found(report) == {"passes": Verdict.XPASS, "fails": Verdict.XFAIL}
    assert report.results[1].detail.startswith("known; wanted")
    assert not report.ok()
    assert run("passes", "fails", xfails={"fails": "known"}).ok()


@pytest.mark.parametrize("text", ["nobody: x", "fails", "fails:", "fails: a\nfails: b", ": x"])
def test_a_bad_file_of_expected_failures_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_xfails(text, SUITE.ids)


def test_comments_and_reasons() -> None:
    assert parse_xfails("# all\n\nfails: known  # since ever\n", SUITE.ids) == {"fails": "known"}


def test_a_case_that_waits_for_ever_fails_in_time() -> None:
    report = run("waits", timeout=0.3)
    assert found(report) == {"waits": Verdict.FAIL}
    assert report.seconds < 3


def test_a_case_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.conformance.runner._GRACE", 0.1)
    hanging = Suite[Scope]("hanging", "Hanging")
    released = threading.Event()
    hanging.case("hangs", "It hangs", "fact")(lambda _scope: released.wait(30) and None)
    hanging.case("next", "It is next", "fact")(lambda _scope: None)
    report = run_cases(hanging.cases, lambda scope: scope, Plan("hanging", "x", timeout=0.2))
    released.set()
    assert found(report) == {"hangs": Verdict.ERROR, "next": Verdict.PASS}


def test_ctrl_c_leaves_a_report() -> None:
    seen: list[str] = []

    def press(result: object) -> None:
        seen.append("one")

    interrupting = Suite[Scope]("interrupting", "Interrupting")
    interrupting.case("first", "", "fact")(lambda _scope: None)
    interrupting.case("second", "", "fact")(lambda _scope: None)
    interrupting.case("third", "", "fact")(lambda _scope: None)

    def bench(scope: Scope) -> Scope:
        if seen:
            import _thread

            _thread.interrupt_main()
            scope.until(lambda: False, 5)
        return scope

    report = run_cases(interrupting.cases, bench, Plan("interrupting", "x"), press)
    assert report.interrupted
    assert found(report) == {"first": Verdict.PASS, "second": Verdict.NOT_RUN, "third": Verdict.NOT_RUN}


def test_reports() -> None:
    report = run("passes", "fails", "should-not-fail", "breaks", "gives-up")
    suite = ET.fromstring(junit(report)).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "2", "errors": "1", "skipped": "1"}
    image = ET.fromstring(badge(report))  # noqa: S314 - our own
    assert [text.text for text in image.iter("{http://www.w3.org/2000/svg}text")] == ["conform toy", "1/4"]
    facts = json.loads(json.dumps(report.facts()))
    assert facts["counts"] == {"pass": 1, "fail": 2, "error": 1, "not run": 1, "xfail": 0, "xpass": 0}


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    with pytest.raises(UsageError):
        run("nothing-like-it*")


@click.command()
@cli.run_options
@click.pass_context
def toy(context: click.Context, chosen: cli.Chosen) -> None:
    if chosen.listed:
        cli.print_list(SUITE, chosen)
    else:
        cli.run_suite(context, SUITE, chosen, "a toy", lambda scope: scope)


def test_command_line(tmp_path: Path) -> None:
    (tmp_path / "xfails").write_text("fails: known\n")
    only = ["--only", "passes", "--only", "fails"]
    outputs = ["--junit", str(tmp_path / "a.xml"), "--badge", str(tmp_path / "a.svg")]
    runner = CliRunner()
    good = runner.invoke(toy, [*only, *outputs, "--xfails", str(tmp_path / "xfails"), "--json"])
    assert good.exit_code == 0
    assert json.loads(good.stdout)["counts"]["xfail"] == 1
    assert ET.parse(tmp_path / "a.xml").getroot().tag == "testsuites"  # noqa: S314 - our own
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    bad = runner.invoke(toy, only)
    assert (bad.exit_code, "1 pass, 1 fail" in bad.stdout) == (1, True)
    listed = runner.invoke(toy, ["--list", "--json"])
    assert [case["id"] for case in json.loads(listed.stdout)["cases"]] == SUITE.ids
    same = runner.invoke(toy, ["--junit", "x", "--badge", "x"])
    assert isinstance(same.exception, UsageError)


def test_words_of_a_command() -> None:
    values = {"directory": "/a b", "images": ["/x", "/y z"]}
    assert command_words("run --dir={directory} {images}", values) == ["run", "--dir=/a b", "/x", "/y z"]
    for wrong in ("", "'", "run {nothing}", "run {", "run {0}"):
        with pytest.raises(UsageError):
            command_words(wrong, values)


def test_a_command_ends_with_its_case(tmp_path: Path) -> None:
    scope = Scope(10)
    running = Running(scope, ["sh", "-c", "echo here; sleep 60 & wait"], cwd=tmp_path)
    assert scope.until(lambda: running.output == "here\n", 5)
    scope.close()
    assert running.ended
    with pytest.raises(UsageError):
        Running(Scope(1), ["/nowhere/at/all"], cwd=tmp_path)
