"""How a boot ended, the same for every bootloader."""

from dataclasses import dataclass
from enum import StrEnum


class BootOutcome(StrEnum):
    """How a boot ended."""

    JUMP = "jump"  # the application runs
    HALT = "halt"  # the bootloader stops by itself
    HANG = "hang"  # the original would never return; `BootResult.diagnosis` says why
    CRASH = "crash"  # the original would overrun a buffer
    POWER_CUT = "power-cut"


@dataclass(frozen=True, slots=True)
class BootResult:
    """Where the boot led: stack pointer and entry of the application, or why there is none."""

    outcome: BootOutcome
    stack_pointer: int | None = None
    entry: int | None = None
    diagnosis: str = ""
