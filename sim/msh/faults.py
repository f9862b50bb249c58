"""What the board says before it hangs: hard fault, failed assertion, stack overflow (console 10).

The texts are before the UART: a `\\r\\n` in them becomes `\\r\\r\\n` there.
"""

from dataclasses import dataclass, replace
from typing import Final

from sim.msh.kernel import KernelState, Thread, ThreadStatus, thread_list, unterminated

UNUSED_REGISTER: Final = 0xDEADBEEF  # what a fresh thread has in registers it has not used
_CALLEE_SAVED: Final = (UNUSED_REGISTER,) * 8
_VECTOR_TABLE: Final = 1 << 1
_FORCED: Final = 1 << 30
_DEBUG_EVENT: Final = 1 << 31
_ADDRESS_VALID: Final = 1 << 7  # of the bus and the memory fault byte

# Names by bit of the configurable fault status (Cortex-M4).
_BUS: Final = {0: "IBUSERR", 1: "PRECISERR", 2: "IMPRECISERR", 3: "UNSTKERR", 4: "STKERR"}
_MEMORY: Final = {0: "IACCVIOL", 1: "DACCVIOL", 3: "MUNSTKERR", 4: "MSTKERR"}
_USAGE: Final = {0: "UNDEFINSTR", 1: "INVSTATE", 2: "INVPC", 3: "NOCP", 8: "UNALIGNED", 9: "DIVBYZERO"}


@dataclass(frozen=True, slots=True)
class Registers:
    """The registers at a fault: r0 to r3, r4 to r11, and the others by name."""

    psr: int
    low: tuple[int, int, int, int]
    pc: int
    lr: int
    r12: int = 0
    saved: tuple[int, int, int, int, int, int, int, int] = _CALLEE_SAVED


@dataclass(frozen=True, slots=True)
class FaultStatus:
    """The fault status registers, 32 bits each. `address` is BFAR or MMAR."""

    hard: int = _FORCED
    configurable: int = 0
    address: int = 0

    @property
    def memory(self) -> int:
        """The byte MFSR."""
        return self.configurable & 0xFF

    @property
    def bus(self) -> int:
        """The byte BFSR."""
        return self.configurable >> 8 & 0xFF

    @property
    def usage(self) -> int:
        """The half word UFSR."""
        return self.configurable >> 16 & 0xFFFF


#: Samples: an access beyond the RAM, by code in flash.
_OVERRUN_REGISTERS: Final = Registers(
    psr=0x21000000, low=(0, 0x20003A10, 0, UNUSED_REGISTER), pc=0x08021C06, lr=0x08018F4D
)
_OVERRUN_STATUS: Final = FaultStatus(configurable=0x8200, address=0x40100000)


def stack_overrun(kernel: KernelState, thread: str) -> str:
    """The hard fault of the thread of that name after it has used up its stack, with sample registers."""
    name = thread[: kernel.style.name_max]
    threads = tuple(_at_fault(each, faulted=each.name == name) for each in kernel.threads)
    faulted = next((each for each in threads if each.name == name), None)
    return hard_fault(_OVERRUN_REGISTERS, _OVERRUN_STATUS, replace(kernel, threads=threads), faulted)


def _at_fault(thread: Thread, *, faulted: bool) -> Thread:
    if faulted:
        return replace(
            thread, stack_used=thread.stack_size, max_used=100, status=ThreadStatus.RUNNING, wait_ticks=0
        )
    if thread.status is ThreadStatus.RUNNING:
        return replace(thread, status=ThreadStatus.SUSPENDED)
    return thread


def hard_fault(
    registers: Registers,
    status: FaultStatus,
    kernel: KernelState,
    thread: Thread | None,
    *,
    fpu: bool = False,
) -> str:
    """The dump of a hard fault in `thread`, or in an interrupt (None). The console is dead after it."""
    named = [
        ("psr", registers.psr),
        *((f"r{number:02d}", value) for number, value in enumerate((*registers.low, *registers.saved))),
        ("r12", registers.r12),
        (" lr", registers.lr),
        (" pc", registers.pc),
    ]
    text = "".join(f"{name}: 0x{value:08x}\n" for name, value in named)
    if thread is None:
        text += "hard fault on handler\r\n\r\n"
    else:
        name = unterminated(thread.name, kernel.style, static=thread.static)
        text += f"hard fault on thread: {name}\r\n\r\n{thread_list(kernel)}"
    return text + ("FPU active!\r\n" if fpu else "") + _causes(status)


def _causes(status: FaultStatus) -> str:
    text = "failed vector fetch\n" if status.hard & _VECTOR_TABLE else ""
    if status.hard & _FORCED:
        if status.bus:
            text += "bus fault:\n" + _cause("BFSR", status.bus, _BUS, f"SCB->BFAR:{status.address:08X}")
        if status.memory:
            text += "mem manage fault:\n"
            text += _cause("MFSR", status.memory, _MEMORY, f"SCB->MMAR:{status.address:08X}")
        if status.usage:
            text += "usage fault:\n" + _cause("UFSR", status.usage, _USAGE, "")
    return text + ("debug event\n" if status.hard & _DEBUG_EVENT else "")


def _cause(register: str, value: int, names: dict[int, str], address: str) -> str:
    words = "".join(f"{name} " for bit, name in names.items() if value >> bit & 1)
    return f"SCB_CFSR_{register}:0x{value:02X} {words}{address if value & _ADDRESS_VALID else ''}\n"


def assertion_failed(condition: str, function: str, line: int) -> str:
    """`RT_ASSERT`; the board hangs."""
    return f"({condition}) assertion failed at function:{function}, line number:{line} \n"


def lwip_assertion(number: int, file: str, thread: str) -> str:
    """An assertion of lwIP."""
    return f"\nAssertion: {number} in {file}, thread {thread}\n"


def stack_overflow(thread: str) -> str:
    """The scheduler found a thread beyond its stack; the board hangs."""
    return f"thread:{thread} stack overflow\n"


def stack_warning(thread: str) -> str:
    """A thread is near the end of its stack; it goes on."""
    return f"warning: {thread} stack is close to end of stack address.\n"
