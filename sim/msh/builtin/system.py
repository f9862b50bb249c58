"""Kernel, shell and cloud commands (console 5, 6 and 9)."""

from collections.abc import Callable, Sequence
from typing import Final

from sim.msh import kernel
from sim.msh.commands import Command, Context, command
from sim.msh.shell import help_text


@command("version", "show RT-Thread version information")
def version(context: Context, arguments: Sequence[str]) -> None:
    context.write(kernel.banner(context.board.facts))


@command("help", "RT-Thread shell help.")
def show_help(context: Context, arguments: Sequence[str]) -> None:
    context.write(help_text(context.commands))


@command("time", "Execute command with time.")
def time(context: Context, arguments: Sequence[str]) -> None:
    """A stub in the original, too (console 4)."""


@command("exit", "return to RT-Thread shell mode.")
def leave(context: Context, arguments: Sequence[str]) -> None:
    """There is no C expression shell to return to: msh stays."""


@command("free", "Show the memory usage in the system.")
def free(context: Context, arguments: Sequence[str]) -> None:
    context.write(kernel.memory_text(context.board.kernel.memory))


@command("reboot", "Reboot System")
def reboot(context: Context, arguments: Sequence[str]) -> None:
    context.halt()
    context.board.reboot()


@command("cloud_init", "RT-Thread CloudSDK init and start")
def cloud_init(context: Context, arguments: Sequence[str]) -> None:
    context.board.cloud_init()


def _listing(name: str, description: str, show: Callable[[kernel.KernelState], str]) -> Command:
    def run(context: Context, arguments: Sequence[str]) -> None:
        context.write(show(context.board.kernel))

    return Command(name, description, run)


#: In the order of the symbol table.
LISTS: Final = (
    _listing("list_thread", "list thread", kernel.thread_list),
    _listing("list_sem", "list semaphore in system", kernel.semaphore_list),
    _listing("list_event", "list event in system", kernel.event_list),
    _listing("list_mutex", "list mutex in system", kernel.mutex_list),
    _listing("list_mailbox", "list mail box in system", kernel.mailbox_list),
    _listing("list_msgqueue", "list message queue in system", kernel.message_queue_list),
    _listing("list_memheap", "list memory heap in system", kernel.memory_heap_list),
    _listing("list_mempool", "list memory pool in system", kernel.memory_pool_list),
    _listing("list_timer", "list timer in system", kernel.timer_list),
    _listing("list_device", "list device in system", kernel.device_list),
)
list_fd = _listing("list_fd", "list file descriptor", kernel.file_list)
ps = _listing("ps", "List threads in the system.", kernel.thread_list)
