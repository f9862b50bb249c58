"""The two directions of a Web Shell in a browser. Pure.

What a device prints may do nothing to the browser but draw: `OutputFilter`. The device does not echo, and
wants whole commands (cloudsdk-protocol 4): `LineEditor`.
"""

import codecs
import unicodedata
from dataclasses import dataclass, field
from typing import Final

MAX_COMMAND: Final = 80  # characters (cloudsdk-protocol 4)
MAX_HISTORY: Final = 50  # commands
MAX_PASTE: Final = 4096  # characters typed or pasted at once; the rest is dropped
MAX_CSI: Final = 32  # characters of a control sequence
MAX_STRING: Final = 4096  # characters of a control string, such as a title, until it is given up
#: Written before anything else, so that a backspace goes back over the edge of a narrow terminal.
REVERSE_WRAP: Final = "\x1b[?45h"

_DRAWING: Final = frozenset("ABCDEFGHJKPX@dfmsu")  # cursor, erasing, colour
_CURSOR: Final = frozenset({"?25h", "?25l"})
_HARMLESS: Final = frozenset("\r\n\t\b")
_CANCELS: Final = frozenset("\x18\x1a")
_STRINGS: Final = frozenset("]PX^_")


class OutputFilter:
    """Text for a terminal out of the bytes of a device.

    Kept: text, line ends, tabs, backspaces, and the control sequences that move the cursor, erase and colour.
    Dropped: everything else, such as titles, links and the clipboard (OSC), device control strings, questions
    that the terminal would answer into the device's own input, and characters that turn text around.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sequence: str | None = None  # after ESC
        self._string = 0  # characters of a control string so far, its introducer included
        self._string_escape = False

    def feed(self, data: bytes) -> str:
        out: list[str] = []
        for character in self._decoder.decode(data):
            if self._string:
                self._in_string(character)
            elif self._sequence is not None:
                self._in_sequence(character, out)
            else:
                self._plain(character, out)
        return "".join(out)

    def _plain(self, character: str, out: list[str]) -> None:
        if character == "\x1b":
            self._sequence = ""
        elif character in _HARMLESS or unicodedata.category(character) not in ("Cc", "Cf"):
            out.append(character)

    def _in_string(self, character: str) -> None:
        self._string += 1
        ended = character == "\x07" or character in _CANCELS or (self._string_escape and character == "\\")
        self._string_escape = character == "\x1b"
        if ended or self._string > MAX_STRING:
            self._string = 0

    def _in_sequence(self, character: str, out: list[str]) -> None:
        sequence = self._sequence or ""
        if character == "\x1b":
            self._sequence = ""
        elif ord(character) < 0x20 or ord(character) > 0x7E:
            self._sequence = None
            self._plain(character, out)
        elif not sequence and character in _STRINGS:
            self._sequence, self._string, self._string_escape = None, 1, False
        elif sequence.startswith("["):
            self._in_csi(sequence[1:] + character, out)
        elif character == "[" and not sequence:
            self._sequence = "["
        else:
            # Intermediates go on, anything else ends the sequence; none of them draws.
            self._sequence = sequence + character if 0x20 <= ord(character) <= 0x2F else None
            if self._sequence is not None and len(self._sequence) > MAX_CSI:
                self._sequence = None

    def _in_csi(self, text: str, out: list[str]) -> None:
        if not "@" <= text[-1] <= "~":
            self._sequence = "[" + text if len(text) <= MAX_CSI else None
            return
        self._sequence = None
        numbers = text[:-1].split(";")
        plain = all(number == "" or (number.isdigit() and len(number) <= 4) for number in numbers)
        if text in _CURSOR or (plain and text[-1] in _DRAWING):
            out.append(f"\x1b[{text}")


def plain_line(text: str) -> str:
    """A line of a device's log without colours and control characters."""
    filtered = OutputFilter().feed(text.encode("utf-8", "replace"))
    parts = filtered.split("\x1b[")
    kept = [parts[0], *(part.lstrip("0123456789;?")[1:] for part in parts[1:])]
    return "".join(each if each.isprintable() or each == "\t" else " " for each in "".join(kept))


@dataclass(frozen=True, slots=True)
class Typed:
    """What comes of a piece of input: text to show, and commands for the device, each with its LF."""

    echo: str
    commands: tuple[bytes, ...]


_KEYS: Final = {
    "\x1b[A": "older",
    "\x1b[B": "newer",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1b[H": "home",
    "\x1b[F": "end",
    "\x1b[3~": "delete",
    "\x1bOA": "older",
    "\x1bOB": "newer",
    "\x1bOC": "right",
    "\x1bOD": "left",
    "\x1bOH": "home",
    "\x1bOF": "end",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x01": "home",
    "\x05": "end",
    "\x03": "interrupt",
    "\x15": "clear",
}


@dataclass(slots=True)
class LineEditor:
    """Edits one line with cursor keys and history, and hands it over when Enter is typed."""

    _line: str = ""
    _cursor: int = 0
    _history: list[str] = field(default_factory=list)
    _place: int = 0  # in the history; its length is the line being typed

    def feed(self, text: str) -> Typed:
        """Take what xterm sends for keys and pasted text."""
        echo: list[str] = []
        commands: list[bytes] = []
        rest = text[:MAX_PASTE].replace("\r\n", "\r")
        while rest:
            key = next((key for key in _KEYS if rest.startswith(key)), rest[0])
            rest = rest[len(key) :]
            if key in "\r\n":
                echo.append("\r\n")
                commands.append(self._entered())
            elif _KEYS.get(key) == "interrupt":
                echo.append("^C\r\n")
                self._line, self._cursor = "", 0
                commands.append(b"\n")
            elif key in _KEYS:
                echo.append(self._key(_KEYS[key]))
            elif key == "\x1b":
                rest = ""  # a key that means nothing here
            elif " " <= key <= "~" and len(self._line) < MAX_COMMAND:
                echo.append(self._replace(self._line[: self._cursor] + key + self._after, self._cursor + 1))
        return Typed("".join(echo), tuple(commands))

    @property
    def _after(self) -> str:
        return self._line[self._cursor :]

    def _entered(self) -> bytes:
        line, self._line, self._cursor = self._line, "", 0
        if line and self._history[-1:] != [line]:
            self._history = [*self._history, line][-MAX_HISTORY:]
        self._place = len(self._history)
        return line.encode("ascii") + b"\n"

    def _key(self, key: str) -> str:
        line, cursor = self._line, self._cursor
        if key == "left" and cursor:
            return self._replace(line, cursor - 1)
        if key == "right" and cursor < len(line):
            return self._replace(line, cursor + 1)
        if key == "home":
            return self._replace(line, 0)
        if key == "end":
            return self._replace(line, len(line))
        if key == "backspace" and cursor:
            return self._replace(line[: cursor - 1] + line[cursor:], cursor - 1)
        if key == "delete":
            return self._replace(line[:cursor] + line[cursor + 1 :], cursor)
        if key == "clear":
            return self._replace("", 0)
        if key == "older" and self._place > 0:
            return self._recall(self._place - 1)
        if key == "newer" and self._place < len(self._history):
            return self._recall(self._place + 1)
        return ""

    def _recall(self, place: int) -> str:
        self._place = place
        line = self._history[place] if place < len(self._history) else ""
        return self._replace(line, len(line))

    def _replace(self, line: str, cursor: int) -> str:
        """Make the line so, and give the text that turns the old one on the screen into it."""
        same = 0
        while same < min(len(line), len(self._line)) and line[same] == self._line[same]:
            same += 1
        if line == self._line:
            move = cursor - self._cursor
            self._cursor = cursor
            return "\b" * -move if move < 0 else line[cursor - move : cursor]
        start = min(same, self._cursor)
        fill = " " * max(0, len(self._line) - len(line))
        written = "\b" * (self._cursor - start) + line[start:] + fill
        back = "\b" * (len(line) + len(fill) - cursor)
        self._line, self._cursor = line, cursor
        return written + back
