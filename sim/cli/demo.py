"""`cloudsim demo`: the main job, from end to end, on this machine."""

import contextlib
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cloudsdk.errors import CloudSdkError
from sim.cli.keys import GivenKeys, key_options
from sim.cli.output import echo_console, echo_json, json_option
from sim.demo import STEPS, DemoConfig, Report, run


@click.command()
@click.option(
    "--package",
    "packages",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Upgrade to this .rbl instead of the generated ones; may be repeated, order counts.",
)
@key_options
@click.option("--board", default="iot-board", show_default=True, help="Board name, or a layout file.")
@click.option("--broker", type=click.Choice(["embedded", "mosquitto"]), default="embedded", show_default=True)
@click.option(
    "--data", type=click.Path(path_type=Path), help="Keep cloud and boards here. Default: a temporary one."
)
@click.option("--quiet", is_flag=True, help="Hide the device's console.")
@json_option
def demo(
    packages: tuple[Path, ...],
    given: GivenKeys,
    board: str,
    broker: Any,
    data: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Upgrade a simulated board through a cloud, with a power cut in the first download."""
    # As Ctrl-C: the broker ends and the temporary directory, which holds keys, goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _directory(data) as directory:
        config = DemoConfig(data=directory, packages=packages, keys=given.keys, board=board, broker=broker)
        console: Callable[[str], None] = (lambda _text: None) if quiet or as_json else echo_console
        try:
            report = run(config, console=console, narrate=_ignore if as_json else _narrate)
        except CloudSdkError as exc:
            if as_json:
                step = getattr(exc, "step", None)
                echo_json({"ok": False, "step": step, "code": exc.code, "error": str(exc)})
            raise
    if as_json:
        echo_json({"ok": True, **asdict(report)})
    else:
        _print_summary(report)


@contextlib.contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="cloudsim-") as name:
        yield Path(name)


def _ignore(_step: int, _text: str) -> None:
    pass


def _narrate(step: int, text: str) -> None:
    click.secho(f"[{step}/{len(STEPS)} {STEPS[step - 1]}] {text}", bold=True)


def _print_summary(report: Report) -> None:
    table = Table(title=f"Device {report.sn} runs task version {report.task_version}")
    table.add_column("partition")
    for column in ("old version", "new version", "bytes downloaded", "bytes resumed", "flash operations"):
        table.add_column(column, justify="right")
    for row in report.upgrades:
        table.add_row(
            row.partition,
            row.old_version,
            row.new_version,
            str(row.bytes_downloaded),
            str(row.bytes_resumed),
            str(row.flash_operations),
        )
    Console().print(table)
    click.echo(
        f"power was cut at byte {report.cut_offset}; the server sent on from byte {report.break_point}; "
        f"{report.seconds:.1f} s"
    )
