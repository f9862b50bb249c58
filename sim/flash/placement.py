"""Partitions on flash devices: the rows of a table, and everything that can be wrong with them.

`placement_findings` is what a layout has to pass, `board_findings` what else matters to a board.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cloudsdk.ota.header import HEADER_SIZE, NAME_SIZE
from cloudsdk.ota.lint import APP, ENVIRONMENT, Finding, Severity
from cloudsdk.ota.rt_ota import DOWNLOAD
from sim.flash.geometry import FlashGeometry

MAX_NAME: Final = 23  # characters; FAL keeps names in 24 bytes with a NUL (rbl-format 4)
MAX_OFFSET: Final = 2**31 - 1  # the partition table holds a signed 32-bit offset (rbl-format 4)
#: Partitions that something looks for by name, and what is missing without them.
ROLES: Final = {
    "bootloader": "nothing boots",
    DOWNLOAD: "no update can arrive",
    ENVIRONMENT: "the device cannot keep its identity",
}
_ENV_BLOCKS: Final = 2  # EasyFlash saves to two areas in turn (easyflash-format 1)
# Device names become file names, partition names are typed on a shell.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SHOWN: Final = 40  # characters of a bad name


@dataclass(frozen=True, slots=True)
class PartitionEntry:
    """One row of the partition table. `offset` (from the start of the device) and `length` are bytes."""

    name: str
    device: str
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the first byte behind the partition."""
        return self.offset + self.length

    @property
    def span(self) -> str:
        """Its range, as engineers write it."""
        return f"{_hexadecimal(self.offset)} to {_hexadecimal(self.end)}"


def _hexadecimal(offset: int) -> str:
    return f"{'-' if offset < 0 else ''}0x{abs(offset):08x}"


def _error(identity: str, message: str, fact: str) -> Finding:
    return Finding(identity, Severity.ERROR, message, fact)


def name_findings(what: str, name: str) -> Iterator[Finding]:
    """What FAL or the simulator cannot do with the name of a board, device or partition."""
    shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "..."
    if len(name) > MAX_NAME:
        yield _error(
            "name-long",
            f"{what} name {shown!r} is longer than {MAX_NAME} characters: FAL would know it as "
            f"{name[:MAX_NAME]!r}",
            "rbl-format 4",
        )
    if not _NAME.fullmatch(name):
        yield _error(
            "name-characters",
            f"{what} name {shown!r} must be of letters, digits and . _ - and not begin with . or -",
            "cloudsim: it becomes a file name",
        )


def placement_findings(
    devices: Iterable[FlashGeometry], entries: Sequence[PartitionEntry], undescribed: Iterable[str] = ()
) -> Iterator[Finding]:
    """Everything that keeps partitions from lying on devices.

    `undescribed` devices have no known geometry.
    """
    by_name: dict[str, FlashGeometry] = {}
    for device in devices:
        yield from name_findings("device", device.name)
        if device.name in by_name:
            yield _error(
                "device-twice", f"device {device.name!r} is there twice", "FAL finds devices by name"
            )
        by_name[device.name] = device
    without_geometry = set(undescribed)
    times = Counter(entry.name for entry in entries)
    for number, entry in enumerate(entries):
        yield from name_findings("partition", entry.name)
        if times.pop(entry.name, 1) > 1:
            yield _error("partition-twice", f"partition {entry.name!r} is there twice", "FAL finds the first")
        if entry.device not in without_geometry:
            yield from _misfits(entry, by_name)
        for other in entries[:number]:
            if overlap(entry, other):
                yield _error(
                    "overlap",
                    f"partition {entry.name!r} overlaps {other.name!r} on {entry.device}: "
                    f"{entry.span} and {other.span}",
                    "FAL does not check it",
                )


def _misfits(entry: PartitionEntry, devices: Mapping[str, FlashGeometry]) -> Iterator[Finding]:
    device = devices.get(entry.device)
    if device is None:
        known = ", ".join(devices) or "none"
        yield _error(
            "device-unknown",
            f"partition {entry.name!r} is on unknown device {entry.device!r}; devices: {known}",
            "FAL refuses the table",
        )
        return
    where = f"partition {entry.name!r} ({_hexadecimal(entry.offset)}, 0x{entry.length:x} bytes)"
    if entry.length <= 0:
        yield _error("length", f"partition {entry.name!r} has length {entry.length}", "rbl-format 4")
    elif entry.offset < 0 or entry.end > device.size or entry.offset > MAX_OFFSET:
        yield _error(
            "outside",
            f"{where} reaches outside device {device.name!r} of 0x{device.size:x} bytes",
            "FAL refuses the table",
        )
    elif device.touched(entry.offset, entry.length) != (entry.offset, entry.length):
        start, length = device.touched(entry.offset, entry.length)
        yield _error(
            "unaligned",
            f"{where} does not begin and end on an erase block of device {device.name!r} "
            f"({device.block_at(entry.offset)[1]} bytes): erasing it erases 0x{start:08x} to "
            f"0x{start + length:08x}",
            "flash model",
        )


def overlap(one: PartitionEntry, other: PartitionEntry) -> bool:
    """Whether two partitions share bytes."""
    return one.device == other.device and one.offset < other.end and other.offset < one.end


# --- what a board wants beyond that ---------------------------------------------------------------------


def board_findings(
    devices: Iterable[FlashGeometry],
    entries: Sequence[PartitionEntry],
    *,
    app: str = APP,
    link_address: int | None = None,
) -> Iterator[Finding]:
    """Roles without a partition, partitions too small for their role, and space nobody uses.

    `app` is the name of the application partition, `link_address` the bus address the application is linked
    for.
    """
    by_name = {device.name: device for device in devices}
    table = {entry.name: entry for entry in entries}
    if app not in table:
        yield _error("role-missing", f"no partition {app!r}: there is nothing to start", "rbl-format 3.2")
    for role, loss in ROLES.items():
        if role not in table:
            yield _warning("role-missing", f"no partition {role!r}: {loss}", "rbl-format 3")
    yield from _too_small(table, by_name, app)
    yield from _misnamed(table.values())
    device = by_name.get(table[app].device) if app in table else None
    if device is not None:
        yield from _link_findings(table[app], device, link_address)
    for device in by_name.values():
        for start, end in gaps(device, entries):
            yield Finding(
                "gap",
                Severity.NOTE,
                f"{device.name}: 0x{start:08x} to 0x{end:08x} (0x{end - start:x} bytes) belongs to no "
                "partition",
                "flash model",
            )


def _warning(identity: str, message: str, fact: str) -> Finding:
    return Finding(identity, Severity.WARNING, message, fact)


def _too_small(
    table: Mapping[str, PartitionEntry], devices: Mapping[str, FlashGeometry], app: str
) -> Iterator[Finding]:
    download, application, env = table.get(DOWNLOAD), table.get(app), table.get(ENVIRONMENT)
    if download is not None and application is not None and download.length < application.length:
        yield _warning(
            "download-small",
            f"partition 'download' (0x{download.length:x} bytes) is smaller than {app!r} "
            f"(0x{application.length:x} bytes): a full application fits only compressed",
            "rbl-format 3.1",
        )
    device = devices.get(env.device) if env is not None else None
    if env is not None and device is not None and 0 <= env.offset < device.size:
        needed = _ENV_BLOCKS * device.block_at(env.offset)[1]
        if env.length < needed:
            yield _warning(
                "easyflash-small",
                f"partition 'easyflash' (0x{env.length:x} bytes) has no room for two areas: it needs "
                f"0x{needed:x} bytes",
                "easyflash-format 1",
            )


def _misnamed(entries: Iterable[PartitionEntry]) -> Iterator[Finding]:
    for entry in entries:
        if NAME_SIZE < len(entry.name) <= MAX_NAME:
            yield _warning(
                "name-unreachable",
                f"partition {entry.name!r} cannot be updated: a package names at most {NAME_SIZE} characters",
                "rbl-format 1",
            )
        if 0 < entry.length <= HEADER_SIZE:
            yield _warning(
                "no-header-room",
                f"partition {entry.name!r} has no room behind its {HEADER_SIZE}-byte firmware header",
                "rbl-format 3.1",
            )


def _link_findings(app: PartitionEntry, device: FlashGeometry, link_address: int | None) -> Iterator[Finding]:
    address = device.address + app.offset
    if device.address == 0:
        yield _warning(
            "app-not-mapped",
            f"partition {app.name!r} is on {device.name}, which has no bus address: no processor can "
            "execute it there",
            "rbl-format 3.2",
        )
    elif link_address is not None and link_address != address:
        yield _warning(
            "link-address",
            f"applications are linked for 0x{link_address:08x}, partition {app.name!r} begins at "
            f"0x{address:08x}",
            "rbl-format 3.2",
        )


def gaps(device: FlashGeometry, entries: Iterable[PartitionEntry]) -> Iterator[tuple[int, int]]:
    """Start and end of every range of the device that no partition covers, ascending."""
    position = 0
    rows = (entry for entry in entries if entry.device == device.name and entry.length > 0)
    for entry in sorted(rows, key=lambda row: row.offset):
        if entry.offset > position:
            yield position, min(entry.offset, device.size)
        position = max(position, entry.end)
    if position < device.size:
        yield position, device.size
