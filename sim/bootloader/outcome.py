"""How a boot ended, the same for every bootloader."""

from dataclasses import dataclass
from enum import StrEnum

from cloudsdk.ota.rt_ota import HazardError


class BootOutcome(StrEnum):
    """How a boot ended. Only after JUMP does an application run."""

    JUMP = "jump"  # the application runs
    HALT = "halt"  # the bootloader stops by itself
    RESET = "reset"  # the bootloader resets the board by itself, and would do so for ever
    HANG = "hang"  # the original would never return; `BootResult.diagnosis` says why
    CRASH = "crash"  # the original would overrun a buffer or lose its own code
    POWER_CUT = "power-cut"


@dataclass(frozen=True, slots=True)
class BootResult:
    """Where the boot led: stack pointer and entry of the application, or why there is none.

    After a JUMP, `diagnosis` says what this boot could not settle and the next one will meet again.
    """

    outcome: BootOutcome
    stack_pointer: int | None = None
    entry: int | None = None
    diagnosis: str = ""


class CrashError(HazardError):
    """The original would overrun a buffer or lose its own code."""


def diagnosed(hazard: HazardError) -> BootResult:
    """The end of a boot that met a hazard."""
    outcome = BootOutcome.CRASH if isinstance(hazard, CrashError) else BootOutcome.HANG
    return BootResult(outcome, diagnosis=str(hazard))
