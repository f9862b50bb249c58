"""A board as data: its flash devices, its FAL partitions, and the facts about its bootloader and application.

Layouts are YAML. The ones that come with the package are loaded by name, others by path.
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import yaml

from cloudsdk.errors import CloudSdkError
from cloudsdk.files import open_regular
from flash_images import boards
from sim.flash.geometry import FlashGeometry, GeometryError

MAX_NAME: Final = 23  # characters; FAL keeps names in 24 bytes with a NUL (rbl-format 4)
MAX_LAYOUT: Final = 64 * 1024  # characters of YAML
MAX_SSID: Final = 32  # characters
MAX_OFFSET: Final = 2**31 - 1  # the partition table holds a signed 32-bit offset (rbl-format 4)
# Device names become file names, partition names are typed on a shell.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class LayoutError(CloudSdkError):
    """A board layout that cannot be."""

    code: ClassVar[str] = "layout.invalid"
    exit_status: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class PartitionEntry:
    """One row of the partition table. `offset` (from the start of the device) and `length` are bytes."""

    name: str
    device: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class BootloaderFacts:
    """What the bootloader's own package header says. Defaults: the recorded IoT Board (rbl-format 3.1).

    `flash_chip` is what its SFUD calls the SPI flash, vendor and name, `sfud_source` the source line in the
    log of that; without `flash_chip` it has no SFUD (console 2.2).
    """

    kind: str = "rt_ota"
    version: str = "1.3"
    timestamp: int = 1545134551  # seconds since 1970
    flash_chip: str | None = None
    sfud_source: str = "..\\components\\sfud\\src\\sfud.c:724"


@dataclass(frozen=True, slots=True)
class AppFacts:
    """Where the application has to be linked, as a bus address (rbl-format 3.2)."""

    link_address: int = 0x08010000


@dataclass(frozen=True, slots=True)
class WlanFacts:
    """The board in its WLAN. `mac` is six bytes in hexadecimal with colons, addresses are dotted IPv4.

    `ssid` is the WLAN in reach, `stored_ssid` the one in the saved configuration. A board that does not join
    one when it starts waits for `wifi join`. Raises `LayoutError`.
    """

    mac: str
    ip_address: str
    gateway: str
    ssid: str
    stored_ssid: str | None = None

    def __post_init__(self) -> None:
        if not _MAC.fullmatch(self.mac):
            raise LayoutError(f"kernel.wlan: mac {self.mac!r} is not six bytes as in 98:3b:16:53:12:d6")
        for name, value in (("ip_address", self.ip_address), ("gateway", self.gateway)):
            try:
                IPv4Address(value)
            except AddressValueError as error:
                raise LayoutError(f"kernel.wlan: {name} {value!r} is not dotted IPv4") from error
        for name, ssid in (("ssid", self.ssid), ("stored_ssid", self.stored_ssid)):
            if ssid is not None and not (0 < len(ssid) <= MAX_SSID and ssid.isprintable()):
                raise LayoutError(f"kernel.wlan: {name} must be 1 to {MAX_SSID} printable characters")

    @property
    def joins(self) -> bool:
        """Whether the board is in its WLAN from the start."""
        return self.stored_ssid == self.ssid


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What the kernel banner says (console 2.1), and what the drivers find.

    `flash_device` is the name SFUD gives to the SPI flash, None without SFUD.
    """

    version: str = "4.0.1"
    build: str = "Mar 27 2019"
    flash_device: str | None = None
    wlan: WlanFacts | None = None


@dataclass(frozen=True, slots=True)
class BoardLayout:
    """A board.

    Devices and partitions keep their order. Raises `LayoutError` when they do not fit together.
    """

    name: str
    description: str
    devices: tuple[FlashGeometry, ...]
    partitions: tuple[PartitionEntry, ...]
    bootloader: BootloaderFacts = BootloaderFacts()
    app: AppFacts = AppFacts()
    kernel: KernelFacts = KernelFacts()

    def __post_init__(self) -> None:
        _require_name("board", self.name)
        devices: dict[str, FlashGeometry] = {}
        for device in self.devices:
            _require_name("device", device.name)
            if device.name in devices:
                raise LayoutError(f"device {device.name!r} is there twice")
            devices[device.name] = device
        placed: dict[str, PartitionEntry] = {}
        for entry in self.partitions:
            _require_name("partition", entry.name)
            if entry.name in placed:
                raise LayoutError(f"partition {entry.name!r} is there twice")
            _require_fit(entry, devices)
            for other in placed.values():
                if _overlap(entry, other):
                    raise LayoutError(f"partition {entry.name!r} overlaps {other.name!r} on {entry.device}")
            placed[entry.name] = entry


def _require_name(what: str, name: str) -> None:
    if len(name) > MAX_NAME:
        raise LayoutError(f"{what} name {name[:MAX_NAME]!r}... is longer than {MAX_NAME} characters")
    if not _NAME.fullmatch(name):
        raise LayoutError(
            f"{what} name {name!r} must be of letters, digits and . _ - and not begin with . or -"
        )


def _require_fit(entry: PartitionEntry, devices: Mapping[str, FlashGeometry]) -> None:
    device = devices.get(entry.device)
    if device is None:
        known = ", ".join(devices) or "none"
        raise LayoutError(f"partition {entry.name!r} is on unknown device {entry.device!r}; devices: {known}")
    if entry.length <= 0:
        raise LayoutError(f"partition {entry.name!r} has length {entry.length}")
    if entry.offset < 0 or entry.offset + entry.length > device.size or entry.offset > MAX_OFFSET:
        raise LayoutError(
            f"partition {entry.name!r} ({entry.offset:#x}, {entry.length:#x} bytes) reaches outside device "
            f"{device.name!r} of {device.size:#x} bytes"
        )
    if device.touched(entry.offset, entry.length) != (entry.offset, entry.length):
        raise LayoutError(
            f"partition {entry.name!r} ({entry.offset:#x}, {entry.length:#x} bytes) does not begin and end "
            f"on an erase block of device {device.name!r} ({device.block_at(entry.offset)[1]} bytes)"
        )


def _overlap(one: PartitionEntry, other: PartitionEntry) -> bool:
    return (
        one.device == other.device
        and one.offset < other.offset + other.length
        and other.offset < one.offset + one.length
    )


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
        path.write_text(format_layout(layout), encoding="utf-8")
    except OSError as error:
        raise LayoutError(f"cannot write board layout {str(path)!r}: {error.strerror}") from error


def parse_layout(text: str, source: str = "layout") -> BoardLayout:
    """Parse and check the YAML of a layout. `source` names it in errors. Raises `LayoutError`."""
    try:
        if len(text) > MAX_LAYOUT:
            raise LayoutError(f"more than {MAX_LAYOUT} characters")
        return _layout(_parse_yaml(text))
    except (LayoutError, GeometryError) as error:
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
_PARTITION: Final[_Fields] = {"name": str, "device": str, "offset": int, "length": int}
_BOOTLOADER: Final[_Fields] = {"kind": str, "version": str, "timestamp": int}
_SFUD_OPTIONS: Final[_Fields] = {"flash_chip": str, "sfud_source": str}
_APP: Final[_Fields] = {"link_address": int}
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


def _layout(document: object) -> BoardLayout:
    board = _fields(document, "board", _BOARD)
    return BoardLayout(
        board["name"],
        board["description"],
        _rows(board["devices"], "devices", _DEVICE, FlashGeometry),
        _rows(board["partitions"], "partitions", _PARTITION, PartitionEntry),
        BootloaderFacts(**_fields(board["bootloader"], "bootloader", _BOOTLOADER, _SFUD_OPTIONS)),
        AppFacts(**_fields(board["app"], "app", _APP)),
        _kernel(board["kernel"]),
    )


def _kernel(value: object) -> KernelFacts:
    facts = dict(_fields(value, "kernel", _KERNEL, _KERNEL_OPTIONS))
    if "wlan" in facts:
        facts["wlan"] = WlanFacts(**_fields(facts["wlan"], "kernel.wlan", _WLAN, _WLAN_OPTIONS))
    return KernelFacts(**facts)


_Row = TypeVar("_Row")


def _rows(rows: list[object], where: str, fields: _Fields, make: Callable[..., _Row]) -> tuple[_Row, ...]:
    return tuple(make(**_fields(row, f"{where}[{number}]", fields)) for number, row in enumerate(rows))


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
    return value


class _Address(int):
    """A number that reads better in hexadecimal."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Address, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:int", f"0x{value:08X}")
)
_HEXADECIMAL: Final = {"address", "size", "offset", "length", "link_address"}


def format_layout(layout: BoardLayout) -> str:
    """The layout as YAML text."""
    document = asdict(layout, dict_factory=_with_addresses)
    for table in ("devices", "partitions"):
        document[table] = list(document[table])
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _with_addresses(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        key: _Address(value) if key in _HEXADECIMAL else value for key, value in items if value is not None
    }
