"""What the kernels of the two known boards hold, as the device's work goes on (console 6).

Threads with their priorities and stacks are facts; figures of use and the heap are plausible samples, fixed
so that the same state prints the same text. Threads of the CloudSDK: cloudsdk-protocol 7.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from sim.msh.kernel import (
    KERNEL_3_0_3,
    KERNEL_4_0_1,
    Device,
    DeviceType,
    Event,
    KernelState,
    Mailbox,
    Memory,
    Mutex,
    OpenFile,
    Semaphore,
    Thread,
    ThreadStatus,
    Timer,
)


@dataclass(frozen=True, slots=True)
class Activity:
    """What the device does, as far as it shows in the kernel."""

    starting: bool = False  # main() has not ended
    connecting: bool = False  # the SDK has not reached the broker
    mqtt: bool = False  # the MQTT client runs
    downloading: bool = False
    web_shell: bool = False
    web_log: bool = False


Profile = Callable[[int, Activity], KernelState]

_T = TypeVar("_T")
_TSHELL: Final = Thread("tshell", 20, 0x164, 0x1000, 30, 0x8, ThreadStatus.RUNNING)

# Heap in bytes behind what comes and goes: the stack, and what it allocates (cloudsdk-protocol 7).
_HEAP_MQTT: Final = 4096 + 2 * 2048
_HEAP_CONNECTING: Final = 2048
_HEAP_DOWNLOAD: Final = 2560 + 2 * 1024 + 4096 + 340
_HEAP_WEB_SHELL: Final = 2048 + 132 + 3 * 1024
_HEAP_WEB_LOG: Final = 2048 + 1024 + 140 + 3 * 1024
_HEAP_TOTAL: Final = 57360
_HEAP_CONNECTED: Final = 31208  # used while MQTT runs and nothing else goes on
_HEAP_MAX: Final = 38904


def iot_board(tick: int, activity: Activity) -> KernelState:
    """The IoT Board: kernel 4.0.1, names of 8."""
    threads = (
        *_when(activity.downloading, Thread("ota_down", 10, 0x1B8, 0xA00, 42, 0x2)),
        *_when(
            activity.web_log,
            Thread("web_log_", 15, 0xB4, 0x400, 24, 0x5),
            Thread("web_log", 15, 0x148, 0x800, 58, 0x3),
        ),
        *_when(activity.web_shell, Thread("web_shel", 15, 0x150, 0x800, 51, 0x4, wait_ticks=1000)),
        *_when(activity.mqtt, Thread("MQTT", 10, 0x1F0, 0x1000, 30, 0x2, wait_ticks=20000)),
        *_when(activity.connecting, Thread("cld_netw", 9, 0x1E4, 0x800, 47, 0x3, wait_ticks=10000)),
        Thread("WWD", 8, 0xA8, 0x800, 32, 0x13),
        _TSHELL,
        Thread("sys_work", 23, 0x78, 0x800, 5, 0xA),
        Thread("tcpip", 10, 0xBC, 0x400, 80, 0x13, error=-2, wait_ticks=250),
        Thread("wlan_job", 22, 0x5C, 0x800, 41, 0x9),
        Thread("mmcsd_de", 22, 0x98, 0x400, 52, 0xB, static=True),
        Thread("tidle0", 31, 0x54, 0x100, 32, 0x7, ThreadStatus.READY, static=True),
        *_when(activity.starting, Thread("main", 10, 0xC4, 0x800, 39, 0x12)),
    )
    return KernelState(
        KERNEL_4_0_1,
        tick,
        _memory(activity),
        threads,
        semaphores=(
            *_when(activity.web_log, Semaphore("weblog_o", 0), Semaphore("weblog_n", 0, ("web_log",))),
            *_when(activity.web_shell, Semaphore("webshell", 0)),
            *_when(activity.mqtt, Semaphore("sem1", 0, ("MQTT",)), Semaphore("sem0", 0)),
            Semaphore("env", 1),
            Semaphore("w0", 1),
            Semaphore("lock", 1),
            Semaphore("shrx", 0),
            Semaphore("sd_ack", 0),
            Semaphore("wqueue", 0, ("sys_work",)),
            Semaphore("wqueue", 0, ("wlan_job",)),
            Semaphore("heap", 1),
        ),
        events=(Event("sdio"),),
        mutexes=(
            *_when(activity.web_log, Mutex("weblog_r"), Mutex("weblog_t")),
            *_when(activity.web_shell, Mutex("webshell"), Mutex("webshell")),
            *_when(activity.mqtt, Mutex("pipe0")),
            *(
                Mutex(name)
                for name in (
                    "wlan_cfg",
                    "complete",
                    "sta",
                    "scan",
                    "mgnt",
                    "wlan_dev",
                    "sdio",
                    "sd_bus_l",
                    "w25q128",
                    "qspi1",
                    "sal_lock",
                    "fslock",
                )
            ),
        ),
        mailboxes=(
            Mailbox("mbox0", 0, 8, ("tcpip",)),
            Mailbox("mmcsdhot", 0, 4),
            Mailbox("mmcsdmb", 0, 4, ("mmcsd_de",)),
        ),
        timers=(
            Timer("timer_w0", 1000, 8000, active=False),
            _running_timer("wifi_tim", 2000, tick),
            *_thread_timers(threads, tick),
        ),
        devices=(
            *_cloud_devices(activity),
            Device("w0", DeviceType.NETWORK),
            Device("wlan1", DeviceType.NETWORK),
            Device("wlan0", DeviceType.NETWORK, 1),
            Device("w25q128", DeviceType.BLOCK),
            Device("qspi10", DeviceType.SPI_DEVICE),
            Device("qspi1", DeviceType.SPI_BUS),
            Device("uart1", DeviceType.CHARACTER, 2),
            Device("pin", DeviceType.MISCELLANEOUS),
        ),
        open_files=(OpenFile(0, "file", 1, "/uart1"),),
    )


def manual_board(tick: int, activity: Activity) -> KernelState:
    """The board of the manual: kernel 3.0.3, names of 10. What is below `ntp_sync` is not known."""
    threads = (
        *_when(activity.downloading, Thread("ota_downlo", 10, 0x1B8, 0xA00, 42, 0x2)),
        *_when(
            activity.web_log,
            Thread("web_log_re", 15, 0xB4, 0x400, 24, 0x5),
            Thread("web_log", 15, 0x148, 0x800, 58, 0x3),
        ),
        *_when(activity.web_shell, Thread("web_shell", 9, 0x17C, 0x800, 49, 0x3, wait_ticks=1000)),
        *_when(activity.mqtt, Thread("MQTT", 10, 0x1A4, 0x1000, 31, 0x1, wait_ticks=20000)),
        *_when(activity.connecting, Thread("cld_networ", 9, 0x1E4, 0x800, 47, 0x3, wait_ticks=10000)),
        Thread("web_iap", 19, 0x108, 0x1800, 24, 0xE),
        Thread("wifi_dog", 29, 0xA4, 0x400, 70, 0x8, wait_ticks=5000),
        Thread("WICED", 10, 0xCC, 0x800, 21, 0x8),
        replace(_TSHELL, stack_used=0x2BC, max_used=29, left_tick=0x3),
        Thread("elog_async", 31, 0xA4, 0x400, 29, 0x7),
        Thread("ntp_sync", 26, 0xA0, 0x600, 10, 0x2, wait_ticks=3600000),
        Thread("tcpip", 10, 0xBC, 0x400, 80, 0x13, error=-2, wait_ticks=250),
        Thread("tidle", 31, 0x54, 0x100, 32, 0x7, ThreadStatus.READY, static=True),
        *_when(activity.starting, Thread("main", 10, 0xC4, 0x800, 39, 0x12)),
    )
    return KernelState(
        KERNEL_3_0_3,
        tick,
        _memory(activity),
        threads,
        semaphores=(Semaphore("elog", 0, ("elog_async",)), Semaphore("shrx", 0), Semaphore("heap", 1)),
        mutexes=(*_when(activity.mqtt, Mutex("pipe0")), Mutex("w25q64"), Mutex("fslock")),
        mailboxes=(Mailbox("mbox0", 0, 8, ("tcpip",)),),
        timers=_thread_timers(threads, tick),
        devices=(
            *_cloud_devices(activity),
            Device("w0", DeviceType.NETWORK),
            Device("w25q64", DeviceType.BLOCK, 1),
            Device("spi10", DeviceType.SPI_DEVICE),
            Device("spi1", DeviceType.SPI_BUS),
            Device("uart1", DeviceType.CHARACTER, 2),
            Device("pin", DeviceType.MISCELLANEOUS),
        ),
    )


def _when(condition: bool, *objects: _T) -> tuple[_T, ...]:
    return objects if condition else ()


def _cloud_devices(activity: Activity) -> tuple[Device, ...]:
    return (
        *_when(activity.web_log, Device("weblog", DeviceType.CHARACTER, 1)),
        *_when(activity.web_shell, Device("webshell", DeviceType.CHARACTER, 1)),
        *_when(activity.mqtt, Device("pipe0", DeviceType.PIPE, 2)),
    )


def _memory(activity: Activity) -> Memory:
    used = (
        _HEAP_CONNECTED
        - _HEAP_MQTT
        + sum(
            size
            for size, there in (
                (_HEAP_MQTT, activity.mqtt),
                (_HEAP_CONNECTING, activity.connecting),
                (_HEAP_DOWNLOAD, activity.downloading),
                (_HEAP_WEB_SHELL, activity.web_shell),
                (_HEAP_WEB_LOG, activity.web_log),
            )
            if there
        )
    )
    return Memory(_HEAP_TOTAL, used, max(_HEAP_MAX, used))


def _thread_timers(threads: Sequence[Thread], tick: int) -> tuple[Timer, ...]:
    """Every thread owns a timer of its name, active while it waits for a time."""
    return tuple(
        _running_timer(each.name, each.wait_ticks, tick) if each.wait_ticks else Timer(each.name, 0, 0, False)
        for each in threads
    )


def _running_timer(name: str, period: int, tick: int) -> Timer:
    """A timer that was last started at a multiple of its period."""
    return Timer(name, period, (tick - tick % period + period) % (1 << 32), active=True)
