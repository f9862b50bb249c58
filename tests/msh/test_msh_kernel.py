"""The kernel's lists: formats of both releases, and what the boards hold (console 6)."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from msh_console import Console

from sim.flash.facts import KernelFacts
from sim.msh.kernel import (
    KERNEL_3_0_3,
    KERNEL_4_0_1,
    Device,
    DeviceType,
    Event,
    KernelState,
    Mailbox,
    Memory,
    MemoryHeap,
    MemoryPool,
    MessageQueue,
    Mutex,
    OpenFile,
    Semaphore,
    Thread,
    ThreadStatus,
    Timer,
    banner,
    device_list,
    event_list,
    file_list,
    mailbox_list,
    memory_heap_list,
    memory_pool_list,
    memory_text,
    message_queue_list,
    mutex_list,
    semaphore_list,
    thread_list,
    ticks,
    timer_list,
)
from sim.msh.kernels import Activity, iot_board, manual_board

CONNECTED = Activity(mqtt=True)
EMPTY = KernelState(KERNEL_4_0_1, 0, Memory(57360, 31208, 38904))
EXAMPLE = replace(
    EMPTY,
    tick=0x1A2B,
    threads=(Thread("sys_work", 23, 0x78, 0x800, 5, 0xA),),
    semaphores=(Semaphore("shrx", 0), Semaphore("wqueue", 0, ("sys_work",)), Semaphore("heap", 1)),
    mutexes=(Mutex("fslock"), Mutex("w25q128", "tshell", 1)),
    events=(Event("sdio"),),
    mailboxes=(Mailbox("mbox0", 0, 8, ("tcpip",)),),
    timers=(
        Timer("timer_w0", 1000, 8000, active=False),
        Timer("wifi_tim", 2000, 10000, active=True),
        Timer("tshell", 0, 0, active=False),
    ),
    open_files=(OpenFile(0, "file", 1, "/uart1"),),
)

IOT_BOARD_PS = """\
thread   pri  status      sp     stack size max used left tick  error
-------- ---  ------- ---------- ----------  ------  ---------- ---
web_shel  15  suspend 0x00000150 0x00000800    51%   0x00000004 000
MQTT      10  suspend 0x000001f0 0x00001000    30%   0x00000002 000
WWD        8  suspend 0x000000a8 0x00000800    32%   0x00000013 000
tshell    20  running 0x00000164 0x00001000    30%   0x00000008 000
sys_work  23  suspend 0x00000078 0x00000800    05%   0x0000000a 000
tcpip     10  suspend 0x000000bc 0x00000400    80%   0x00000013 -02
wlan_job  22  suspend 0x0000005c 0x00000800    41%   0x00000009 000
mmcsd_de  22  suspend 0x00000098 0x00000400    52%   0x0000000b 000
tidle0    31  ready   0x00000054 0x00000100    32%   0x00000007 000
"""

MANUAL_BOARD_PS = """\
thread     pri  status      sp     stack size max used left tick  error
---------- ---  ------- ---------- ----------  ------  ---------- ---
web_shell    9  suspend 0x0000017c 0x00000800    49%   0x00000003 000
MQTT        10  suspend 0x000001a4 0x00001000    31%   0x00000001 000
web_iap     19  suspend 0x00000108 0x00001800    24%   0x0000000e 000
wifi_dog    29  suspend 0x000000a4 0x00000400    70%   0x00000008 000
WICED       10  suspend 0x000000cc 0x00000800    21%   0x00000008 000
tshell      20  ready   0x000002bc 0x00001000    29%   0x00000003 000
elog_async  31  suspend 0x000000a4 0x00000400    29%   0x00000007 000
ntp_sync    26  suspend 0x000000a0 0x00000600    10%   0x00000002 000
"""

DEVICES = """\
device           type         ref count
-------- -------------------- ----------
pipe0    Pipe                 2       
w0       Network Interface    0       
wlan1    Network Interface    0       
wlan0    Network Interface    1       
w25q128  Block Device         0       
qspi10   SPI Device           0       
qspi1    SPI Bus              0       
uart1    Character Device     2       
pin      Miscellaneous Device 0       
"""  # noqa: W291 - the count is 8 wide


@pytest.mark.parametrize(
    ("show", "text"),
    [
        (
            semaphore_list,
            "semaphore v   suspend thread\n"
            "-------- --- --------------\n"
            "shrx     000 0\n"
            "wqueue   000 1:sys_work\x01\n"  # eight characters have no end of their own
            "heap     001 0\n",
        ),
        (
            mutex_list,
            "mutex      owner  hold suspend thread\n"
            "-------- -------- ---- --------------\n"
            "fslock   (NULL)   0000 0\n"
            "w25q128  tshell   0001 0\n",
        ),
        (
            event_list,
            "event         set    suspend thread\n"
            "--------  ---------- --------------\n"
            "sdio      0x00000000 0\n",
        ),
        (
            mailbox_list,
            "mailbox  entry size suspend thread\n"
            "-------- ----  ---- --------------\n"
            "mbox0    0000  0008 1:tcpip\n",
        ),
        (message_queue_list, "msgqueue entry suspend thread\n-------- ----  --------------\n"),
        (
            memory_heap_list,
            "memheap   pool size  max used size available size\n"
            "-------- ---------- ------------- --------------\n",
        ),
        (
            memory_pool_list,
            "mempool  block total free suspend thread\n-------- ----  ----  ---- --------------\n",
        ),
        (
            timer_list,
            "timer     periodic   timeout       flag\n"
            "-------- ---------- ---------- -----------\n"
            "timer_w0 0x000003e8 0x00001f40 deactivated\n"
            "wifi_tim 0x000007d0 0x00002710 activated\n"
            "tshell   0x00000000 0x00000000 deactivated\n"
            "current tick:0x00001a2b\n",
        ),
        (file_list, "fd type    ref magic  path\n-- ------  --- ----- ------\n 0 file      1 fdfd  /uart1\n"),
    ],
)
def test_lists_of_4_0_1(show: Callable[[KernelState], str], text: str) -> None:
    assert show(EXAMPLE) == text


def test_rows_the_examples_lack() -> None:
    state = replace(
        EMPTY,
        threads=(Thread("mmcsd_de", 22, 0, 1, 0, 0, static=True),),
        events=(Event("sdio", 0x10, ("a", "mmcsd_de")),),
        message_queues=(MessageQueue("mq", 3, ("a", "b")),),
        memory_heaps=(MemoryHeap("heap", 1024, 512, 256),),
        memory_pools=(MemoryPool("pool", 16, 8, 4),),
    )
    assert event_list(state).splitlines()[2] == "sdio      0x00000010 002:a/mmcsd_de\udc81"
    assert message_queue_list(state).splitlines()[2] == "mq       0003  2:a/b"
    assert memory_heap_list(state).splitlines()[2] == "heap     1024       512           256  "
    assert memory_pool_list(state).splitlines()[2] == "pool     0016  0008  0004 0"


def test_names_are_cut_to_8_and_a_full_stack_widens_its_line() -> None:
    state = replace(EMPTY, threads=(Thread("long_name", 1, 1, 2, 100, 3, error=-110),))
    assert thread_list(state).splitlines()[2] == (
        "long_nam   1  suspend 0x00000001 0x00000002    100%   0x00000003 -110"
    )


def test_columns_of_3_0_3_are_as_wide_as_the_longest_name() -> None:
    names = ("mq", "longer_than_ten")
    state = KernelState(
        KERNEL_3_0_3,
        0,
        EMPTY.memory,
        semaphores=(Semaphore("a", 1),),
        message_queues=tuple(MessageQueue(name, 0) for name in names),
    )
    assert (
        semaphore_list(state)
        == "semaphore v   suspend thread\n--------- --- --------------\na         001 0\n"
    )
    assert message_queue_list(state) == (
        "msgqueue   entry suspend thread\n"
        "---------- ----  --------------\n"
        "mq         0000  0\n"
        "longer_tha 0000  0\n"
    )


def test_ps_of_the_iot_board_is_the_pictured_one() -> None:
    assert thread_list(iot_board(0, Activity(mqtt=True, web_shell=True))) == IOT_BOARD_PS


def test_ps_of_the_manual_board_begins_as_pictured() -> None:
    assert thread_list(manual_board(0, Activity(mqtt=True, web_shell=True))).startswith(MANUAL_BOARD_PS)


def test_devices_of_the_iot_board() -> None:
    assert device_list(iot_board(0, CONNECTED)) == DEVICES


def test_free_of_the_connected_iot_board() -> None:
    assert memory_text(iot_board(0, CONNECTED).memory) == (
        "total memory: 57360\nused memory : 31208\nmaximum allocated memory: 38904\n"
    )


@pytest.mark.parametrize("board", [iot_board, manual_board])
@pytest.mark.parametrize(
    ("activity", "names"),
    [
        (Activity(starting=True), {"main"}),
        (Activity(connecting=True), {"cld_networ"}),
        (Activity(mqtt=True), {"MQTT"}),
        (Activity(downloading=True), {"ota_downlo"}),
        (Activity(web_shell=True), {"web_shell"}),
        (Activity(web_log=True), {"web_log", "web_log_re"}),
    ],
)
def test_threads_come_and_go_with_what_the_device_does(
    board: Callable[[int, Activity], KernelState], activity: Activity, names: set[str]
) -> None:
    def threads(state: KernelState) -> set[str]:
        return {each.name for each in state.threads}

    idle, busy = board(0, Activity()), board(0, activity)
    limit = busy.style.name_max
    assert threads(busy) - threads(idle) == {name[:limit] for name in names}
    assert busy.memory.available > 0
    assert busy.memory.used <= busy.memory.max_used
    assert len(busy.timers) - len(idle.timers) == len(names)


def test_console_devices_are_there_while_in_use() -> None:
    state = iot_board(0, Activity(web_shell=True, web_log=True))
    assert state.devices[:2] == (
        Device("weblog", DeviceType.CHARACTER, 1),
        Device("webshell", DeviceType.CHARACTER, 1),
    )


def test_timers_move_on_with_the_tick() -> None:
    before, after = (
        {each.name: each for each in iot_board(tick, CONNECTED).timers} for tick in (6699, 0xFFFFFFFF)
    )
    assert before["wifi_tim"] == Timer("wifi_tim", 2000, 8000, active=True)
    assert before["MQTT"].active
    assert not before["tshell"].active
    assert all(0 <= each.timeout < 1 << 32 for each in after.values())


def test_ticks_are_milliseconds_in_32_bits() -> None:
    assert ticks(6.699) == 6699
    assert ticks(4294967.297) == 1


def test_a_thread_that_runs_is_ready_to_3_0_3() -> None:
    thread = Thread("tshell", 20, 1, 2, 3, 4, ThreadStatus.RUNNING)
    assert " running " in thread_list(replace(EMPTY, threads=(thread,)))
    assert " ready   " in thread_list(replace(EMPTY, style=KERNEL_3_0_3, threads=(thread,)))


def test_banner_of_the_older_kernel_ends_in_2018() -> None:
    assert banner(KernelFacts("3.0.3", "Mar 22 2018")).endswith(
        " / | \\     3.0.3 build Mar 22 2018\n 2006 - 2018 Copyright by rt-thread team\n"
    )


def test_every_list_is_a_command() -> None:
    now = 6.699
    console = Console(clock=lambda: now, activity=CONNECTED)
    state = iot_board(6699, CONNECTED)
    for line, show in {
        "ps": thread_list,
        "list_thread": thread_list,
        "list_sem": semaphore_list,
        "list_event": event_list,
        "list_mutex": mutex_list,
        "list_mailbox": mailbox_list,
        "list_msgqueue": message_queue_list,
        "list_memheap": memory_heap_list,
        "list_mempool": memory_pool_list,
        "list_timer": timer_list,
        "list_device": device_list,
        "list_fd": file_list,
    }.items():
        assert console.run(line) == show(state)
    assert console.run("free") == memory_text(state.memory)
