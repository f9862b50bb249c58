"""`sf`: SPI flash chips from the shell (console 9)."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from cloudsdk.errors import FlashError
from sim.flash.nor import NorFlash
from sim.msh.builtin.flash import bench, can_allocate, number, transfer
from sim.msh.commands import Command, Context, command, take
from sim.msh.kernel import DeviceType

BENCH_BLOCK: Final = 4096  # bytes
_NAME: Final = "sf_cmd"  # what the command calls the chip it has probed
_HELP: Final = {
    "probe": "sf probe [spi_device]           - probe and init SPI flash by given 'spi_device'",
    "read": "sf read addr size               - read 'size' bytes starting at 'addr'",
    "write": "sf write addr data1 ... dataN   - write some bytes 'data' to flash starting at 'addr'",
    "erase": "sf erase addr size              - erase 'size' bytes starting at 'addr'",
    "status": "sf status [<volatile> <status>] - read or write '1:volatile|0:non-volatile' 'status'",
    "bench": "sf bench                        - full chip benchmark. DANGER: It will erase full chip!",
}
_LEAST: Final = {"read": 4, "write": 4, "erase": 4, "status": 2, "bench": 2}


def sf_command() -> Command:
    """`sf` with its own chip, which it remembers from call to call."""
    return command("sf", "SPI Flash operate.")(_Sf().run)


class _Sf:
    def __init__(self) -> None:
        self._chip: NorFlash | None = None
        self._status = 0  # the status register

    def run(self, context: Context, arguments: Sequence[str]) -> Iterator[int]:
        operation = take(arguments, 1)
        if operation is None:
            context.write("Usage:\n" + "".join(line + "\n" for line in _HELP.values()) + "\n")
        elif operation == "probe":
            self._probe(context, take(arguments, 2))
        elif self._chip is None:
            context.write("No flash device selected. Please run 'sf probe'.\n")
        elif operation not in _LEAST:
            return
        elif len(arguments) < _LEAST[operation]:
            context.write(f"Usage: {_HELP[operation]}.\n")
        else:
            try:
                yield from self._operate(context, operation, arguments[2:], self._chip)
            except FlashError:
                context.write("This flash operate has an error. Error code: -1.\n")

    def _probe(self, context: Context, name: str | None) -> None:
        if name is None:
            context.write(f"Usage: {_HELP['probe']}.\n")
            return
        board = context.board
        known = {each.name for each in board.kernel.devices if each.type is DeviceType.SPI_DEVICE}
        # Devices with a bus address are not behind SPI.
        chips = [each for each in board.partitions.devices.values() if each.geometry.address == 0]
        self._chip = chips[0] if name in known and chips else None
        if self._chip is None:
            context.kprintf("ERROR: SPI device %s not found!\n", name)
            return
        size = self._chip.size
        context.write(f"[SFUD] Find a Winbond flash chip. Size is {size} bytes.\n")
        context.write(f"[SFUD] {_NAME} flash device is initialize success.\n")
        amount = f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"
        context.write(f"{amount} {_NAME} is current selected device.\n")

    def _operate(
        self, context: Context, operation: str, words: Sequence[str], chip: NorFlash
    ) -> Iterator[int]:
        values = [number(word) for word in words]
        if operation == "bench":
            yield from self._bench(context, words, chip)
        elif operation == "status":
            self._read_or_write_status(context, values)
        else:
            transfer(context, operation, values, chip, partial(_say, context), text=True)

    def _read_or_write_status(self, context: Context, values: Sequence[int]) -> None:
        if not values:
            context.kprintf("The %s flash status register current value is 0x%02X.\n", _NAME, self._status)
        elif len(values) == 2:
            self._status = values[1] & 0xFF
            context.kprintf("Write the %s flash status register to 0x%02X success.\n", _NAME, self._status)
        else:
            context.write(f"Usage: {_HELP['status']}.\n")

    def _bench(self, context: Context, words: Sequence[str], chip: NorFlash) -> Iterator[int]:
        if take(words, 0) != "yes":
            context.write("DANGER: It will erase full chip! Please run 'sf bench yes'.\n")
        elif can_allocate(context, 2 * BENCH_BLOCK):
            yield from bench(context, chip, BENCH_BLOCK)


def _say(context: Context, what: str, address: int, size: int, more: str) -> None:
    context.kprintf(
        "%s the %s flash data success. Start from 0x%08X, size is %ld.%s\n", what, _NAME, address, size, more
    )
