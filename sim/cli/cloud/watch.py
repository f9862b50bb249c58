"""Watching a task until nothing more will happen by itself."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sim.cli.cloud.access import Admin

POLL: Final = 0.5  # seconds between two looks
EXIT_NOT_DONE: Final = 1
_ENDED: Final = ("done", "stopped", "cancelled")
_BAR: Final = 40  # characters
_COLOURS: Final = {"done": "green", "failed": "red", "downloading": "cyan", "installing": "blue"}


def watch_task(admin: Admin, task_id: int, as_json: bool) -> int:
    """Show the task until it is done, stopped or cancelled; returns the exit status.

    On a terminal there is a bar for each state, in a pipe a line (with `as_json` an object) for each change.
    """
    looks = _looks(admin, task_id)
    info: Mapping[str, Any] = {}
    if as_json or not sys.stdout.isatty():
        shown = None
        for info in looks:
            line = json.dumps(_summary(info)) if as_json else _line(info)
            if line != shown:
                click.echo(line)
            shown = line
    else:
        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            for info in looks:
                live.update(_bars(info), refresh=True)
    return 0 if info["counts"]["done"] == info["device_count"] else EXIT_NOT_DONE


def _looks(admin: Admin, task_id: int) -> Iterator[Mapping[str, Any]]:
    while True:
        info = admin.show_task(task_id)
        yield info
        if info["state"] in _ENDED and not _under_way(info):
            return
        time.sleep(POLL)


def _under_way(info: Mapping[str, Any]) -> bool:
    """Devices of a cancelled task that cannot be called back."""
    return info["state"] == "cancelled" and bool(info["counts"]["downloading"] + info["counts"]["installing"])


def _summary(info: Mapping[str, Any]) -> dict[str, Any]:
    names = ("id", "state", "reason", "stage", "device_count", "counts", "percent", "bytes_sent")
    return {name: info[name] for name in names}


def _line(info: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in info["counts"].items() if count)
    return f"task {info['id']}: {_headline(info)}: {counts}"


def _headline(info: Mapping[str, Any]) -> str:
    stages = len(info["rollout"]["stages"])
    stage = f", stage {info['stage']} of {stages}" if stages > 1 else ""
    reason = f" ({info['reason']})" if info["reason"] else ""
    return f"{info['state']}{reason}{stage}, {info['percent']} %"


def _bars(info: Mapping[str, Any]) -> Group:
    table = Table(box=None, show_header=False, pad_edge=False)
    for state, count in info["counts"].items():
        colour = _COLOURS.get(state, "white")
        bar = ProgressBar(
            max(info["device_count"], 1), count, width=_BAR, complete_style=colour, finished_style=colour
        )
        table.add_row(Text(state), bar, Text(str(count), justify="right"))
    rate = f", {info['rate'] / 1000:.0f} kB/s" if info["rate"] else ""
    left = f", about {info['eta']} s left" if info["eta"] is not None else ""
    return Group(Text(f"task {info['id']}: {_headline(info)}{rate}{left}"), table)
