"""`cloudsim powercut`: cut the power of an upgrade everywhere, and see what becomes of the board."""

import functools
import math
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cloudsdk.errors import UsageError
from cloudsdk.files import replacing
from sim.cli.main import EXIT_INTERRUPTED
from sim.cli.output import echo_console, echo_json, json_option
from sim.cli.powercut_corpus import run_corpus_command
from sim.cli.powercut_subject import subject_options
from sim.faults.powercut import jobs as sweeps
from sim.faults.powercut.html_report import html_report
from sim.faults.powercut.junit import junit
from sim.faults.powercut.model import Schedule
from sim.faults.powercut.results import SweepReport, Swept, point_facts
from sim.faults.powercut.summary import headline, place, plain, summary, verdict_line
from sim.faults.powercut.sweep import Laboratory, SweepOptions
from sim.faults.powercut.upgrade import Upgrade
from sim.flash.power import TornStyle

POINTS: Final = 1000  # schedules with one cut that are drawn unless told otherwise
NESTED: Final = 200  # and with two: a default run takes about ten seconds
SHOWN: Final = 5  # bad points on a terminal
EXIT_BAD: Final = 1


def sweep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How much is cut, which reaches `command` as one argument `options: SweepOptions`."""

    @click.option("--fine", is_flag=True, help="Cut at page programs and block erases, not at driver calls.")
    @click.option(
        "--torn",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.5,
        show_default=True,
        help="Part of a torn operation that is done.",
    )
    @click.option(
        "--torn-style",
        type=click.Choice([style.value for style in TornStyle]),
        default=TornStyle.PREFIX.value,
        show_default=True,
        help="Its first bytes are done, or some of its bits all over.",
    )
    @click.option(
        "--points",
        type=click.IntRange(0),
        default=POINTS,
        show_default=True,
        help="Cut once, at so many places drawn at random.",
    )
    @click.option(
        "--nested",
        type=click.IntRange(0),
        default=NESTED,
        show_default=True,
        help="Cut twice, the recovery too, at so many places drawn at random.",
    )
    @click.option("--exhaustive", is_flag=True, help="Cut once everywhere; twice only with --nested.")
    @click.option("--nested-exhaustive", is_flag=True, help="Cut once and twice everywhere.")
    @click.option("--seed", type=int, default=1, show_default=True, help="Of what is drawn at random.")
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        fine: bool,
        torn: float,
        torn_style: str,
        points: int,
        nested: int,
        exhaustive: bool,
        nested_exhaustive: bool,
        seed: int,
        **options: Any,
    ) -> Any:
        everywhere = exhaustive or nested_exhaustive
        if (everywhere and _given("points")) or (nested_exhaustive and _given("nested")):
            raise UsageError("what is cut everywhere is not drawn: leave --points and --nested out")
        if exhaustive and not _given("nested"):
            nested = 0
        if not (everywhere or points or nested):
            raise UsageError("nothing is to be cut: give --points or --nested")
        if math.isnan(torn):  # which a range lets pass
            raise UsageError("--torn must be a number from 0 to 1, and less than 1")
        chosen = SweepOptions(
            fine=fine,
            points=None if everywhere else points,
            nested=None if nested_exhaustive else nested,
            seed=seed,
            torn=torn,
            torn_style=TornStyle(torn_style),
        )
        return command(*args, options=chosen, **options)

    return wrapper


def _given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


@click.command()
@subject_options
@sweep_options
@click.option(
    "--jobs",
    type=click.IntRange(1, sweeps.MAX_JOBS),
    default=1,
    show_default=True,
    help="Processes that share the work.",
)
@click.option("--replay", metavar="ID", help="Run one point of a sweep and print its console.")
@click.option("--corpus", is_flag=True, help="Show that planted defects are found, in place of a sweep.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page for people.")
@click.option("--junit", "xml", type=click.Path(path_type=Path), help="Write JUnit XML for CI.")
@json_option
@click.pass_context
def powercut(
    context: click.Context,
    subject: Upgrade,
    swept: Swept,
    options: SweepOptions,
    jobs: int,
    replay: str | None,
    corpus: bool,
    html: Path | None,
    xml: Path | None,
    as_json: bool,
) -> None:
    """Cut the power at flash operations of an upgrade, and judge what becomes of the board.

    The board is a copy of the one in DIR, or a new one. The exit status is 1 when it does not always recover.
    """
    if corpus:
        run_corpus_command(context, as_json=as_json)
    if replay is not None:
        context.exit(_replay(subject, options, Schedule.parse(replay), as_json))
    if html is not None and xml is not None and html.absolute() == xml.absolute():
        raise UsageError("--html and --junit name the same file: give two")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is known is reported
    with ExitStack() as outputs:
        # Opened first: a place that cannot be written is known before the work is done.
        page = outputs.enter_context(replacing(html)) if html else None
        cases = outputs.enter_context(replacing(xml)) if xml else None
        with _progress() as on_progress:
            report = sweeps.run_sweep(subject, swept, options, jobs=jobs, on_progress=on_progress)
        if page:
            page.write(html_report(report).encode())
        if cases:
            cases.write(junit(report))
    if as_json:
        echo_json(report.facts())
    else:
        _print(report)
    context.exit(EXIT_INTERRUPTED if report.interrupted else 0 if report.ok else EXIT_BAD)


def _replay(subject: Upgrade, options: SweepOptions, schedule: Schedule, as_json: bool) -> int:
    console: list[str] = []
    point = Laboratory(subject, options).replay(schedule, console.append if as_json else echo_console)
    judgement = point.judgement
    if as_json:
        echo_json({**point_facts(point), "console": "".join(console)})
    else:
        click.echo(f"\n{schedule}: {verdict_line(judgement)}")
    return 0 if judgement.verdict.good else EXIT_BAD


@contextmanager
def _progress() -> Iterator[sweeps.Progress | None]:
    """A bar on standard error if that is a terminal, drawn on calls only: no thread may see the fork."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("cutting power"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=None)

        def update(fired: int, armed: int | None) -> None:
            bar.update(task, completed=fired, total=armed, refresh=True)

        yield update


def _print(report: SweepReport) -> None:
    for name, value in summary(report):
        click.echo(f"{name + ':':<12}{plain(value)}")
    table = Table()
    table.add_column("verdict")
    table.add_column("one cut", justify="right")
    table.add_column("two cuts", justify="right")
    for count in report.counts:
        style = "bold red" if count.total and not count.verdict.good else None
        table.add_row(count.verdict.value, str(count.one), str(count.two), style=style)
    Console().print(table)
    click.echo(headline(report))
    for bad in report.bad[:SHOWN]:
        click.echo(f"\n{verdict_line(bad.point.judgement)}")
        click.echo(f"  {plain(bad.title)}, {place(bad)}")
        click.echo(f"  {plain(report.swept.replay)} {bad.point.schedule}")
    if report.bad_count > SHOWN:
        click.echo(f"\n{report.bad_count - SHOWN} more: see --json, --html or --junit")
