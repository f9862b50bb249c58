"""`fal`: partitions and devices from the shell (console 9, FAL 0.2.0)."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from cloudsdk import console
from cloudsdk.errors import FlashError
from sim.flash.fal import FalPartition, table_lines
from sim.flash.nor import NorFlash
from sim.msh.builtin.flash import bench, can_allocate, console_line, number, transfer
from sim.msh.commands import Command, Context, command, take

_HELP: Final = {
    "probe": "fal probe [dev_name|part_name]   - probe flash device or partition by given name",
    "read": "fal read addr size               - read 'size' bytes starting at 'addr'",
    "write": "fal write addr data1 ... dataN   - write some bytes 'data' starting at 'addr'",
    "erase": "fal erase addr size              - erase 'size' bytes starting at 'addr'",
    "bench": "fal bench <blk_size>             - benchmark test with per block size",
}
_LEAST: Final = {"read": 4, "write": 4, "erase": 4, "bench": 3}  # arguments with `fal` and its subcommand
_FAILED: Final = "This operate has an error. Error code: -1.\n"


def fal_command() -> Command:
    """`fal` with its own selection, which it remembers from call to call."""
    return command("fal", "FAL (Flash Abstraction Layer) operate.")(_Fal().run)


class _Fal:
    def __init__(self) -> None:
        self._selected: NorFlash | FalPartition | None = None

    def run(self, context: Context, arguments: Sequence[str]) -> Iterator[int]:
        operation = take(arguments, 1)
        if operation is None:
            _show_help(context)
        elif operation == "probe":
            self._probe(context, take(arguments, 2))
        elif self._selected is None:
            context.write("No flash device or partition was probed. Please run 'fal probe'.\n")
        elif operation not in _LEAST:
            _show_help(context)
        elif len(arguments) < _LEAST[operation]:
            context.write(f"Usage: {_HELP[operation]}.\n")
        else:
            try:
                yield from self._operate(context, operation, arguments[2:], self._selected)
            except FlashError as error:
                context.write(console_line(error) + _FAILED)

    def _probe(self, context: Context, name: str | None) -> None:
        table = context.board.partitions
        if name is not None:
            self._selected = table.devices.get(name) or table.find(name)
            if self._selected is None:
                context.kprintf("Device %s NOT found. Probe failed.\n", name)
        match self._selected:
            case NorFlash() as device:
                context.kprintf(
                    "Probed a flash device | %s | addr: %d | len: %d |.\n",
                    device.name,
                    device.geometry.address,
                    device.size,
                )
            case FalPartition() as partition:
                context.kprintf(
                    "Probed a flash partition | %s | flash_dev: %s | offset: %d | len: %d |.\n",
                    partition.name,
                    partition.device_name,
                    partition.offset,
                    partition.size,
                )
            case None:
                context.write(f"No flash device or partition was probed.\nUsage: {_HELP['probe']}.\n")
                for line in table_lines(table.layout.partitions, app=True):
                    context.write(console.fal_info(line))

    def _operate(
        self, context: Context, operation: str, words: Sequence[str], memory: NorFlash | FalPartition
    ) -> Iterator[int]:
        values = [number(word) for word in words]
        if operation == "bench":
            yield from self._bench(context, words, memory)
        else:
            transfer(context, operation, values, memory, partial(_say, context), text=False)

    def _bench(
        self, context: Context, words: Sequence[str], memory: NorFlash | FalPartition
    ) -> Iterator[int]:
        block = number(words[0])
        if take(words, 1) != "yes":
            context.write(
                f"DANGER: It will erase full chip or partition! Please run 'fal bench {block} yes'.\n"
            )
        elif block <= 0:  # the original would go on for ever
            context.write("Low memory!\n")
        elif can_allocate(context, 2 * block):
            yield from bench(context, memory, block)


def _show_help(context: Context) -> None:
    context.write("Usage:\n" + "".join(line + "\n" for line in _HELP.values()) + "\n")


def _say(context: Context, what: str, address: int, size: int, more: str) -> None:
    context.kprintf("%s data success. Start from 0x%08X, size is %ld.%s\n", what, address, size, more)
