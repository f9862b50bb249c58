"""How text leaves the kernel: `rt_kprintf` with its limits, and the console device (console 1 and 11).

Text is UTF-8 in which bytes that are not survive as surrogate escapes.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from cloudsdk import console
from cloudsdk.errors import CloudSdkError

MAX_CALL: Final = 254  # bytes that one call can print
_MAX_WIDTH: Final = MAX_CALL + 1  # a wider field is cut in any case
_POINTER_WIDTH: Final = 8  # hexadecimal digits
_WORD: Final = 1 << 32
_SHORT: Final = 1 << 16

Argument = str | int | None

_CONVERSION: Final = re.compile(
    rb"%(?P<flags>[-+ 0#]*)(?P<width>\d+|\*)?(?P<dot>\.(?P<precision>\d+|\*)?)?(?P<size>[hl])?"
    rb"(?P<letter>.)?",
    re.DOTALL,
)


class KprintfError(CloudSdkError):
    """Arguments that do not go with a format."""

    code: ClassVar[str] = "msh.kprintf"


def encode(text: str) -> bytes:
    """The bytes of console text."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    """The text of console bytes; `encode` gives the bytes back."""
    return data.decode("utf-8", "surrogateescape")


def uart(data: bytes) -> bytes:
    """What a console device in stream mode sends: every LF becomes CR LF, a CR that is there stays."""
    return data.replace(b"\n", b"\r\n")


def warning(tag: str, text: str) -> str:
    """One yellow warning line of the RT-Thread log macros."""
    return f"\x1b[33m[W/{tag}] {text}{console.RESET}\n"


def kprintf(template: str, *arguments: Argument) -> bytes:
    """One `rt_kprintf` call: at most 254 bytes; of a longer text they and a NUL.

    Raises `KprintfError` when an argument is missing or of the wrong kind. What the original cannot format
    (`%f`, `%zu`) is printed as it stands and takes no argument.
    """
    text = _format(encode(template), list(arguments))
    return text if len(text) <= MAX_CALL else text[:MAX_CALL] + b"\0"


@dataclass(frozen=True, slots=True)
class _Field:
    left: bool
    plus: bool
    blank: bool
    zero: bool
    width: int
    precision: int | None

    def pad(self, content: bytes) -> bytes:
        return content.ljust(self.width) if self.left else content.rjust(self.width)


def _format(template: bytes, arguments: list[Argument]) -> bytes:
    return _CONVERSION.sub(lambda match: _convert(match, arguments), template)


def _convert(match: re.Match[bytes], arguments: list[Argument]) -> bytes:
    letter, size = match["letter"] or b"", match["size"] or b""
    if letter == b"%":
        return b"%"
    field = _field(match, arguments)
    if letter == b"s":
        return field.pad(_string(arguments, field.precision))
    if letter == b"c":
        return field.pad(bytes([_number(arguments) & 0xFF]))
    if letter == b"p":
        return b"%0*x" % (max(field.width, _POINTER_WIDTH), _number(arguments) % _WORD)
    if letter in (b"d", b"i", b"u", b"x", b"X", b"o"):
        return _integer(letter, size, field, _number(arguments))
    return b"%" + letter


def _field(match: re.Match[bytes], arguments: list[Argument]) -> _Field:
    flags = match["flags"]
    width = _star(match["width"], arguments)
    left = b"-" in flags or width < 0
    precision = max(0, _star(match["precision"], arguments)) if match["dot"] is not None else None
    return _Field(
        left, b"+" in flags, b" " in flags, b"0" in flags and not left, min(abs(width), _MAX_WIDTH), precision
    )


def _star(number: bytes | None, arguments: list[Argument]) -> int:
    if number == b"*":
        return max(-_MAX_WIDTH, min(_number(arguments), _MAX_WIDTH))
    return min(int(number[-9:]), _MAX_WIDTH) if number else 0


def _string(arguments: list[Argument], precision: int | None) -> bytes:
    value = _take(arguments)
    if not isinstance(value, str | None):
        raise KprintfError(f"%s needs text, not {type(value).__name__}")
    content = b"(NULL)" if value is None else encode(value).partition(b"\0")[0]
    return content[:precision] if precision else content  # a precision of 0 does not cut


def _integer(letter: bytes, size: bytes, field: _Field, value: int) -> bytes:
    limit = _SHORT if size == b"h" else _WORD
    value %= limit
    sign = b""
    if letter in (b"d", b"i"):
        if value >= limit // 2:
            sign, value = b"-", limit - value
        elif field.plus or field.blank:
            sign = b"+" if field.plus else b" "
    style = {b"x": b"%x", b"X": b"%X", b"o": b"%x"}.get(letter, b"%d")  # %o gives hexadecimal digits
    digits = (style % value).rjust(min(field.precision or 0, _MAX_WIDTH), b"0")
    if field.zero:
        digits = digits.rjust(field.width - len(sign), b"0")
    return field.pad(sign + digits)


def _number(arguments: list[Argument]) -> int:
    value = _take(arguments)
    if not isinstance(value, int):
        raise KprintfError(f"a number is needed, not {type(value).__name__}")
    return value


def _take(arguments: list[Argument]) -> Argument:
    if not arguments:
        raise KprintfError("the format takes more arguments than there are")
    return arguments.pop(0)
