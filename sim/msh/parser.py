"""How msh cuts a line into arguments (console 4)."""

from dataclasses import dataclass
from typing import Final

MAX_ARGUMENTS: Final = 10  # with the command; FINSH_ARG_MAX
_BLANKS: Final = b" \t"
_QUOTE, _BACKSLASH = b'"\\'


@dataclass(frozen=True, slots=True)
class Span:
    """Where an argument stands in its line, in bytes."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A line as a command gets it.

    `memory` is the line after the cut: what separated arguments is NUL, as a C program that reads beyond the
    end of an argument finds it.
    """

    memory: bytes
    spans: tuple[Span, ...]
    too_many: bool

    @property
    def arguments(self) -> tuple[bytes, ...]:
        """The command and its arguments, ten at most."""
        return tuple(self.memory[span.start : span.end] for span in self.spans)


def parse(line: bytes) -> CommandLine:
    """Cut `line` at blanks and TABs.

    A quote counts at the start of an argument only; inside, `\\"` does not end it and both bytes stay. What
    comes after the tenth argument is left alone.
    """
    memory = bytearray(line)
    spans: list[Span] = []
    position = 0
    while True:
        while position < len(line) and line[position] in _BLANKS:
            memory[position] = 0
            position += 1
        if position == len(line) or len(spans) == MAX_ARGUMENTS:
            return CommandLine(bytes(memory), tuple(spans), position < len(line))
        start = position
        if line[start] == _QUOTE:
            start += 1
            position = _closing_quote(line, start)
            spans.append(Span(start, position))
            if position < len(line):
                memory[position] = 0
                position += 1
        else:
            while position < len(line) and line[position] not in _BLANKS:
                position += 1
            spans.append(Span(start, position))


def _closing_quote(line: bytes, position: int) -> int:
    while position < len(line) and line[position] != _QUOTE:
        escaped = line[position] == _BACKSLASH and line[position + 1 : position + 2] == b'"'
        position += 2 if escaped else 1
    return min(position, len(line))
