"""`cloudsim fleet run SCENARIO`: the run, what is seen of it, and its results."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from cloudsdk.errors import UsageError
from sim.cli.output import echo_json
from sim.fleet.events import FleetEvent

EXIT_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class ScenarioCall:
    """What the command line asks for. `metrics_port` 0 takes any free port."""

    name: str
    report: Path | None
    metrics_port: int | None
    tell: Callable[[FleetEvent], None] | None
    as_json: bool


def run_scenario(call: ScenarioCall, on_loop: Callable[[Any], Any]) -> None:
    """Run, report, and exit: 0 when it passed, 1 when not, 130 after Ctrl-C. `on_loop` runs a coroutine."""
    from sim.scenario.cloud import KEY_VARIABLE
    from sim.scenario.reports import Reports
    from sim.scenario.runner import Run, RunOptions
    from sim.scenario.source import find_scenario, load_scenario

    path = find_scenario(call.name)
    found = load_scenario(path)
    with contextlib.ExitStack() as stack:
        reports = stack.enter_context(Reports.into(call.report)) if call.report is not None else None
        watchers = [stack.enter_context(_watching(call, found.name))]
        if call.metrics_port is not None:
            from sim.scenario.prometheus import metrics_endpoint

            endpoint = stack.enter_context(metrics_endpoint(call.metrics_port))
            click.echo(f"metrics: {endpoint.url}", err=True)
            watchers.append(endpoint.watch)

        def tell(event: FleetEvent) -> None:
            for sink in (call.tell, reports.event if reports is not None else None):
                if sink is not None:
                    sink(event)

        def watch(run: Run, sample: Any) -> None:
            for watcher in watchers:
                watcher(run, sample)

        key = os.environ.get(KEY_VARIABLE)
        options = RunOptions(path.parent, product_key=key, tell=tell, watch=watch)
        result = on_loop(_run(lambda: Run(found, options)))
        if reports is not None:
            reports.write(result)
    if call.as_json:
        echo_json(result.json())
    else:
        for line in _lines(result):
            click.echo(line)
    if not result.passed:
        raise click.exceptions.Exit(EXIT_INTERRUPTED if result.interrupted else 1)


async def _run(make: Callable[[], Any]) -> Any:
    running = make()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.interrupt)
    return await running.run()


@contextlib.contextmanager
def _watching(call: ScenarioCall, name: str) -> Iterator[Callable[[Any, Any], None]]:
    """A dashboard on a terminal, else a line now and then; on standard error."""
    from sim.scenario.dashboard import Dashboard, plain_lines

    if not sys.stderr.isatty():
        yield plain_lines(lambda line: click.echo(line, err=True))
        return
    with Dashboard(name) as dashboard:
        yield dashboard.show


def _lines(result: Any) -> Iterator[str]:
    yield f"{result.scenario}: {result.headline}"
    for verdict in result.verdicts:
        yield f"  {'ok  ' if verdict.passed else 'FAIL'}  {verdict.words}: {verdict.shown}"
    for problem in result.problems:
        yield f"  problem: {problem}"
    for reason in result.limited:
        yield f"  limited by the generator: {reason}"


def refuse(options: dict[str, Any]) -> None:
    """Raises `UsageError` when options are given that a scenario settles itself."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)}: that is for a run without a scenario; the file says it")
