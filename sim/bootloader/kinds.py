"""The bootloaders by the kind that a board layout names."""

from collections.abc import Callable

from cloudsdk.fal import Partition
from cloudsdk.ota.header import HEADER_SIZE, MAGIC, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.rt_ota import header_offset
from sim.bootloader import qboot, rt_ota
from sim.bootloader.decoded import DecodeCache
from sim.bootloader.outcome import BootResult
from sim.flash.facts import BootloaderFacts
from sim.flash.fal import FalTable


def boot(
    partitions: FalTable,
    keys: PackageKeys,
    write: Callable[[str], None],
    *,
    cache: DecodeCache | None = None,
    factory_key: bool = False,
) -> BootResult:
    """Run the board's bootloader once; only QBoot looks at `factory_key`. Raises `PowerCut`."""
    kind = partitions.layout.bootloader.kind
    if kind == "qboot":
        return qboot.boot(partitions, keys, write, cache=cache, factory_key=factory_key)
    return rt_ota.boot(partitions, keys, write, cache=cache, factory=kind == "rt_ota+factory")


def installed(bootloader: BootloaderFacts, partition: Partition) -> RblHeader | None:
    """The firmware header of a partition, or None when that bootloader would not take it for one.

    rt_ota never looks at the magic (rbl-format 3.2); QBoot keeps a package in `factory`, too.
    """
    is_qboot = bootloader.kind == "qboot"
    offset = (qboot.header_offset if is_qboot else header_offset)(partition)
    header = RblHeader.unpack(partition.read(offset, HEADER_SIZE))
    return header if header.crc_ok and (header.magic == MAGIC or not is_qboot) else None
