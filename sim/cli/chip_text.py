"""Words for what a chip map shows, the same on a terminal and in a drawing."""

from typing import Final

from sim.flash.chip_map import DeviceMap, FoundFirmware

_UNITS: Final = ((1024 * 1024, "MiB"), (1024, "KiB"))


def human_size(size: int) -> str:
    """Bytes in the largest unit that keeps the number above one, with one decimal at most."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} B"


def firmware_text(firmware: FoundFirmware | None) -> str:
    """What a partition's firmware header says, in a few words."""
    if firmware is None:
        return ""
    if not firmware.header_ok:
        return "header damaged"
    return f"{firmware.name} {firmware.version}, {'valid' if firmware.content_ok else 'content damaged'}"


def device_text(device: DeviceMap) -> str:
    """Size, address and erase blocks of a device."""
    blocks = " to ".join(human_size(size) for size in sorted({device.smallest_block, device.largest_block}))
    place = f" at 0x{device.address:08x}" if device.address else ""
    return f"{human_size(device.size)}{place}, erase blocks of {blocks}"
