"""The line editor of msh (console 3): keys in, echo and finished lines out."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

LINE_SIZE: Final = 80  # bytes of the line buffer; the one that fills it starts it over
HISTORY_LINES: Final = 5
_ESC, _BRACKET, _TAB, _BACKSPACE, _DELETE = 0x1B, 0x5B, 0x09, 0x08, 0x7F
_DROPPED: Final = (0x00, 0xFF)
_ENTER: Final = b"\r\n"
_UP, _DOWN, _RIGHT, _LEFT = b"ABCD"
_CLEAR_LINE: Final = b"\x1b[2K\r"


@dataclass(frozen=True, slots=True)
class EnteredLine:
    """A line that was ended with Enter.

    `length` counts the typed bytes. `content` is what the buffer holds up to a NUL: more than was typed once
    the line has run over its end.
    """

    content: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Stroke:
    """What one byte leads to: output before the UART (`\\n` ends lines), and maybe a finished line."""

    output: bytes = b""
    line: EnteredLine | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What TAB finds: text to list, and the line that stands there afterwards."""

    listing: bytes
    line: bytes


class _Escape(Enum):
    NONE = auto()
    STARTED = auto()  # ESC was seen
    BRACKET = auto()  # ESC [ was seen


_NOTHING: Final = Stroke()


class LineEditor:
    """One line at a time, of 79 usable bytes. Its state never grows, whatever is typed.

    `prompt` gives the text in front of the line, `complete` what TAB does to it; a completed line is cut
    to 79 bytes, where the original overruns its buffer. With `echo` off (Web Shell) typed text and Enter
    are not repeated; what moves the cursor still is.
    """

    def __init__(
        self, prompt: Callable[[], bytes], complete: Callable[[bytes], Completion], *, echo: bool = True
    ) -> None:
        self.echo = echo
        self._prompt = prompt
        self._complete = complete
        self._buffer = bytearray(LINE_SIZE)
        self._length = 0  # bytes that count as typed
        self._cursor = 0
        self._escape = _Escape.NONE
        self._history: deque[bytes] = deque(maxlen=HISTORY_LINES)  # whole buffers, oldest first
        self._shown = 0  # which of them Up starts from

    @property
    def history(self) -> tuple[bytes, ...]:
        """The stored lines, oldest first."""
        return tuple(_text(entry) for entry in self._history)

    def press(self, byte: int) -> Stroke:
        """Take one byte. The caller shows the prompt after it has dealt with a finished line."""
        escape, self._escape = self._escape, _Escape.NONE
        if byte == _ESC:
            self._escape = _Escape.STARTED
            return _NOTHING
        if escape is _Escape.STARTED and byte == _BRACKET:
            self._escape = _Escape.BRACKET
            return _NOTHING
        if escape is _Escape.BRACKET and byte in (_UP, _DOWN, _RIGHT, _LEFT):
            return Stroke(self._arrow(byte))
        if byte in _DROPPED:
            return _NOTHING
        if byte == _TAB:
            return Stroke(self._tab())
        if byte in (_BACKSPACE, _DELETE):
            return Stroke(self._erase())
        if byte in _ENTER:
            return self._enter()
        return Stroke(self._insert(byte))

    def _arrow(self, key: int) -> bytes:
        if key == _LEFT:
            if self._cursor == 0:
                return b""
            self._cursor -= 1
            return b"\b"
        if key == _RIGHT:
            if self._cursor >= self._length:
                return b""
            self._cursor += 1
            return bytes(self._buffer[self._cursor - 1 : self._cursor])
        if key == _UP:
            if self._shown == 0:
                return b""
            self._shown -= 1
        else:
            if not self._history:
                return b""
            self._shown = min(self._shown + 1, len(self._history) - 1)
        self._replace(_text(self._history[self._shown]))
        return _CLEAR_LINE + self._prompt() + self._line

    def _tab(self) -> bytes:
        back = b"\b" * self._cursor
        found = self._complete(self._line)
        self._replace(found.line)
        return back + b"\n" + found.listing + self._prompt() + self._line

    def _erase(self) -> bytes:
        if self._cursor == 0:
            return b""
        self._cursor -= 1
        self._length -= 1
        # Only what counts as typed moves up: behind a line that ran over its end older bytes stay.
        self._buffer[self._cursor : self._length] = self._buffer[self._cursor + 1 : self._length + 1]
        self._buffer[self._length] = 0
        rest = self._length - self._cursor
        if rest == 0:
            return b"\b \b"
        return b"\b" + self._buffer[self._cursor : self._length] + b"  \b" + b"\b" * (rest + 1)

    def _enter(self) -> Stroke:
        entered = EnteredLine(self._line, self._length)
        self._remember()
        self._replace(b"")
        return Stroke(b"\n" if self.echo else b"", entered)

    def _remember(self) -> None:
        if self._length and not (self._history and self._history[-1] == self._buffer):
            self._history.append(bytes(self._buffer[: self._length]).ljust(LINE_SIZE, b"\0"))
        self._shown = len(self._history)

    def _insert(self, byte: int) -> bytes:
        rest = self._length - self._cursor
        self._buffer[self._cursor + 1 : self._length + 1] = self._buffer[self._cursor : self._length]
        self._buffer[self._cursor] = byte
        self._length += 1
        self._cursor += 1
        echo = bytes(self._buffer[self._cursor - 1 : self._length]) if self.echo else b""
        if self._length == LINE_SIZE:  # the content stays and is overwritten from the start
            self._length = self._cursor = 0
        return echo + b"\b" * rest

    @property
    def _line(self) -> bytes:
        return _text(self._buffer)

    def _replace(self, line: bytes) -> None:
        line = _text(line)[: LINE_SIZE - 1]
        self._buffer[:] = line.ljust(LINE_SIZE, b"\0")
        self._length = self._cursor = len(line)


def _text(buffer: bytes | bytearray) -> bytes:
    return bytes(buffer).partition(b"\0")[0]
