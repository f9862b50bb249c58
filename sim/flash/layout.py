"""A board as data: its flash devices, its FAL partitions, and the facts about its bootloader and application.

Layouts are YAML. The ones that come with the package are loaded by name, others by path.
"""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

import yaml

from cloudsdk.errors import CloudSdkError
from cloudsdk.files import open_regular
from flash_images import boards
from sim.flash.geometry import FlashGeometry, GeometryError

MAX_NAME: Final = 23  # characters; FAL keeps names in 24 bytes with a NUL (rbl-format 4)
MAX_LAYOUT: Final = 64 * 1024  # characters of YAML
MAX_OFFSET: Final = 2**31 - 1  # the partition table holds a signed 32-bit offset (rbl-format 4)
# Device names become file names, partition names are typed on a shell.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class LayoutError(CloudSdkError):
    """A board layout that cannot be."""

    code: ClassVar[str] = "layout.invalid"
    exit_status: ClassVar[int] = 2


def _require_one_of(what: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise LayoutError(f"{what} {value!r} is not one of {', '.join(map(str, known))}")


@dataclass(frozen=True, slots=True)
class PartitionEntry:
    """One row of the partition table. `offset` (from the start of the device) and `length` are bytes."""

    name: str
    device: str
    offset: int
    length: int


BOOTLOADER_KINDS: Final = ("rt_ota", "rt_ota+factory", "qboot")
QBOOT_SIGNS: Final = ("v1.0.5", "wdfk-1.1")
QBOOT_SIGN_ALIGNS: Final = (4, 8, 16, 32)  # bytes
MAX_PRODUCT_CODE: Final = 23  # characters; the header field ends with a NUL (rbl-format 1)
MAX_SHELL_SECONDS: Final = 3600
_U32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class QbootFacts:
    """How QBoot was configured when it was built (rbl-format 5.1). Raises `LayoutError`.

    `sign_align` is bytes, None the default of the sign. A package must carry `product_code` if there is one.
    With `shell_seconds`, QBoot waits that long for a key and ends in its shell. `app_address` is a bus
    address, None where the application is linked; QBoot's own default is 0x08020000. An entry is started when
    its top 8 bits are those of `code_region` and the stack pointer lies in the first MiB of `ram_region`.
    """

    sign: str = "v1.0.5"
    sign_align: int | None = None
    product_code: str | None = None
    shell_seconds: int = 0
    app_address: int | None = None
    code_region: int = 0x08000000
    ram_region: int = 0x20000000

    def __post_init__(self) -> None:
        _require_one_of("bootloader.qboot: sign", self.sign, QBOOT_SIGNS)
        if self.sign_align is not None:
            _require_one_of("bootloader.qboot: sign_align", self.sign_align, QBOOT_SIGN_ALIGNS)
        code = self.product_code
        if code is not None and not (len(code) <= MAX_PRODUCT_CODE and code.isascii() and code.isprintable()):
            raise LayoutError(
                f"bootloader.qboot: product_code must be ASCII text of at most {MAX_PRODUCT_CODE} characters"
            )
        for name, value, limit in (
            ("shell_seconds", self.shell_seconds, MAX_SHELL_SECONDS),
            ("app_address", self.app_address or 0, _U32_MAX),
            ("code_region", self.code_region, _U32_MAX),
            ("ram_region", self.ram_region, _U32_MAX),
        ):
            if not 0 <= value <= limit:
                raise LayoutError(f"bootloader.qboot: {name} must be 0 to {limit}, it is {value}")


@dataclass(frozen=True, slots=True)
class BootloaderFacts:
    """Which bootloader, and what its own package header says if it has one (rt_ota, rbl-format 3.1).

    Defaults: the recorded IoT Board. `qboot` is for that kind only. Raises `LayoutError`.
    """

    kind: str = "rt_ota"
    version: str = "1.3"
    timestamp: int = 1545134551  # seconds since 1970
    qboot: QbootFacts | None = None

    def __post_init__(self) -> None:
        _require_one_of("bootloader: kind", self.kind, BOOTLOADER_KINDS)
        if self.qboot is not None and self.kind != "qboot":
            raise LayoutError(f"bootloader: qboot has no meaning for kind {self.kind}; remove it")


@dataclass(frozen=True, slots=True)
class AppFacts:
    """Where the application has to be linked, as a bus address (rbl-format 3.2)."""

    link_address: int = 0x08010000


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What the kernel banner says (console 2.1)."""

    version: str = "4.0.1"
    build: str = "Mar 27 2019"


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
        if self.bootloader.kind == "rt_ota+factory" and "factory" not in placed:
            raise LayoutError("bootloader rt_ota+factory needs a partition 'factory'; add one")


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


def with_bootloader(layout: BoardLayout, kind: str) -> BoardLayout:
    """The same board with another bootloader, its options the defaults. Raises `LayoutError`."""
    if kind == layout.bootloader.kind:
        return layout
    return replace(layout, bootloader=replace(layout.bootloader, kind=kind, qboot=None))


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
_BOOTLOADER_OPTIONS: Final[_Fields] = {"qboot": dict}
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
_KERNEL: Final[_Fields] = {"version": str, "build": str}
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
        _bootloader(board["bootloader"]),
        AppFacts(**_fields(board["app"], "app", _APP)),
        KernelFacts(**_fields(board["kernel"], "kernel", _KERNEL)),
    )


def _bootloader(value: object) -> BootloaderFacts:
    facts = dict(_fields(value, "bootloader", _BOOTLOADER, _BOOTLOADER_OPTIONS))
    if "qboot" in facts:
        facts["qboot"] = QbootFacts(**_fields(facts["qboot"], "bootloader.qboot", _NONE, _QBOOT_OPTIONS))
    return BootloaderFacts(**facts)


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
    document = asdict(layout, dict_factory=_with_addresses)
    document["devices"] = [{key: row[key] for key in _DEVICE} for row in document["devices"]]
    document["partitions"] = list(document["partitions"])
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)


def _with_addresses(items: list[tuple[str, Any]]) -> dict[str, Any]:
    return {
        key: _Address(value) if key in _HEXADECIMAL else value for key, value in items if value is not None
    }
