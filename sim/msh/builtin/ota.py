"""`ota`: installed firmware from the shell. The original has no such command: words and columns are ours.

What counts as firmware, and as good, is what the rt_ota library says (rbl-format 3.2 and 3.5).
"""

from collections.abc import Callable, Sequence
from typing import Final

from cloudsdk.errors import FlashError
from cloudsdk.fal import Partition
from cloudsdk.ota.header import HEADER_SIZE
from cloudsdk.ota.rt_ota import HazardError, RtOta, printed_timestamp
from cloudsdk.session import OTA_LIBRARY_VERSION
from sim.msh.commands import Command, Context, take

_USAGE: Final = "Usage:\nota info                         - show the firmware in each partition\n\n"
_COLUMNS: Final = ("partition", "firmware", "version", "timestamp", "raw size", "content")
_ROW: Final = "{:<15} {:<15} {:<23} {:>11} {:>10} {}"


def _ota(context: Context, arguments: Sequence[str]) -> None:
    if take(arguments, 1) == "info":
        _info(context)
    else:
        context.write(_USAGE)


def _info(context: Context) -> None:
    table = context.board.partitions
    library = RtOta(table, lambda _line: None, version=OTA_LIBRARY_VERSION)
    context.write(_ROW.format(*_COLUMNS) + "\n")
    for partition in table:
        if partition.size < HEADER_SIZE:
            continue
        try:
            row = _row(library, partition)
        except FlashError:
            row = _ROW.format(partition.name, *("-" * 4), "cannot be read")
        if row is not None:
            context.write(row + "\n")


def _row(library: RtOta, partition: Partition) -> str | None:
    header = library.header(partition)
    if header is None:
        return None
    return _ROW.format(
        partition.name,
        header.name_text,
        header.version_text,
        printed_timestamp(header),
        header.raw_size,
        _content(library.verify, partition.name),
    )


def _content(verify: Callable[[str], bool], name: str) -> str:
    """Body CRC-32 in `download`, hash of the raw firmware elsewhere."""
    try:
        return "ok" if verify(name) else "damaged"
    except HazardError:
        return "sizes that the bootloader does not survive"


#: Not in `help`, whose text is that of the boards.
ota: Final = Command("ota", "Installed firmware.", _ota, listed=False)
