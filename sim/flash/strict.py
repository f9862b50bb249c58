"""Strict mode: a device tells what a real part forbids or does differently."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from sim.flash.geometry import FlashGeometry, Reprogram
from sim.flash.power import FlashOperation, OperationFailedError

MAX_MISUSES: Final = 1000  # kept for one device; later ones are only counted


class Strict(StrEnum):
    """What a device does about misuse."""

    OFF = "off"  # nothing, at no cost
    REPORT = "report"  # notes it and goes on as the model does
    RAISE = "raise"  # notes it and fails the operation, which changes nothing


class Rule(StrEnum):
    """A rule of real parts that was broken."""

    LOST_BITS = "lost-bits"  # data with a 1 where the cell holds a 0
    PROGRAMMED_TWICE = "programmed-twice"  # a unit that takes one program between erases
    UNALIGNED = "unaligned"  # a write that begins inside a program unit; always refused
    ERASE_RANGE = "erase-range"  # an erase that takes more than was asked for
    PAGE_WRAP = "page-wrap"  # a page program over the end of the page goes on at its start


@dataclass(frozen=True, slots=True)
class Misuse:
    """`op` of `length` bytes at `offset` of the device broke `rule`; `text` says where and how."""

    op: str
    offset: int
    length: int
    rule: Rule
    text: str


class FlashMisuseError(OperationFailedError):
    """An operation that the part does not do as it was asked to."""

    code: ClassVar[str] = "flash.misuse"


class Inspector:
    """Looks at the operations of one device. With `raises` the checks raise `FlashMisuseError`.

    `misuses` holds the first `MAX_MISUSES` of `count`.
    """

    def __init__(self, geometry: FlashGeometry, *, raises: bool) -> None:
        self.misuses: list[Misuse] = []
        self.count = 0
        self._geometry = geometry
        self._raises = raises

    def note(self, misuse: Misuse) -> None:
        self.count += 1
        if len(self.misuses) < MAX_MISUSES:
            self.misuses.append(misuse)

    def check_call(self, call: FlashOperation) -> None:
        """A driver call, for the range that it takes."""
        offset, length = call.offset, call.length
        if call.op == "erase":
            start, extent = self._geometry.touched(offset, length)
            if (start, extent) != (offset, length):
                text = f"erases {extent} bytes at {start:#x}; begin and end on erase blocks"
                self._found(call, Rule.ERASE_RANGE, text)
        elif call.op == "program":
            page = self._geometry.page_size
            if offset % page + length > page:
                text = f"goes on at the start of the {page}-byte page; split it there"
                self._found(call, Rule.PAGE_WRAP, text)

    def check_program(self, primitive: FlashOperation, old: bytes) -> None:
        """A page program over `old`, the cells of all program units that it touches."""
        if self._geometry.reprogram is Reprogram.ZERO:
            self._check_units(primitive, old)
        else:
            self._check_bits(primitive, old)

    def _check_units(self, primitive: FlashOperation, old: bytes) -> None:
        unit = self._geometry.program_unit
        erased, zero = b"\xff" * unit, bytes(unit)
        data = primitive.data.ljust(len(old), b"\xff")
        for start in range(0, len(old), unit):
            piece = slice(start, start + unit)
            if old[piece] != erased and data[piece] != zero:
                where = primitive.offset + start
                text = f"the {unit} bytes at {where:#x} are programmed; erase first, or program all zeros"
                self._found(primitive, Rule.PROGRAMMED_TWICE, text)
                return

    def _check_bits(self, primitive: FlashOperation, old: bytes) -> None:
        data = primitive.data
        missing = int.from_bytes(data) & ~int.from_bytes(old[: len(data)])
        if missing:
            first = len(data) - (missing.bit_length() + 7) // 8
            cell, value, where = old[first], data[first], primitive.offset + first
            text = f"{value:#04x} over {cell:#04x} at {where:#x} leaves {cell & value:#04x}; erase first"
            self._found(primitive, Rule.LOST_BITS, text)

    def _found(self, operation: FlashOperation, rule: Rule, text: str) -> None:
        misuse = Misuse(operation.op, operation.offset, operation.length, rule, text)
        self.note(misuse)
        if self._raises:
            raise FlashMisuseError(
                f"{misuse.op} of {misuse.length} bytes at {misuse.offset:#x} of {operation.device}: "
                f"{text} [{rule.value}]"
            )
