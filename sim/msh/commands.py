"""What a command is, and what it gets to work with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cloudsdk.env import Env
from sim.flash.facts import KernelFacts
from sim.flash.fal import FalTable
from sim.msh.files import FileSystem
from sim.msh.kernel import KernelState
from sim.msh.kprintf import Argument, encode, kprintf
from sim.msh.network import Network
from sim.msh.parser import CommandLine


class ShellEnv(Env, Protocol):
    """The ENV as the commands use it. `sim.flash.easyflash.EasyFlashEnv` is one; it prints its own lines."""

    def set_default(self) -> None: ...

    def print_env(self) -> str:
        """What `printenv` prints."""
        ...


class ShellBoard(Protocol):
    """What commands need from the board. Methods never wait."""

    @property
    def facts(self) -> KernelFacts: ...

    @property
    def kernel(self) -> KernelState:
        """The kernel's objects as they are now."""
        ...

    @property
    def partitions(self) -> FalTable: ...

    @property
    def env(self) -> ShellEnv: ...

    @property
    def files(self) -> FileSystem | None:
        """None for firmware without a file system."""
        ...

    @property
    def network(self) -> Network: ...

    def reboot(self) -> None:
        """Reset the board. No more output of this shell may follow."""
        ...

    def cloud_init(self) -> None:
        """Start the CloudSDK unless it runs; it prints its own lines."""
        ...

    def wlan_ready(self) -> None:
        """A WLAN was joined: the interface gets its address, and the CloudSDK starts unless it runs."""
        ...


@dataclass(slots=True)
class Context:
    """A command's surroundings.

    `line` is the parsed line, `commands` the table the shell has. `cwd` is the working directory. `printed`
    takes bytes before the UART.
    """

    board: ShellBoard
    commands: "Sequence[Command]"
    printed: Callable[[bytes], None]
    cwd: str = "/"
    halted: bool = False
    line: CommandLine = field(default_factory=lambda: CommandLine(b"", (), False))

    def write(self, text: str) -> None:
        """Print text of any length; `\\n` ends lines."""
        self.printed(encode(text))

    def kprintf(self, template: str, *arguments: Argument) -> None:
        """Print as one `rt_kprintf` call does, limits included (console 11)."""
        self.printed(kprintf(template, *arguments))

    def halt(self) -> None:
        """The console is dead from here on: no prompt, no input."""
        self.halted = True


#: Gets the context and the arguments, the command's name first. One that has to wait is a generator and
#: yields milliseconds.
CommandFunction = Callable[[Context, Sequence[str]], Iterator[int] | None]


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the command table. `help` shows it if it is `listed`."""

    name: str
    description: str
    run: CommandFunction
    listed: bool = True


def command(name: str, description: str) -> Callable[[CommandFunction], Command]:
    """Make a function a command::

        @command("hello", "say hello")
        def hello(context: Context, arguments: Sequence[str]) -> None:
            context.write("Hello RT-Thread!\\n")

    An exception it raises becomes one line on the console.
    """

    def decorate(function: CommandFunction) -> Command:
        return Command(name, description, function)

    return decorate


def take(arguments: Sequence[str], index: int) -> str | None:
    """The argument at `index`, or None."""
    return arguments[index] if index < len(arguments) else None
