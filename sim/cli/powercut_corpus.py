"""`cloudsim powercut --corpus`: the laboratory held against mistakes that were planted for it."""

import sys

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from sim.cli.output import echo_json
from sim.faults.powercut.corpus.run import CORPUS, CorpusResult, run_corpus

EXIT_MISSED = 1


def run_corpus_command(context: click.Context, *, as_json: bool) -> None:
    """Run the corpus in place of a sweep; exit status 1 when a defect stays undetected."""
    columns = (TextColumn("planted defects"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("", total=len(CORPUS))
        result = run_corpus(report=lambda _finding: bar.advance(task))
    if as_json:
        echo_json(_facts(result))
    else:
        _print(result)
    context.exit(0 if result.detected == result.total else EXIT_MISSED)


def _facts(result: CorpusResult) -> dict[str, object]:
    return {
        "detected": result.detected,
        "total": result.total,
        "points": result.points,
        "defects": [
            {
                "name": finding.defect.name,
                "where": finding.defect.where,
                "mistake": finding.defect.mistake,
                "detected": finding.detected,
                "control_clean": finding.control.clean,
                "first": None if finding.first is None else str(finding.first.schedule),
                "verdict": None if finding.first is None else finding.first.judgement.verdict.value,
            }
            for finding in result.findings
        ],
    }


def _print(result: CorpusResult) -> None:
    table = Table()
    for title in ("defect", "planted in", "found at", "verdict"):
        table.add_column(title, no_wrap=title != "planted in")
    for finding in result.findings:
        first = finding.first
        table.add_row(
            finding.defect.name,
            finding.defect.where,
            str(first.schedule) if first is not None and finding.detected else "not found",
            first.judgement.verdict.value if first is not None else "",
        )
    Console(soft_wrap=not sys.stdout.isatty()).print(table)
    found, rate = f"{result.detected} of {result.total}", 100 * result.detected / result.total
    click.echo(f"{found} planted defects detected ({rate:.0f} %), {result.points} power cuts")
