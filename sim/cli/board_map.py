"""`cloudsim board map`: draw what is where on the flash of a board."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from string import ascii_letters
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloudsdk.files import replacing
from sim.board import open_board
from sim.cli.board_options import board_directory
from sim.cli.chip_svg import chip_svg
from sim.cli.chip_text import device_text, firmware_text, human_size
from sim.cli.output import echo_json, json_option
from sim.flash.chip_map import ChipMap, Region, chip_map

MAX_BAR: Final = 120  # columns
_COLOURS: Final = ("cyan", "green", "yellow", "magenta", "blue", "red")
_SHADES: Final = "░▒▓█"  # nothing used, up to a half, more, all


@click.command("map")
@board_directory
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Draw it into FILE, too.")
@json_option
def show_map(directory: Path, svg: Path | None, as_json: bool) -> None:
    """Show what is where on the flash of the board in DIR: partitions, what is used, firmware, wear."""
    with open_board(directory) as opened:
        chips = chip_map(opened.partitions)
    if svg is not None:
        with replacing(svg) as file:
            file.write(chip_svg(chips).encode("utf-8"))
    if as_json:
        echo_json(asdict(chips))
    else:
        _draw(chips, Console(highlight=False))


def shares(lengths: Sequence[int], cells: int) -> list[int]:
    """`cells` split in proportion to `lengths`, but at least one for each."""
    result = [1] * len(lengths)
    total = sum(lengths)
    wanted = [length * cells / total for length in lengths]
    for _ in range(cells - len(lengths)):
        neediest = max(range(len(lengths)), key=lambda index: wanted[index] - result[index])
        result[neediest] += 1
    return result


def _draw(chips: ChipMap, console: Console) -> None:
    for number, device in enumerate(chips.devices):
        if number:
            console.print()
        console.print(Text(f"{device.name}  ", style="bold").append(device_text(device), style="default"))
        widths = shares([region.length for region in device.regions], min(console.width, MAX_BAR))
        styles = list(_styles(device.regions))
        bar, marks = Text(no_wrap=True), Text(no_wrap=True)
        table = Table(box=None, pad_edge=False, header_style="")
        for column in ("", "partition", "offset"):
            table.add_column(column, no_wrap=True)
        for column in ("length", "used", "wear"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("firmware")
        for region, width, (mark, style) in zip(device.regions, widths, styles, strict=True):
            bar.append(_shaded(region, width), style)
            marks.append(mark.ljust(width), style)
            table.add_row(
                Text(mark, style),
                region.name or "(free)",
                f"0x{region.offset:08x}",
                human_size(region.length),
                "erased" if region.erased else human_size(region.used),
                str(region.wear),
                Text(firmware_text(region.firmware)),
            )
        marks.rstrip()
        console.print(bar)
        console.print(marks)
        console.print(table)


def _styles(regions: Sequence[Region]) -> Iterator[tuple[str, str]]:
    """A letter and a colour for each partition; free ranges have neither."""
    number = 0
    for region in regions:
        if region.name:
            yield ascii_letters[number % len(ascii_letters)], _COLOURS[number % len(_COLOURS)]
            number += 1
        else:
            yield " ", "dim"


def _shaded(region: Region, width: int) -> str:
    slices = len(region.density)
    cells = ""
    for cell in range(width):
        start = cell * slices // width
        part = region.density[start : max((cell + 1) * slices // width, start + 1)]
        used = sum(part) / len(part)
        cells += _SHADES[0 if not used else 3 if used == 1 else 1 if used <= 0.5 else 2]
    return cells
