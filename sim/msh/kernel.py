"""Kernel objects as data, and the lists that `ps`, `list_*` and `free` print of them (console 6)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sim.flash.facts import KernelFacts

TICKS_PER_SECOND: Final = 1000
_WORD: Final = 1 << 32


class ThreadStatus(Enum):
    """What a thread does."""

    INIT = "init"
    READY = "ready"
    RUNNING = "running"
    SUSPENDED = "suspend"
    CLOSED = "close"


class DeviceType(Enum):
    """Device classes with their names in `list_device`."""

    CHARACTER = "Character Device"
    BLOCK = "Block Device"
    NETWORK = "Network Interface"
    MTD = "MTD Device"
    CAN = "CAN Device"
    RTC = "RTC"
    SOUND = "Sound Device"
    GRAPHIC = "Graphic Device"
    I2C_BUS = "I2C Bus"
    USB_DEVICE = "USB Slave Device"
    USB_HOST = "USB Host Bus"
    SPI_BUS = "SPI Bus"
    SPI_DEVICE = "SPI Device"
    SDIO = "SDIO Bus"
    POWER_MANAGEMENT = "PM Pseudo Device"
    PIPE = "Pipe"
    PORTAL = "Portal Device"
    TIMER = "Timer Device"
    MISCELLANEOUS = "Miscellaneous Device"
    SENSOR = "Sensor Device"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class KernelStyle:
    """How a kernel release prints its lists.

    `name_max` is RT_NAME_MAX in bytes. Columns of names are that wide, or as wide as the longest name of the
    list and its title (`fits_columns`). Older kernels call the running thread ready, and have no netdev layer
    (console 8).
    """

    name_max: int
    fits_columns: bool
    knows_running: bool
    has_netdev: bool


KERNEL_4_0_1: Final = KernelStyle(name_max=8, fits_columns=False, knows_running=True, has_netdev=True)
KERNEL_3_0_3: Final = KernelStyle(name_max=10, fits_columns=True, knows_running=False, has_netdev=False)


@dataclass(frozen=True, slots=True)
class Thread:
    """`stack_used` and `stack_size` are bytes, `max_used` percent of the stack, `left_tick` what is left of
    the time slice, `error` an `rt_err_t`. `wait_ticks` is the length of a timed wait. A `static` thread is
    not from the heap.
    """

    name: str
    priority: int
    stack_used: int
    stack_size: int
    max_used: int
    left_tick: int
    status: ThreadStatus = ThreadStatus.SUSPENDED
    error: int = 0
    wait_ticks: int = 0
    static: bool = False


@dataclass(frozen=True, slots=True)
class Semaphore:
    name: str
    value: int
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mutex:
    name: str
    owner: str | None = None
    hold: int = 0
    waiting: int = 0  # threads


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    value: int = 0
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mailbox:
    name: str
    entries: int
    size: int
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MessageQueue:
    name: str
    entries: int
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MemoryHeap:
    """Sizes are bytes."""

    name: str
    size: int
    max_used: int
    available: int


@dataclass(frozen=True, slots=True)
class MemoryPool:
    """`block` is bytes, `total` and `free` are blocks."""

    name: str
    block: int
    total: int
    free: int
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timer:
    """`period` and `timeout` (when it is due) are ticks."""

    name: str
    period: int
    timeout: int
    active: bool


@dataclass(frozen=True, slots=True)
class Device:
    name: str
    type: DeviceType
    references: int = 0


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file descriptor."""

    number: int
    type: str
    references: int
    path: str


@dataclass(frozen=True, slots=True)
class Memory:
    """The heap, in bytes."""

    total: int
    used: int
    max_used: int

    @property
    def available(self) -> int:
        return self.total - self.used


@dataclass(frozen=True, slots=True)
class KernelState:
    """All objects at one tick, newest first."""

    style: KernelStyle
    tick: int
    memory: Memory
    threads: tuple[Thread, ...] = ()
    semaphores: tuple[Semaphore, ...] = ()
    events: tuple[Event, ...] = ()
    mutexes: tuple[Mutex, ...] = ()
    mailboxes: tuple[Mailbox, ...] = ()
    message_queues: tuple[MessageQueue, ...] = ()
    memory_heaps: tuple[MemoryHeap, ...] = ()
    memory_pools: tuple[MemoryPool, ...] = ()
    timers: tuple[Timer, ...] = ()
    devices: tuple[Device, ...] = ()
    open_files: tuple[OpenFile, ...] = ()


def ticks(seconds: float) -> int:
    """The tick counter, 32 bits, after `seconds` since the start."""
    return int(seconds * TICKS_PER_SECOND) % _WORD


def is_kernel_4(facts: KernelFacts) -> bool:
    """Whether the firmware is that of the IoT Board; with an older kernel it is the manual's."""
    return facts.version >= "4"


def banner(facts: KernelFacts) -> str:
    """What `version` prints, an empty line first (console 2.1)."""
    last_year = 2019 if is_kernel_4(facts) else 2018
    return (
        "\n \\ | /\n"
        "- RT -     Thread Operating System\n"
        f" / | \\     {facts.version} build {facts.build}\n"
        f" 2006 - {last_year} Copyright by rt-thread team\n"
    )


def unterminated(name: str, style: KernelStyle, *, static: bool) -> str:
    """A thread's name as `%s` prints it.

    One of full length has no terminator; the byte of the object's type follows it (console 6).
    """
    if len(name) < style.name_max:
        return name
    return name[: style.name_max] + ("\udc81" if static else "\x01")


def thread_list(state: KernelState) -> str:
    """`ps` and `list_thread`."""
    rows = [
        (
            each.name,
            f" {each.priority:3d}  {_status(each, state.style):<7} 0x{each.stack_used:08x} "
            f"0x{each.stack_size:08x}    {each.max_used:02d}%   0x{each.left_tick:08x} {each.error:03d}",
        )
        for each in state.threads
    ]
    return _table(
        state.style,
        "thread",
        " pri  status      sp     stack size max used left tick  error",
        " ---  ------- ---------- ----------  ------  ---------- ---",
        rows,
    )


def semaphore_list(state: KernelState) -> str:
    rows = [(each.name, f" {each.value:03d} {_waiting(each.waiting, state)}") for each in state.semaphores]
    return _table(state.style, "semaphore", " v   suspend thread", " --- --------------", rows)


def event_list(state: KernelState) -> str:
    rows = [
        (each.name, f"  0x{each.value:08x} {_waiting(each.waiting, state, digits=3)}")
        for each in state.events
    ]
    return _table(state.style, "event", "      set    suspend thread", "  ---------- --------------", rows)


def mutex_list(state: KernelState) -> str:
    limit = state.style.name_max
    rows = [
        (each.name, f" {(each.owner or '(NULL)')[:limit]:<8} {each.hold:04d} {each.waiting}")
        for each in state.mutexes
    ]
    return _table(
        state.style, "mutex", "   owner  hold suspend thread", " -------- ---- --------------", rows
    )


def mailbox_list(state: KernelState) -> str:
    rows = [
        (each.name, f" {each.entries:04d}  {each.size:04d} {_waiting(each.waiting, state)}")
        for each in state.mailboxes
    ]
    return _table(state.style, "mailbox", " entry size suspend thread", " ----  ---- --------------", rows)


def message_queue_list(state: KernelState) -> str:
    rows = [
        (each.name, f" {each.entries:04d}  {_waiting(each.waiting, state)}") for each in state.message_queues
    ]
    return _table(state.style, "msgqueue", " entry suspend thread", " ----  --------------", rows)


def memory_heap_list(state: KernelState) -> str:
    rows = [
        (each.name, f" {each.size:<10d} {each.max_used:<13d} {each.available:<5d}")
        for each in state.memory_heaps
    ]
    return _table(
        state.style,
        "memheap",
        "  pool size  max used size available size",
        " ---------- ------------- --------------",
        rows,
    )


def memory_pool_list(state: KernelState) -> str:
    rows = [
        (each.name, f" {each.block:04d}  {each.total:04d}  {each.free:04d} {_waiting(each.waiting, state)}")
        for each in state.memory_pools
    ]
    return _table(
        state.style, "mempool", " block total free suspend thread", " ----  ----  ---- --------------", rows
    )


def timer_list(state: KernelState) -> str:
    rows = [
        (
            each.name,
            f" 0x{each.period:08x} 0x{each.timeout:08x} {'activated' if each.active else 'deactivated'}",
        )
        for each in state.timers
    ]
    listed = _table(
        state.style,
        "timer",
        "  periodic   timeout       flag",
        " ---------- ---------- -----------",
        rows,
    )
    return f"{listed}current tick:0x{state.tick:08x}\n"


def device_list(state: KernelState) -> str:
    rows = [(each.name, f" {each.type.value:<20} {each.references:<8d}") for each in state.devices]
    return _table(
        state.style,
        "device",
        "         type         ref count",
        " -------------------- ----------",
        rows,
    )


def file_list(state: KernelState) -> str:
    """`list_fd`."""
    rows = "".join(
        f"{each.number:2d} {each.type[:7]:<7} {each.references:3d} fdfd  {each.path}\n"
        for each in state.open_files
    )
    return f"fd type    ref magic  path\n-- ------  --- ----- ------\n{rows}"


def memory_text(memory: Memory) -> str:
    """`free`."""
    return (
        f"total memory: {memory.total}\n"
        f"used memory : {memory.used}\n"
        f"maximum allocated memory: {memory.max_used}\n"
    )


def _table(style: KernelStyle, title: str, heading: str, rule: str, rows: Sequence[tuple[str, str]]) -> str:
    limit = style.name_max
    width = max([len(title), *(len(name[:limit]) for name, _ in rows)]) if style.fits_columns else limit
    lines: Iterable[str] = (
        f"{title:<{width}}{heading}",
        "-" * width + rule,
        *(f"{name[:limit]:<{width}}{row}" for name, row in rows),
    )
    return "".join(line + "\n" for line in lines)


def _status(thread: Thread, style: KernelStyle) -> str:
    if thread.status is ThreadStatus.RUNNING and not style.knows_running:
        return ThreadStatus.READY.value
    return thread.status.value


def _waiting(names: Sequence[str], state: KernelState, digits: int = 0) -> str:
    """How many threads wait, and their names; `digits` is the least width of a count that is not 0."""
    if not names:
        return "0"
    static = {each.name for each in state.threads if each.static}
    listed = "/".join(unterminated(name, state.style, static=name in static) for name in names)
    return f"{len(names):0{digits}d}:{listed}"
