"""Where a board's layout can come from: a layout file, a `fal_cfg.h`, or the table inside a firmware image.

Only the first says what the flash devices are; for the others they are given by part or by numbers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from cloudsdk.ota.image import MAX_IMAGE_SIZE, image_format, read_image
from cloudsdk.ota.lint import APP, Finding, Severity
from flash_images import boards
from sim.flash.facts import AppFacts
from sim.flash.fal import decode_table
from sim.flash.fal_cfg import DEVICE_TABLE, PARTITION_TABLE, parse_fal_cfg
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import MAX_NUMBER, LayoutDraft, parse_draft
from sim.flash.parts import names as part_names
from sim.flash.parts import part_named
from sim.flash.placement import MAX_NAME, PartitionEntry

_SUFFIXES: Final = {".yaml": "layout", ".yml": "layout", ".h": "fal-cfg", ".c": "fal-cfg"}
_UNITS: Final = {"": 1, "K": 1024, "M": 1024 * 1024}
_SIZE: Final = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|\d{1,16})([KM]?)")
_DEVICE: Final = re.compile(r"([^=]+)=([^@]+)(?:@(.+))?")
_NUMBERS: Final = 4  # size, block, page, program unit
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]+")


class SourceKind(StrEnum):
    """What a source is."""

    LAYOUT = "layout"
    FAL_CFG = "fal-cfg"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Given:
    """What the user adds to a source that is no layout file.

    `devices` are geometries, `defined` the names a header finds defined, `app` the application partition,
    `name` the board's name (None: the source's file name).
    """

    devices: tuple[FlashGeometry, ...] = ()
    defined: Mapping[str, str] | None = None
    app: str | None = None
    name: str | None = None

    def __bool__(self) -> bool:
        return bool(self.devices or self.defined or self.app or self.name)


def parse_device(text: str) -> FlashGeometry:
    """A device as the command line has it: NAME=PART[@ADDRESS], or NAME=SIZE/BLOCK/PAGE/UNIT[@ADDRESS].

    Sizes are bytes, K or M. Raises `UsageError`, `UnknownPartError` or `GeometryError`.
    """
    match = _DEVICE.fullmatch(text)
    if match is None:
        raise UsageError(f"device {text!r} is not NAME=PART[@ADDRESS] or NAME=SIZE/BLOCK/PAGE/UNIT[@ADDRESS]")
    name, shape, place = match.groups()
    address = None if place is None else _size(place)
    numbers = shape.split("/")
    if len(numbers) == 1:
        return part_named(shape).geometry(name, address)
    if len(numbers) != _NUMBERS:
        raise UsageError(f"device {text!r}: give SIZE/BLOCK/PAGE/UNIT, or a part: {', '.join(part_names())}")
    size, block, page, unit = map(_size, numbers)
    return FlashGeometry(name, address or 0, size, block, page, unit)


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no number of bytes: give it decimal, as 0x..., or with K or M")
    digits, unit = match.groups()
    size = int(digits, 16 if digits[:2] in ("0x", "0X") else 10) * _UNITS[unit]
    if size > MAX_NUMBER:
        raise UsageError(f"{text!r} is beyond {MAX_NUMBER:#x}")
    return size


def read_source(source: str, given: Given) -> tuple[SourceKind, LayoutDraft]:
    """The layout in a source: the name of a board of the package, or the path of a file of any kind.

    What kind it is follows from its name and content. Raises `UsageError` when it cannot be read,
    `LayoutError`, `CTextError`, `FalTableError` or `ImageError` for what is in it.
    """
    if source in boards.names():
        return SourceKind.LAYOUT, _layout(boards.text(source), source, given)
    path = Path(source)
    try:
        with open_regular(path) as file:
            data = file.read(MAX_IMAGE_SIZE)
    except OSError as error:
        raise UsageError(
            f"cannot read {source!r}: {error.strerror}; boards: {', '.join(boards.names())}"
        ) from error
    kind = _kind(path, data)
    if kind is SourceKind.IMAGE:
        content = data if image_format(path) == "bin" else b"".join(read_image(path))
        return kind, _draft(path, decode_table(content), (), given)
    # Comments in headers have all kinds of encodings; what matters is ASCII.
    text = data.decode("utf-8-sig", errors="replace")
    if kind is SourceKind.LAYOUT:
        return kind, _layout(text, source, given)
    config = parse_fal_cfg(text, given.defined)
    return kind, _draft(
        path, config.partitions, _device_count(config.flash_symbols, config.partitions), given
    )


def _kind(path: Path, data: bytes) -> SourceKind:
    known = _SUFFIXES.get(path.suffix.lower())
    if known is not None:
        return SourceKind(known)
    if b"\0" in data or image_format(path) != "bin":
        return SourceKind.IMAGE
    return SourceKind.FAL_CFG if PARTITION_TABLE.encode() in data else SourceKind.LAYOUT


def _layout(text: str, source: str, given: Given) -> LayoutDraft:
    if given:
        raise UsageError(f"{source!r} is a layout: what it says of board and devices is changed in the file")
    return parse_draft(text, source)


def _draft(
    path: Path, entries: tuple[PartitionEntry, ...], noticed: Iterable[Finding], given: Given
) -> LayoutDraft:
    known = {device.name: device for device in given.devices}
    used = tuple(dict.fromkeys(entry.device for entry in entries))
    app = given.app or APP
    home = next((entry for entry in entries if entry.name == app), None)
    device = known.get(home.device) if home is not None else None
    facts = AppFacts(partition=app)
    if home is not None and device is not None:
        facts = AppFacts(device.address + home.offset, app)
    undescribed = tuple(name for name in used if name not in known)
    name = given.name or _NOT_IN_NAMES.sub("-", path.stem).strip("-.")[:MAX_NAME] or "board"
    return LayoutDraft(
        name,
        f"imported from {path.name}",
        given.devices,
        entries,
        app=facts,
        undescribed=undescribed,
        noticed=(*noticed, *map(_undescribed, undescribed)),
    )


def _undescribed(device: str) -> Finding:
    return Finding(
        "device-undescribed",
        Severity.NOTE,
        f"nothing is known of device {device!r}, so what is on it is not held against sizes and blocks: give "
        f"--device {device}=PART",
        "flash model",
    )


def _device_count(symbols: tuple[str, ...], entries: tuple[PartitionEntry, ...]) -> Iterable[Finding]:
    """The device table holds C symbols, whose FAL names are elsewhere: only their number can be compared."""
    used = dict.fromkeys(entry.device for entry in entries)
    if symbols and len(symbols) < len(used):
        yield Finding(
            "device-table",
            Severity.WARNING,
            f"{DEVICE_TABLE} has {len(symbols)} of the {len(used)} devices that partitions are on "
            f"({', '.join(used)})",
            "FAL refuses the table",
        )
