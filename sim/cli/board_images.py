"""`cloudsim board export` and `import`: flash content for and from other tools."""

import os
from pathlib import Path
from typing import BinaryIO, Final

import click

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular, replacing
from cloudsdk.ota.image import image_format
from sim.board import PartitionNameError, open_flash
from sim.cli.board_options import board_directory
from sim.cli.output import echo_json, json_option
from sim.flash.exchange import (
    FlashWindow,
    device_window,
    export_hex,
    export_raw,
    import_hex,
    import_raw,
    partition_window,
)
from sim.flash.images import FlashImages
from sim.flash.layout import BoardLayout

_OWNER_ONLY: Final = 0o600  # an image may hold the device key


def _offset(text: str | None) -> int | None:
    try:
        offset = None if text is None else int(text, 0)
    except ValueError:
        offset = -1
    if offset is not None and offset < 0:
        raise UsageError(f"{text!r} is no offset: give a number of bytes such as 4096 or 0x1000")
    return offset


def _devices(layout: BoardLayout, images: FlashImages) -> dict[str, FlashWindow]:
    return {device.name: device_window(device, images.pages[device.name]) for device in layout.devices}


def _partitions(layout: BoardLayout, images: FlashImages) -> dict[str, FlashWindow]:
    devices = {device.name: device for device in layout.devices}
    return {
        entry.name: partition_window(entry, devices[entry.device], images.pages[entry.device])
        for entry in layout.partitions
    }


def _chosen(windows: dict[str, FlashWindow], names: tuple[str, ...], what: str) -> dict[str, FlashWindow]:
    for name in names:
        if name not in windows:
            raise PartitionNameError(f"the board has no {what} {name!r}; it has {', '.join(windows)}")
    return {name: windows[name] for name in names or windows}


@click.command("export")
@board_directory
@click.option(
    "--format",
    "form",
    type=click.Choice(["raw", "hex", "partitions"]),
    default="raw",
    show_default=True,
    help="A raw file per device, Intel HEX per device, or a raw file per partition.",
)
@click.option("--only", multiple=True, metavar="NAME", help="This device or partition. May be repeated.")
@click.option("-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="Directory.")
@json_option
def export_images(directory: Path, form: str, only: tuple[str, ...], target: Path, as_json: bool) -> None:
    """Write the flash of the board in DIR to files for other tools.

    HEX files have bus addresses and leave out what is erased.
    """
    files: list[Path] = []
    with open_flash(directory) as (layout, images):
        if form == "partitions":
            windows = _chosen(_partitions(layout, images), only, "partition")
        else:
            windows = _chosen(_devices(layout, images), only, "device")
        suffix, write = ("hex", export_hex) if form == "hex" else ("bin", export_raw)
        _make_directory(target)
        for name, window in windows.items():
            path = target / f"{name}.{suffix}"
            with replacing(path) as file:
                os.fchmod(file.fileno(), _OWNER_ONLY)
                write(window, file)
            files.append(path)
    if as_json:
        echo_json({"directory": str(directory), "format": form, "files": list(map(str, files))})
    else:
        for path in files:
            click.echo(f"wrote {click.format_filename(path)}")


def _make_directory(target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make directory {str(target)!r}: {error.strerror}") from None


@click.command("import")
@board_directory
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--device", metavar="NAME", help="Where the content belongs: a flash device ...")
@click.option("--partition", metavar="NAME", help="... or a partition.")
@click.option(
    "--offset", "offset_text", metavar="BYTES", help="Only from here on; a raw file may then be short."
)
@click.option("--erase", is_flag=True, help="Erase the device or partition first.")
@json_option
def import_image(
    directory: Path,
    path: Path,
    device: str | None,
    partition: str | None,
    offset_text: str | None,
    erase: bool,
    as_json: bool,
) -> None:
    """Put FILE, such as a dump of a real chip, into the flash of the board in DIR.

    A raw file replaces all of a device or partition. Intel HEX (.hex, .ihex) replaces the bytes it names, by
    bus address. Nothing is changed when FILE does not fit.
    """
    if (device is None) == (partition is None):
        raise UsageError("give either --device or --partition")
    offset = _offset(offset_text)
    as_hex = image_format(path) == "hex"
    if as_hex and offset is not None:
        raise UsageError("an Intel HEX file has its own addresses: leave out --offset")
    with open_flash(directory) as (layout, images), _input(path) as file:
        if device is not None:
            (window,) = _chosen(_devices(layout, images), (device,), "device").values()
        else:
            (window,) = _chosen(_partitions(layout, images), (str(partition),), "partition").values()
        if as_hex:
            size = import_hex(window, path, file, erase=erase)
        else:
            size = import_raw(window, path, file, offset, erase=erase)
    if as_json:
        echo_json({"directory": str(directory), "file": str(path), "target": window.name, "size": size})
    else:
        click.echo(f"put {size} bytes into {window.name}")


def _input(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror}") from None
