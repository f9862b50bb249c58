"""`cloudsim board`: make a board directory, boot it, put files into its partitions and take them out."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.files import open_regular, replacing
from sim.board import create_board, open_board
from sim.boot_log import bootloader_flash
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.cli.board_env import env
from sim.cli.board_images import export_images, import_image
from sim.cli.board_key import env_key
from sim.cli.board_layout import import_layout, validate
from sim.cli.board_map import show_map
from sim.cli.board_options import board_directory
from sim.cli.keys import GivenKeys, key_options
from sim.cli.output import echo_console, echo_json, json_option
from sim.flash.facts import BOOTLOADER_KINDS
from sim.flash.fal import table_lines
from sim.flash.layout import load_board, with_bootloader
from sim.flash.power import CutMoment, FlashOperation, PowerCut


class FileTooLargeError(CloudSdkError):
    """A file does not fit the partition it is meant for."""

    code = "board.file-too-large"


def read_input(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of a file the user named. Raises `UsageError` when it cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read(limit)
    except OSError as exc:
        raise UsageError(f"cannot read {str(path)!r}: {exc.strerror}") from exc


@click.group()
def board() -> None:
    """Simulated boards: a directory with one flash image per device."""


@board.command()
@board_directory
@click.option(
    "--board", "layout", default="iot-board", show_default=True, help="Board name, or a layout file."
)
@click.option(
    "--bootloader", type=click.Choice(BOOTLOADER_KINDS), help="Another bootloader than the layout names."
)
@click.option("--app-version", default="1.0.0", show_default=True, help="Version of the application in it.")
@click.option("--blank", is_flag=True, help="Only the bootloader, no application.")
@key_options
@json_option
def new(
    directory: Path,
    layout: str,
    bootloader: str | None,
    app_version: str,
    blank: bool,
    given: GivenKeys,
    as_json: bool,
) -> None:
    """Make a board in DIR: bootloader, application, everything else erased."""
    facts = load_board(layout)
    if bootloader is not None:
        facts = with_bootloader(facts, bootloader)
    keys = given.keys if given.source != "default" else None
    create_board(directory, facts, app_version=None if blank else app_version, keys=keys)
    if as_json:
        devices = [asdict(device) for device in facts.devices]
        partitions = [asdict(entry) for entry in facts.partitions]
        echo_json(
            {
                "directory": str(directory),
                "board": facts.name,
                "bootloader": facts.bootloader.kind,
                "app_version": None if blank else app_version,
                "devices": devices,
                "partitions": partitions,
            }
        )
    else:
        content = "no application" if blank else f"application {app_version}"
        click.echo(f"made a board of layout {facts.name} with {content} in {directory}")


@board.command()
@board_directory
@click.option(
    "--cut-after-writes", type=click.IntRange(min=0), metavar="K", help="Lose power after K flash writes."
)
@json_option
def boot(directory: Path, cut_after_writes: int | None, as_json: bool) -> None:
    """Power the board in DIR on and run its bootloader until the application would start."""
    console: list[str] = []
    write = console.append if as_json else echo_console
    with open_board(directory) as opened, opened.power.recording() as operations:
        if cut_after_writes is not None:
            opened.power.arm(after_writes(cut_after_writes))
        write(bootloader_flash(opened.layout))
        try:
            result = opened.boot(write)
        except PowerCut:
            result = BootResult(BootOutcome.POWER_CUT)
    if as_json:
        echo_json(
            {
                "outcome": result.outcome.value,
                "jump": None
                if result.entry is None
                else {"stack_pointer": result.stack_pointer, "entry": result.entry},
                "diagnosis": result.diagnosis,
                "console": "".join(console),
                "operations": [operation.facts for operation in operations],
            }
        )
        return
    diagnosis = f": {result.diagnosis}" if result.diagnosis else ""
    click.echo(f"outcome: {result.outcome.value}{diagnosis}; {len(operations)} flash operations", err=True)


def after_writes(count: int) -> Callable[[int, FlashOperation], CutMoment | None]:
    """A trigger that lets `count` writes pass and cuts the power before the next one does anything."""
    seen = 0

    def trigger(_index: int, operation: FlashOperation) -> CutMoment | None:
        nonlocal seen
        seen += operation.op == "write"
        return CutMoment.BEFORE if seen > count else None

    return trigger


@board.command()
@board_directory
@click.argument("partition")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def write(directory: Path, partition: str, file: Path, as_json: bool) -> None:
    """Erase the blocks FILE needs at the start of PARTITION and write it there."""
    with open_board(directory) as opened:
        target = opened.partition(partition)
        data = read_input(file, target.size + 1)
        if len(data) > target.size:
            raise FileTooLargeError(
                f"{str(file)!r} does not fit: partition {partition!r} has {target.size} bytes"
            )
        if data:
            target.erase(0, len(data))
            target.write(0, data)
    if as_json:
        echo_json({"directory": str(directory), "partition": partition, "file": str(file), "size": len(data)})
    else:
        click.echo(f"wrote {len(data)} bytes to partition {partition}")


@board.command()
@board_directory
@click.argument("partition")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def read(directory: Path, partition: str, file: Path, as_json: bool) -> None:
    """Read the whole of PARTITION into FILE."""
    with open_board(directory) as opened:
        source = opened.partition(partition)
        data = source.read(0, source.size)
    with replacing(file) as output:
        output.write(data)
    if as_json:
        echo_json({"directory": str(directory), "partition": partition, "file": str(file), "size": len(data)})
    else:
        click.echo(f"read {len(data)} bytes from partition {partition}")


@board.command()
@board_directory
@json_option
def partitions(directory: Path, as_json: bool) -> None:
    """Print the FAL partition table as the bootloader prints it."""
    with open_board(directory) as opened:
        entries = opened.layout.partitions
    if as_json:
        echo_json({"board": opened.layout.name, "partitions": [asdict(entry) for entry in entries]})
        return
    for line in table_lines(entries):
        click.echo(line)


for command in (import_layout, validate, export_images, import_image, show_map, env, env_key):
    board.add_command(command)
