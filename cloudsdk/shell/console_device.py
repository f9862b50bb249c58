"""The console device: where the device's output goes, and whose input reaches its shell.

Output is bytes with bare LF line ends; what a line end becomes is each device's own business (console 1).
"""

import codecs
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from cloudsdk.events import ConsoleText, StartTimer

LOCAL_CONSOLE: Final = "uart1"
SHELL_PAUSE: Final = "shell-pause"  # timer
_ENCODING: Final = "utf-8"


@dataclass(frozen=True, slots=True)
class Pause:
    """A command of the shell waits: what follows in the output is asked for after so many milliseconds."""

    milliseconds: int


class ConsoleShell(Protocol):
    """What reads the console's input: finsh/msh on a board. Each item of output is one console write."""

    def feed(self, data: bytes, /) -> Iterable[bytes | Pause]:
        """Consume input as it was typed, any number of bytes; returns the output.

        One output at a time has a `Pause`; what is typed until it has ended gives output without.
        """
        ...

    def switched(self, *, remote: bool) -> Iterable[bytes]:
        """The console was switched. To a remote one: echo off, run `version`, then the prompt; back: echo on
        and no output (cloudsdk-protocol 4)."""
        ...


class NoShell:
    """A device without a shell: input is lost."""

    def feed(self, _data: bytes, /) -> Iterable[bytes]:
        return ()

    def switched(self, *, remote: bool) -> Iterable[bytes]:
        return ()


_NO_SHELL: Final = NoShell()
_NO_OUTPUT: Final[Iterator[bytes | Pause]] = iter(())


class ConsoleDevice(Protocol):
    """A character device the console can be set to."""

    @property
    def name(self) -> str: ...

    @property
    def takes_local_input(self) -> bool:
        """Whether what is typed on the serial port reaches the shell."""
        ...

    def write(self, data: bytes, /) -> None: ...


class SerialPort:
    """The board's own console."""

    __slots__ = ("_decoder", "_emit")

    name = LOCAL_CONSOLE
    takes_local_input = True

    def __init__(self, emit: Callable[[ConsoleText], None]) -> None:
        self._emit = emit
        #: From the first write on that ends inside a character: a shell echoes byte by byte.
        self._decoder: codecs.IncrementalDecoder | None = None

    def write(self, data: bytes, /) -> None:
        if text := self._decoded(data):
            self._emit(ConsoleText(text))

    def _decoded(self, data: bytes) -> str:
        if self._decoder is None:
            try:
                return data.decode(_ENCODING)
            except UnicodeDecodeError:
                self._decoder = codecs.getincrementaldecoder(_ENCODING)("replace")
        return self._decoder.decode(data)


class Console:
    """`rt_console_set_device` and what goes through it."""

    __slots__ = ("_emit", "_paused", "_shell", "device")

    def __init__(
        self, emit: Callable[[ConsoleText | StartTimer], None], shell: ConsoleShell | None = None
    ) -> None:
        self.device: ConsoleDevice = SerialPort(emit)
        self._emit = emit
        self._shell = shell or _NO_SHELL
        self._paused = _NO_OUTPUT

    def set_device(self, device: ConsoleDevice) -> ConsoleDevice:
        """Switch to `device`; returns the previous one."""
        previous, self.device = self.device, device
        return previous

    def print(self, text: str | bytes) -> None:
        self.device.write(text if isinstance(text, bytes) else text.encode(errors="replace"))

    def feed(self, data: bytes) -> None:
        """Input for the shell; what it answers goes to the device of that moment."""
        self._show(iter(self._shell.feed(data)))

    def resume(self) -> None:
        """`SHELL_PAUSE` fired."""
        self._show(self._paused)

    def _show(self, output: Iterator[bytes | Pause]) -> None:
        for item in output:
            if isinstance(item, Pause):
                self._paused = output
                self._emit(StartTimer(SHELL_PAUSE, item.milliseconds / 1000))
                return
            self.device.write(item)

    def tell_shell(self, *, remote: bool) -> None:
        for output in self._shell.switched(remote=remote):
            self.device.write(output)

    def typed(self, data: bytes) -> None:
        """Input of the serial port; lost while the web shell has the console."""
        if self.device.takes_local_input:
            self.feed(data)
