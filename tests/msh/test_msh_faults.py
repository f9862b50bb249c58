"""The texts before a board hangs (console 10)."""

from dataclasses import replace

import pytest

from sim.msh.faults import (
    FaultStatus,
    Registers,
    assertion_failed,
    hard_fault,
    lwip_assertion,
    stack_overflow,
    stack_overrun,
    stack_warning,
)
from sim.msh.kernel import thread_list
from sim.msh.kernels import Activity, iot_board
from sim.msh.kprintf import encode, uart

KERNEL = iot_board(0, Activity(mqtt=True))
TSHELL = next(each for each in KERNEL.threads if each.name == "tshell")
REGISTERS = Registers(psr=0x21000000, low=(0, 0x20003A10, 0, 0xDEADBEEF), pc=0x08021C06, lr=0x08018F4D)
BUS_FAULT = FaultStatus(configurable=0x8200, address=0x40100000)
DUMP = """\
psr: 0x21000000
r00: 0x00000000
r01: 0x20003a10
r02: 0x00000000
r03: 0xdeadbeef
r04: 0xdeadbeef
r05: 0xdeadbeef
r06: 0xdeadbeef
r07: 0xdeadbeef
r08: 0xdeadbeef
r09: 0xdeadbeef
r10: 0xdeadbeef
r11: 0xdeadbeef
r12: 0x00000000
 lr: 0x08018f4d
 pc: 0x08021c06
"""
CAUSE = "bus fault:\nSCB_CFSR_BFSR:0x82 PRECISERR SCB->BFAR:40100000\n"


def test_hard_fault_on_a_thread() -> None:
    text = hard_fault(REGISTERS, BUS_FAULT, KERNEL, TSHELL)
    assert text == f"{DUMP}hard fault on thread: tshell\r\n\r\n{thread_list(KERNEL)}{CAUSE}"
    assert b"tshell\r\r\n\r\r\nthread   pri" in uart(encode(text))


@pytest.mark.parametrize(("static", "mark"), [(False, b"\x01"), (True, b"\x81")])
def test_a_thread_name_of_8_has_no_end(static: bool, mark: bytes) -> None:
    thread = replace(TSHELL, name="web_shell", static=static)
    text = encode(hard_fault(REGISTERS, BUS_FAULT, KERNEL, thread))
    assert b"hard fault on thread: web_shel" + mark + b"\r\n" in text


def test_hard_fault_in_an_interrupt_has_no_table() -> None:
    assert hard_fault(REGISTERS, BUS_FAULT, KERNEL, None, fpu=True) == (
        f"{DUMP}hard fault on handler\r\n\r\nFPU active!\r\n{CAUSE}"
    )


def causes(**status: int) -> str:
    return hard_fault(REGISTERS, FaultStatus(**status), KERNEL, None).partition("\r\n\r\n")[2]


def test_causes_are_named_when_the_fault_was_forced() -> None:
    assert causes(configurable=0x0100_1F9B, address=0x10) == (
        "bus fault:\nSCB_CFSR_BFSR:0x1F IBUSERR PRECISERR IMPRECISERR UNSTKERR STKERR \n"
        "mem manage fault:\nSCB_CFSR_MFSR:0x9B IACCVIOL DACCVIOL MUNSTKERR MSTKERR SCB->MMAR:00000010\n"
        "usage fault:\nSCB_CFSR_UFSR:0x100 UNALIGNED \n"
    )
    assert causes(configurable=0x020F_0000).endswith(
        "SCB_CFSR_UFSR:0x20F UNDEFINSTR INVSTATE INVPC NOCP DIVBYZERO \n"
    )
    assert causes(hard=0, configurable=0x8200) == ""
    assert causes(hard=1 << 1 | 1 << 31) == "failed vector fetch\ndebug event\n"


def test_stack_overrun_faults_on_the_thread_that_ran_out() -> None:
    text = stack_overrun(iot_board(0, Activity(mqtt=True, downloading=True, web_log=True)), "web_log")
    head, _, rest = text.partition("\r\n\r\n")
    assert head == f"{DUMP}hard fault on thread: web_log"
    rows = rest.removesuffix(CAUSE).splitlines()[2:]
    assert [row[:8] for row in rows[:5]] == ["ota_down", "web_log_", "web_log ", "MQTT    ", "WWD     "]
    assert rows[2] == "web_log   15  running 0x00000800 0x00000800    100%   0x00000003 000"
    assert sum("running" in row for row in rows) == 1
    shell = iot_board(0, Activity(mqtt=True, web_shell=True))
    assert "hard fault on thread: web_shel\x01\r\n\r\n" in stack_overrun(shell, "web_shell")


def test_other_fatal_texts() -> None:
    assert assertion_failed("p != 0", "f", 12) == "(p != 0) assertion failed at function:f, line number:12 \n"
    assert stack_overflow("x") == "thread:x stack overflow\n"
    assert stack_warning("x") == "warning: x stack is close to end of stack address.\n"
    assert lwip_assertion(3, "tcp.c", "tcpip") == "\nAssertion: 3 in tcp.c, thread tcpip\n"
