"""`cloudsim cloud shell`: the console of a device by way of the cloud."""

import contextlib
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sim.cli.cloud.access import open_client
from sim.cli.cloud.options import reach_options, which_product_option
from sim.cli.terminal import serial_port

if TYPE_CHECKING:
    from sim.cloud.client.shell import ShellClient

TAIL: Final = 256  # bytes of output in which the prompt is looked for; a path in it has at most so many
_PROMPT: Final = re.compile(rb"(?:^|[\r\n])(?:m|fin)sh [^\r\n]*>\Z")
_CR, _LF, _ESC, _DEL = 0x0D, 0x0A, 0x1B, 0x7F


@click.command()
@click.argument("sn", metavar="SN")
@which_product_option
@reach_options
def shell(sn: str, product: str | None, data: Path) -> None:
    """Open the console of the device with this SN until Ctrl-].

    From a pipe or file, each line is typed when the device shows its prompt, and the end closes the shell.
    Exits with 1 when the device or the cloud ends it.
    """
    from sim.cloud.errors import ShellEndedError

    with open_client(data) as admin, admin.open_shell(sn, product=product) as opened:
        console = RemoteConsole(opened, _write)
        with serial_port(console, at_end=console.finish):
            console.run()
        if not sys.stdin.isatty():
            click.echo()  # after the last prompt
        if not console.left:
            raise ShellEndedError(
                f"the shell has ended ({opened.end or 'connection lost'}): open another one"
            )


def _write(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


class RemoteConsole:
    """A shell to type into from one thread while `run` shows its output in another.

    The device echoes nothing, so what is typed is shown here (platform 5); line editing is the device's.
    """

    def __init__(self, shell: "ShellClient", show: Callable[[bytes], None]) -> None:
        self.left = False
        self._shell = shell
        self._show = show
        self._echo = LocalEcho()
        self._changed = threading.Condition()
        self._tail = b""
        self._ended = False

    def run(self) -> None:
        """Show what comes until the shell ends. Raises the `CloudError` that ends it."""
        try:
            for output in self._shell:
                with self._changed:
                    self._show(output)
                    self._tail = (self._tail + output)[-TAIL:]
                    self._changed.notify_all()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def type(self, data: bytes) -> None:
        from sim.cloud.errors import ShellEndedError

        with self._changed:
            self._show(self._echo.shown(data))
            self._tail = b""
        with contextlib.suppress(ShellEndedError):  # `run` hears why
            self._shell.send(data)

    def stop(self) -> None:
        self.left = True
        self._shell.close()

    def finish(self) -> None:
        """Leave when the last command has ended."""
        if self.wait_for_prompt():
            self.stop()

    def wait_for_prompt(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._ended or _PROMPT.search(self._tail) is not None)
            return not self._ended


class LocalEcho:
    """What a terminal shows of keys: text and line ends. The device answers all others itself."""

    def __init__(self) -> None:
        self._sequence = b""  # of an escape sequence that has begun

    def shown(self, keys: bytes) -> bytes:
        output = bytearray()
        for key in keys:
            if self._sequence:
                self._sequence = self._after(key)
            elif key == _ESC:
                self._sequence = b"\x1b"
            elif key in (_CR, _LF):
                output += b"\r\n"
            elif key >= 0x20 and key != _DEL:
                output.append(key)
        return bytes(output)

    def _after(self, key: int) -> bytes:
        """The escape sequence with `key`; nothing if that ends it."""
        if self._sequence == b"\x1b" and key in b"[O":
            return bytes((_ESC, key))
        is_final = self._sequence == b"\x1b" or 0x40 <= key <= 0x7E
        return b"" if is_final else self._sequence
