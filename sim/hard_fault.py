"""What a Cortex-M4 under RT-Thread 4.0.1 prints on a hard fault in a thread (console 10, table of console 6).

Layout and order are the original's; register values and stack figures are samples, the same each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

NAME_SIZE: Final = 8  # RT_NAME_MAX, stored without a terminator
_AFTER_FULL_NAME: Final = "\x01"  # the object type of a thread on the heap follows its name (console 6)
_UNUSED: Final = 0xDEADBEEF

_REGISTERS: Final = (
    ("psr", 0x21000000),
    ("r00", 0x00000000),
    ("r01", 0x20003A10),
    ("r02", 0x00000000),
    *((f"r{number:02}", _UNUSED) for number in range(3, 12)),
    ("r12", 0x00000000),
    (" lr", 0x08018F4D),
    (" pc", 0x08021C06),
)
_HEADER: Final = (
    "thread   pri  status      sp     stack size max used left tick  error\n"
    "-------- ---  ------- ---------- ----------  ------  ---------- ---\n"
)
_CAUSE: Final = "bus fault:\nSCB_CFSR_BFSR:0x82 PRECISERR SCB->BFAR:40100000\n"


@dataclass(frozen=True, slots=True)
class _Thread:
    name: str
    priority: int
    stack: int  # bytes
    used: int  # bytes now
    most_used: int  # percent
    tick: int  # ticks left
    status: str = "suspend"
    error: int = 0

    def row(self) -> str:
        return (
            f"{self.name[:NAME_SIZE]:<{NAME_SIZE}} {self.priority:3}  {self.status:<7} 0x{self.used:08x} "
            f"0x{self.stack:08x}    {self.most_used:02}%   0x{self.tick:08x} {self.error:03}\n"
        )


#: Stack and priority: cloudsdk-protocol 7.
_SDK: Final = {
    thread.name: thread
    for thread in (
        _Thread("cld_network", 9, 2048, 0x1A8, 58, 4),
        _Thread("MQTT", 10, 4096, 0x1F0, 30, 2),
        _Thread("ota_download", 10, 2560, 0x1C4, 44, 2),
        _Thread("web_shell", 15, 2048, 0x150, 51, 4),
        _Thread("web_log", 15, 2048, 0x188, 58, 4),
        _Thread("web_log_read", 15, 1024, 0x9C, 24, 4),
    )
}
_KERNEL: Final = (
    _Thread("WWD", 8, 2048, 0xA8, 32, 0x13),
    _Thread("tshell", 20, 4096, 0x164, 30, 8),
    _Thread("sys_work", 23, 2048, 0x78, 5, 10),
    _Thread("tcpip", 10, 1024, 0xBC, 80, 0x13, error=-2),
    _Thread("wlan_job", 22, 2048, 0x5C, 41, 9),
    _Thread("mmcsd_de", 22, 1024, 0x9C, 52, 11),
    _Thread("tidle0", 31, 256, 0x54, 32, 7, status="ready"),
)


def hard_fault(thread: str, threads: Sequence[str]) -> str:
    """The dump after `thread` has used up its stack; `threads` are the SDK's, the newest last.

    Line ends are those of the texts: the UART still turns each LF into CR LF.
    """
    registers = "".join(f"{name}: 0x{value:08x}\n" for name, value in _REGISTERS)
    name = thread[:NAME_SIZE]
    if len(name) == NAME_SIZE:
        name += _AFTER_FULL_NAME
    rows = "".join(_row(_SDK[each], thread) for each in reversed(threads) if each in _SDK)
    rows += "".join(each.row() for each in _KERNEL)
    return f"{registers}hard fault on thread: {name}\r\n\r\n{_HEADER}{rows}{_CAUSE}"


def _row(thread: _Thread, faulted: str) -> str:
    if thread.name != faulted:
        return thread.row()
    return replace(thread, used=thread.stack, most_used=100, status="running").row()
