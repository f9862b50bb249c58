"""A board as data: its flash devices, its FAL partitions, and the facts about its bootloader and application.

Layouts are YAML. The ones that come with the package are loaded by name, others by path.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular, replacing
from cloudsdk.ota.lint import Finding, Severity
from flash_images import boards
from sim.flash.facts import (
    DEFAULT_APP,
    DEFAULT_BOOTLOADER,
    DEFAULT_KERNEL,
    ENTRY_MASK,
    AppFacts,
    BootloaderFacts,
    KernelFacts,
    LayoutError,
    QbootFacts,
    WlanFacts,
)
from sim.flash.geometry import FlashGeometry, GeometryError, Reprogram
from sim.flash.parts import UnknownPartError, part_named
from sim.flash.placement import MAX_NAME as MAX_NAME
from sim.flash.placement import MAX_OFFSET as MAX_OFFSET
from sim.flash.placement import PartitionEntry as PartitionEntry
from sim.flash.placement import board_findings, name_findings, placement_findings

MAX_LAYOUT: Final = 64 * 1024  # characters of YAML
MAX_NUMBER: Final = 2**48  # of everything in a layout


@dataclass(frozen=True, slots=True)
class BoardLayout:
    """A board.

    Devices and partitions keep their order. Raises `LayoutError` when they do not fit together.
    """

    name: str
    description: str
    devices: tuple[FlashGeometry, ...]
    partitions: tuple[PartitionEntry, ...]
    bootloader: BootloaderFacts = DEFAULT_BOOTLOADER
    app: AppFacts = DEFAULT_APP
    kernel: KernelFacts = DEFAULT_KERNEL

    def __post_init__(self) -> None:
        for finding in (
            *name_findings("board", self.name),
            *placement_findings(self.devices, self.partitions),
        ):
            raise LayoutError(finding.message)
        if self.bootloader.kind == "rt_ota+factory" and "factory" not in [
            row.name for row in self.partitions
        ]:
            raise LayoutError("bootloader rt_ota+factory needs a partition 'factory'; add one")


@dataclass(frozen=True, slots=True)
class LayoutDraft:
    """A layout as its source has it, before anything is known to fit.

    `undescribed` are devices whose geometry the source does not give or gives wrongly; `noticed` is what the
    reader of the source found.
    """

    name: str
    description: str
    devices: tuple[FlashGeometry, ...]
    partitions: tuple[PartitionEntry, ...]
    bootloader: BootloaderFacts = DEFAULT_BOOTLOADER
    app: AppFacts = DEFAULT_APP
    kernel: KernelFacts = DEFAULT_KERNEL
    undescribed: tuple[str, ...] = ()
    noticed: tuple[Finding, ...] = ()

    def findings(self) -> tuple[Finding, ...]:
        """Everything there is to say about it, errors first."""
        found = (
            *self.noticed,
            *name_findings("board", self.name),
            *placement_findings(self.devices, self.partitions, self.undescribed),
            *board_findings(
                self.devices,
                self.partitions,
                app=self.app.partition,
                link_address=self.app.link_address,
            ),
        )
        order = list(Severity)
        return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))

    def board(self) -> BoardLayout:
        """The layout. Raises `LayoutError` for the first thing that does not fit."""
        for finding in self.noticed:
            if finding.severity is Severity.ERROR:
                raise LayoutError(finding.message)
        for device in self.undescribed:
            raise LayoutError(f"nothing is known of device {device!r}: give --device {device}=PART")
        return BoardLayout(
            self.name,
            self.description,
            self.devices,
            self.partitions,
            self.bootloader,
            self.app,
            self.kernel,
        )


def with_bootloader(layout: BoardLayout, kind: str) -> BoardLayout:
    """The same board with another bootloader, its options the defaults. Raises `LayoutError`.

    A QBoot is one that was built for the board: it starts applications from where they are linked.
    """
    if kind == layout.bootloader.kind:
        return layout
    qboot = QbootFacts(code_region=layout.app.link_address & ENTRY_MASK) if kind == "qboot" else None
    return replace(layout, bootloader=replace(layout.bootloader, kind=kind, qboot=qboot))


def load_board(name_or_path: str | Path) -> BoardLayout:
    """A board of the package by name, or any other by the path of its YAML file. Raises `LayoutError`."""
    name = str(name_or_path)
    if name in boards.names():
        return parse_layout(boards.text(name), source=name)
    if not Path(name).exists():
        raise LayoutError(f"no board {name!r}: neither a file nor one of {', '.join(boards.names())}")
    return load_layout(Path(name))


def load_layout(path: Path) -> BoardLayout:
    """Read a layout file. Raises `LayoutError`."""
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8") as file:
            text = file.read(MAX_LAYOUT + 1)
    except OSError as error:
        raise LayoutError(f"cannot read board layout {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LayoutError(f"board layout {str(path)!r} is not UTF-8 text") from error
    return parse_layout(text, source=str(path))


def save_layout(layout: BoardLayout, path: Path) -> None:
    """Write a layout file that `load_layout` reads back to an equal layout. Raises `LayoutError`."""
    try:
        with replacing(path) as file:
            file.write(format_layout(layout).encode("utf-8"))
    except UsageError as error:
        raise LayoutError(f"cannot write board layout {str(path)!r}: {error}") from error


def parse_layout(text: str, source: str = "layout") -> BoardLayout:
    """Parse and check the YAML of a layout. `source` names it in errors. Raises `LayoutError`."""
    draft = parse_draft(text, source)
    try:
        return draft.board()
    except LayoutError as error:
        raise LayoutError(f"board layout {source!r}: {error}") from error


def parse_draft(text: str, source: str = "layout") -> LayoutDraft:
    """Parse the YAML of a layout without asking whether it fits.

    Raises `LayoutError` for what is no YAML, and for missing, unknown and mistyped keys.
    """
    try:
        if len(text) > MAX_LAYOUT:
            raise LayoutError(f"more than {MAX_LAYOUT} characters")
        return _draft(_parse_yaml(text))
    except LayoutError as error:
        raise LayoutError(f"board layout {source!r}: {error}") from error


def _parse_yaml(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise LayoutError(f"not YAML: {line}{error.problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML lets an impossible date or too deep a nesting through as these.
        raise LayoutError(f"not YAML: {str(error).splitlines()[0]}") from error


_Fields = Mapping[str, type]
_DEVICE: Final[_Fields] = {
    "name": str,
    "address": int,
    "size": int,
    "block_size": int,
    "page_size": int,
    "program_unit": int,
}
_DEVICE_OPTIONAL: Final[_Fields] = {"regions": list, "erase_sizes": list, "endurance": int, "reprogram": str}
_PART_DEVICE: Final[_Fields] = {"name": str, "part": str}
_PART_DEVICE_OPTIONAL: Final[_Fields] = {"address": int}
_PARTITION: Final[_Fields] = {"name": str, "device": str, "offset": int, "length": int}
_BOOTLOADER: Final[_Fields] = {"kind": str, "version": str, "timestamp": int}
_BOOTLOADER_OPTIONS: Final[_Fields] = {"qboot": dict, "flash_chip": str, "sfud_source": str}
_QBOOT_OPTIONS: Final[_Fields] = {
    "sign": str,
    "sign_align": int,
    "product_code": str,
    "shell_seconds": int,
    "app_address": int,
    "code_region": int,
    "ram_region": int,
}
_APP: Final[_Fields] = {"link_address": int}
_APP_OPTIONAL: Final[_Fields] = {"partition": str}
_KERNEL: Final[_Fields] = {"version": str, "build": str}
_KERNEL_OPTIONS: Final[_Fields] = {"flash_device": str, "wlan": dict}
_WLAN: Final[_Fields] = {"mac": str, "ip_address": str, "gateway": str, "ssid": str}
_WLAN_OPTIONS: Final[_Fields] = {"stored_ssid": str}
_BOARD: Final[_Fields] = {
    "name": str,
    "description": str,
    "devices": list,
    "partitions": list,
    "bootloader": dict,
    "app": dict,
    "kernel": dict,
}
_NONE: Final[_Fields] = {}
_TYPE_NAMES: Final = {str: "text (quote it)", int: "a whole number", list: "a list", dict: "a mapping"}


def _draft(document: object) -> LayoutDraft:
    board = _fields(document, "board", _BOARD)
    devices: list[FlashGeometry] = []
    undescribed: list[str] = []
    noticed: list[Finding] = []
    for number, row in enumerate(board["devices"]):
        fields = _device_fields(row, f"devices[{number}]")
        try:
            devices.append(_device(**fields))
        except (GeometryError, UnknownPartError) as error:
            undescribed.append(fields["name"])
            noticed.append(Finding("geometry", Severity.ERROR, str(error), "flash model"))
    return LayoutDraft(
        board["name"],
        board["description"],
        tuple(devices),
        tuple(PartitionEntry(**row) for row in _rows(board["partitions"], "partitions", _PARTITION)),
        _bootloader(board["bootloader"]),
        AppFacts(**_fields(board["app"], "app", _APP, _APP_OPTIONAL)),
        _kernel(board["kernel"]),
        tuple(undescribed),
        tuple(noticed),
    )


def _bootloader(value: object) -> BootloaderFacts:
    facts = dict(_fields(value, "bootloader", _BOOTLOADER, _BOOTLOADER_OPTIONS))
    if "qboot" in facts:
        facts["qboot"] = QbootFacts(**_fields(facts["qboot"], "bootloader.qboot", _NONE, _QBOOT_OPTIONS))
    return BootloaderFacts(**facts)


def _kernel(value: object) -> KernelFacts:
    facts = dict(_fields(value, "kernel", _KERNEL, _KERNEL_OPTIONS))
    if "wlan" in facts:
        facts["wlan"] = WlanFacts(**_fields(facts["wlan"], "kernel.wlan", _WLAN, _WLAN_OPTIONS))
    return KernelFacts(**facts)


def _rows(rows: list[object], where: str, fields: _Fields) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        yield _fields(row, f"{where}[{number}]", fields)


def _device_fields(row: object, where: str) -> dict[str, Any]:
    """A device of a part that is known by name, or one with all its numbers."""
    if isinstance(row, dict) and "part" in row:
        return _fields(row, where, _PART_DEVICE, _PART_DEVICE_OPTIONAL)
    fields = dict(_fields(row, where, _DEVICE, _DEVICE_OPTIONAL))
    if "regions" in fields:
        fields["regions"] = tuple(_numbers(each, 2, f"{where}: regions") for each in fields["regions"])
    if "erase_sizes" in fields:
        sizes = fields["erase_sizes"]
        fields["erase_sizes"] = _numbers(sizes, len(sizes), f"{where}: erase_sizes")
    if fields.get("reprogram", Reprogram.CLEAR) not in list(Reprogram):
        raise LayoutError(f"{where}: reprogram must be one of {', '.join(Reprogram)}")
    return fields


def _numbers(value: object, count: int, where: str) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or len(value) != count
        or any(type(number) is not int or abs(number) > MAX_NUMBER for number in value)
    ):
        raise LayoutError(f"{where} must be of lists of {count} whole numbers")
    return tuple(value)


def _device(*, name: str, part: str | None = None, address: int | None = None, **sizes: Any) -> FlashGeometry:
    if part is not None:
        return part_named(part).geometry(name, address)
    if "reprogram" in sizes:
        sizes["reprogram"] = Reprogram(sizes["reprogram"])
    return FlashGeometry(name=name, address=address or 0, **sizes)


def _fields(value: object, where: str, fields: _Fields, optional: _Fields = _NONE) -> dict[str, Any]:
    """`value` as a mapping with the keys of `fields` and maybe of `optional`, each of its type."""
    known = {**fields, **optional}
    if not isinstance(value, dict):
        raise LayoutError(f"{where} must be a mapping with the keys {', '.join(known)}")
    for key in value:
        if key not in known:
            raise LayoutError(f"{where}: unknown key {key!r}; known: {', '.join(known)}")
    for key in fields:
        if key not in value:
            raise LayoutError(f"{where}: key {key!r} is missing")
    for key in value:
        kind = known[key]
        # A YAML true is an int to Python.
        if not isinstance(value[key], kind) or isinstance(value[key], bool):
            raise LayoutError(f"{where}: {key} must be {_TYPE_NAMES[kind]}")
        if kind is int and abs(value[key]) > MAX_NUMBER:
            raise LayoutError(f"{where}: {key} is beyond {MAX_NUMBER:#x}")
    return value


class _Address(int):
    """A number that reads better in hexadecimal."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Address, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:int", f"0x{value:08X}")
)
_HEXADECIMAL: Final = {
    "address",
    "size",
    "offset",
    "length",
    "link_address",
    "app_address",
    "code_region",
    "ram_region",
}


def format_layout(layout: BoardLayout) -> str:
    """The layout as YAML text."""
    document = {
        "name": layout.name,
        "description": layout.description,
        "devices": [_with_addresses(_device_row(device)) for device in layout.devices],
        "partitions": [_with_addresses(asdict(entry)) for entry in layout.partitions],
        "bootloader": _with_addresses(asdict(layout.bootloader)),
        "app": _with_addresses(asdict(layout.app)),
        "kernel": _with_addresses(asdict(layout.kernel)),
    }
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _device_row(device: FlashGeometry) -> dict[str, Any]:
    """A device as YAML has it, so that `_device` makes an equal one: by its part, or by its numbers."""
    if device.part and device == part_named(device.part).geometry(device.name, device.address):
        return {"name": device.name, "part": device.part, "address": device.address}
    row = {key: getattr(device, key) for key in _DEVICE}
    if device.regions:
        row["regions"] = [list(region) for region in device.regions]
    if device.erase_sizes:
        row["erase_sizes"] = list(device.erase_sizes)
    if device.endurance is not None:
        row["endurance"] = device.endurance
    if device.reprogram is not Reprogram.CLEAR:
        row["reprogram"] = device.reprogram.value
    return row


def _with_addresses(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what is left to its default, at any depth, with the addresses marked."""
    return {
        key: _with_addresses(value)
        if isinstance(value, dict)
        else _Address(value)
        if key in _HEXADECIMAL
        else value
        for key, value in row.items()
        if value is not None
    }
