"""What answers on the console of a fleet device: enough of a shell for a Web Shell to be used."""

from collections.abc import Iterable
from typing import Final

MAX_LINE: Final = 256  # bytes; the rest of a longer line is lost
_PROMPT: Final = b"msh />"


class PlainShell:
    """Says every line again, with a prompt behind it. Implements `cloudsdk.shell.ConsoleShell`."""

    __slots__ = ("_line",)

    def __init__(self) -> None:
        self._line = b""

    def feed(self, data: bytes, /) -> Iterable[bytes]:
        *lines, rest = (self._line + data.replace(b"\r", b"\n")).split(b"\n")
        self._line = rest[:MAX_LINE]
        return [b"%s: command not found.\n%s" % (line[:MAX_LINE], _PROMPT) for line in lines if line]

    def switched(self, *, remote: bool) -> Iterable[bytes]:
        return [_PROMPT] if remote else []
