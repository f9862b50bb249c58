"""A run as it goes: a dashboard on a terminal, a line now and then elsewhere."""

from collections.abc import Callable
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sim.scenario.results import LIMITED
from sim.scenario.runner import Run
from sim.scenario.series import Sample
from sim.scenario.units import duration

PLAIN_PERIOD: Final = 10.0  # seconds between two plain lines, but for a new phase
MOST_CAUSES: Final = 5  # that are shown
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_SPARKLINE: Final = 60  # samples


class Dashboard:
    """Shows samples on standard error while it is entered."""

    def __init__(self, name: str, console: Console | None = None) -> None:
        self._name = name
        self._live = Live(console=console or Console(stderr=True), auto_refresh=False, transient=True)

    def __enter__(self) -> "Dashboard":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, run: Run, sample: Sample) -> None:
        self._live.update(dashboard(self._name, run, sample), refresh=True)


def dashboard(name: str, run: Run, sample: Sample) -> Group:
    """What a terminal shows of a moment."""
    count = run.scenario.count
    head = Text(f"{name}  {duration(sample.at)}  phase {sample.phase}", style="bold")
    devices = Table.grid(padding=(0, 2))
    for label, number in (
        ("online", sample.online),
        ("upgraded", sample.upgraded),
        ("failed", sample.failed),
    ):
        devices.add_row(label, f"{number}/{count}", ProgressBar(total=count, completed=number, width=40))
    online = Text("online   " + sparkline([each.online for each in run.series.samples], count))
    times = Table.grid(padding=(0, 2))
    for label, found in sample.latencies.items():
        if found is not None:
            times.add_row(label, f"p50 {duration(found[0])}", f"p99 {duration(found[1])}")
    flow = Text(
        f"messages {sample.published} out, {sample.received} in   "
        f"firmware {sample.downloaded_bytes / 1024:.0f} KiB   lag {duration(sample.lag)}   "
        f"processor {sample.cpu:.0%}"
    )
    parts: list[Any] = [head, devices, online, times, flow]
    causes = run.metrics.causes.most_common(MOST_CAUSES)
    parts += [Text(f"{number} times: {cause}", style="yellow") for cause, number in causes]
    parts += [
        Text(f"{'ok  ' if each.passed else 'FAIL'} {each.words}: {each.shown}")
        for each in run.verdicts.values()
    ]
    parts += [Text(problem, style="red") for problem in run.problems]
    parts += [Text(f"{LIMITED}: {reason}", style="red") for reason in run.series.limits()]
    return Group(*parts)


def sparkline(values: list[int], most: int) -> str:
    """The last values as blocks, of which the highest is `most`."""
    last = values[-_SPARKLINE:]
    steps = len(_SPARKS) - 1
    return "".join(_SPARKS[min(steps, value * steps // max(1, most))] for value in last)


def plain_lines(write: Callable[[str], None]) -> Callable[[Run, Sample], None]:
    """A watcher that writes a line at each new phase and every `PLAIN_PERIOD`."""
    last: tuple[str, float] | None = None

    def show(run: Run, sample: Sample) -> None:
        nonlocal last
        if last is not None and last[0] == sample.phase and sample.at - last[1] < PLAIN_PERIOD:
            return
        last = (sample.phase, sample.at)
        write(
            f"{sample.at:.0f} s {sample.phase}: {sample.online} of {run.scenario.count} online, "
            f"{sample.upgraded} upgraded, {sample.failed} failed, "
            f"{sum(run.metrics.causes.values())} failures so far"
        )

    return show
