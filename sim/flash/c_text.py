"""As much of C as a configuration header needs: lines, comments, conditions, macros and constant expressions.

Nothing is executed. Every loop and depth has a bound, so that a hostile header costs an error and no time.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError

MAX_STEPS: Final = 200_000  # words looked at while macros of one header are replaced
MAX_DEPTH: Final = 32  # of parentheses, of macros in macros, of conditions
_WORD_BITS: Final = 64
_IN_MESSAGE: Final = 40  # characters of a bad word

_PIECE: Final = re.compile(
    r"""
      (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<character>'(?:[^'\\\n]|\\.)*')
    | (?P<comment>//[^\n]*|/\*.*?\*/)
    | (?P<open>/\*)
    """,
    re.VERBOSE | re.DOTALL,
)
_TOKEN: Final = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<number>\d\w*)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign><<|>>|<=|>=|==|!=|&&|\|\||.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER: Final = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)(?:[uU]?[lL]{0,2}|[lL]{1,2}[uU]?)")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_DIRECTIVE: Final = re.compile(r"\s*#\s*(\w+)\s*(.*)", re.DOTALL)
_DEFINE: Final = re.compile(r"([A-Za-z_]\w*)(\()?(.*)", re.DOTALL)
#: Words of a cast such as (uint32_t), which changes no value a flash layout can have.
_TYPE: Final = re.compile(
    r"(?:rt_)?u?int(?:8|16|32|64)?(?:_t)?|(?:rt_)?u?base_t|(?:rt_)?size_t|unsigned|signed|long"
)


class CTextError(CloudSdkError):
    """A header that breaks the rules of C, or uses more of them than is read here."""

    code: ClassVar[str] = "layout.c-header"
    exit_status: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is "string" (`text` without quotes), "number", "name" or "sign"."""

    kind: str
    text: str


class Macros:
    """The object-like macros that stand at the end of a header; names defined elsewhere come in `defined`.

    `#include` is passed over, so are macros with arguments. Raises `CTextError`.
    """

    def __init__(self, text: str, defined: Mapping[str, str]) -> None:
        self._texts = dict(defined)
        self._steps = 0
        conditions: list[_Condition] = []
        for number, line in _lines(text):
            directive = _DIRECTIVE.fullmatch(line)
            if directive is None:
                continue
            word, rest = directive.groups()
            try:
                if not self._follow(conditions, word, rest) and all(each.active for each in conditions):
                    self._define(word, rest)
            except CTextError as error:
                raise CTextError(f"line {number}: {error}") from None
        if conditions:
            raise CTextError("a condition has no #endif: the header is cut short")

    def __contains__(self, name: str) -> bool:
        return name in self._texts

    def expand(self, name: str) -> list[Token]:
        """The macro `name` with every macro in it replaced. Unknown names stay. Raises `CTextError`."""
        result: list[Token] = []
        # Depth first: what is still to be read of each macro, and its name.
        stack = [(iter(_tokens(self._texts[name])), name)]
        inside = {name}
        while stack:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise CTextError(f"the macros of the header take more than {MAX_STEPS} steps to replace")
            rest, macro = stack[-1]
            token = next(rest, None)
            if token is None:
                stack.pop()
                inside.discard(macro)
            elif token.kind == "name" and token.text in self._texts and token.text not in inside:
                if len(stack) >= MAX_DEPTH:
                    raise CTextError(f"macro {shown(name)} goes through more than {MAX_DEPTH} others")
                stack.append((iter(_tokens(self._texts[token.text])), token.text))
                inside.add(token.text)
            else:
                result.append(token)
        return result

    def _follow(self, conditions: "list[_Condition]", word: str, rest: str) -> bool:
        """Follow a conditional directive; whether `word` was one."""
        if word in ("if", "ifdef", "ifndef"):
            if len(conditions) >= MAX_DEPTH:
                raise CTextError(f"more than {MAX_DEPTH} conditions in each other")
            reachable = all(each.active for each in conditions)
            chosen = reachable and self._holds(word, rest)
            conditions.append(_Condition(chosen, chosen, reachable))
            return True
        if word not in ("elif", "else", "endif"):
            return False
        if not conditions:
            raise CTextError(f"#{word} without #if")
        if word == "endif":
            conditions.pop()
            return True
        here = conditions[-1]
        here.active = here.reachable and not here.taken and (word == "else" or self._holds("if", rest))
        here.taken = here.taken or here.active
        return True

    def _holds(self, word: str, rest: str) -> bool:
        if word == "if":
            return _Expression(_tokens(rest), self).value() != 0
        name, _, _ = rest.strip().partition(" ")
        return (name in self._texts) == (word == "ifdef")

    def _define(self, word: str, rest: str) -> None:
        if word == "undef":
            self._texts.pop(rest.strip(), None)
        elif word == "define":
            parts = _DEFINE.fullmatch(rest)
            if parts is None:
                raise CTextError(f"#define of {shown(rest.strip())!r}, which is no name")
            if not parts[2]:
                self._texts[parts[1]] = parts[3].strip()


@dataclass(slots=True)
class _Condition:
    """An #if with its branches: whether the present one is read, whether one was, whether one can be."""

    active: bool
    taken: bool
    reachable: bool


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first physical one: continued lines joined, comments a blank."""
    # A comment that is taken out keeps its line ends, a continuation leaves a mark for its own.
    joined = re.sub(r"\\[ \t]*\r?\n", "\f", text)
    number = 1
    for line in _PIECE.sub(_without_comment, joined).split("\n"):
        yield number, line.replace("\f", " ")
        number += 1 + line.count("\f")


def _without_comment(match: re.Match[str]) -> str:
    if match["open"]:
        raise CTextError("a comment has no end: the header is cut short")
    if match["comment"] is None:
        return match[0]
    # Line ends inside a comment count as continuations: what follows it is still of the same line.
    return " " + "\f" * sum(match[0].count(mark) for mark in "\n\f")


def _tokens(text: str) -> list[Token]:
    found = []
    for match in _TOKEN.finditer(text.rstrip()):
        kind = str(match.lastgroup)
        value = match[kind]
        if value in ('"', "'"):
            raise CTextError(f"{shown(text[match.start() :].strip())!r} is no text in double quotes")
        found.append(Token(kind, _ESCAPE.sub(r"\1", value[1:-1]) if kind == "string" else value))
    return found


def evaluate(expression: list[Token]) -> int:
    """The value of a constant expression, all its macros expanded. Raises `CTextError`."""
    return _Expression(expression).value()


def shown(text: str) -> str:
    """As much of `text` as fits a message."""
    return text if len(text) <= _IN_MESSAGE else text[:_IN_MESSAGE] + "..."


def _divide(left: int, right: int) -> int:
    """C rounds towards zero."""
    if right == 0:
        raise CTextError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _shift(left: int, right: int) -> int:
    if not 0 <= right < _WORD_BITS:
        raise CTextError(f"shift by {right}: must be 0 to {_WORD_BITS - 1}")
    return left << right


#: Binary operators, the ones that bind loosest first (C 6.5).
_LEVELS: Final[tuple[Mapping[str, Callable[[int, int], int]], ...]] = (
    {"||": lambda left, right: int(bool(left or right))},
    {"&&": lambda left, right: int(bool(left and right))},
    {"|": lambda left, right: left | right},
    {"^": lambda left, right: left ^ right},
    {"&": lambda left, right: left & right},
    {"==": lambda left, right: int(left == right), "!=": lambda left, right: int(left != right)},
    {
        "<": lambda left, right: int(left < right),
        ">": lambda left, right: int(left > right),
        "<=": lambda left, right: int(left <= right),
        ">=": lambda left, right: int(left >= right),
    },
    {"<<": _shift, ">>": lambda left, right: left // _shift(1, right)},
    {"+": lambda left, right: left + right, "-": lambda left, right: left - right},
    {
        "*": lambda left, right: left * right,
        "/": _divide,
        "%": lambda left, right: left - right * _divide(left, right),
    },
)
_UNARY: Final[Mapping[str, Callable[[int], int]]] = {
    "+": lambda value: value,
    "-": lambda value: -value,
    "~": lambda value: ~value,
    "!": lambda value: int(not value),
}


_PRECEDENCE: Final = {sign: level for level, signs in enumerate(_LEVELS) for sign in signs}


class _Expression:
    """Precedence climbing over tokens.

    With `macros` it is the condition of an #if: `defined` is known there and an unknown name is 0 (C 6.10.1).
    """

    def __init__(self, words: list[Token], macros: Macros | None = None) -> None:
        self._words = words
        self._macros = macros
        self._position = 0
        self._depth = 0

    def value(self) -> int:
        result = self._binary(0)
        if self._position < len(self._words):
            raise CTextError(f"{shown(self._words[self._position].text)!r} is not expected in {self._text()}")
        return result

    def _text(self) -> str:
        return repr(shown(" ".join(word.text for word in self._words[:_IN_MESSAGE])))

    def _peek(self) -> str:
        """The next token; "" for text and at the end."""
        word = self._words[self._position] if self._position < len(self._words) else None
        return "" if word is None or word.kind == "string" else word.text

    def _take(self, text: str) -> bool:
        taken = self._peek() == text
        self._position += taken
        return taken

    def _binary(self, loosest: int) -> int:
        left = self._unary()
        while (level := _PRECEDENCE.get(sign := self._peek(), -1)) >= loosest:
            self._position += 1
            left = _LEVELS[level][sign](left, self._binary(level + 1))
            if abs(left) >= 1 << _WORD_BITS:
                raise CTextError(f"{self._text()} does not fit {_WORD_BITS} bits")
        return left

    def _unary(self) -> int:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise CTextError(f"more than {MAX_DEPTH} parentheses or signs in each other")
        value = self._operand()
        self._depth -= 1
        return value

    def _operand(self) -> int:
        operate = _UNARY.get(self._peek())
        if operate is not None:
            self._position += 1
            return operate(self._unary())
        if not self._take("("):
            return self._primary()
        if self._take_cast():
            return self._unary()
        value = self._binary(0)
        if not self._take(")"):
            raise CTextError(f"')' is missing in {self._text()}")
        return value

    def _take_cast(self) -> bool:
        """Take the rest of a cast, if it is one."""
        start = self._position
        while _TYPE.fullmatch(self._peek()):
            self._position += 1
        if self._position > start and self._take(")"):
            return True
        self._position = start
        return False

    def _primary(self) -> int:
        if self._position == len(self._words):
            raise CTextError(f"a number is missing at the end of {self._text()}")
        word = self._words[self._position]
        self._position += 1
        if word.kind == "number":
            return _number(word.text)
        if word.kind != "name":
            raise CTextError(f"{shown(word.text)!r} is no number in {self._text()}")
        if self._macros is None:
            raise CTextError(f"{shown(word.text)} is not defined: give --define {shown(word.text)}=VALUE")
        return (
            self._defined(self._macros) if word.text == "defined" else self._of_macro(word.text, self._macros)
        )

    def _defined(self, macros: Macros) -> int:
        bracket = self._take("(")
        name = self._peek()
        self._position += 1
        if bracket and not self._take(")"):
            raise CTextError("defined( has no )")
        return int(name in macros)

    def _of_macro(self, name: str, macros: Macros) -> int:
        if name not in macros:
            return 0
        # What is still a name after that is defined nowhere, or by itself.
        words = [Token("number", "0") if word.kind == "name" else word for word in macros.expand(name)]
        return _Expression(words).value()


def _number(text: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None or len(match[1]) > _WORD_BITS:
        raise CTextError(f"{shown(text)!r} is no number")
    octal = match[1][0] == "0" and match[1].isdigit()
    try:
        return int(match[1], 8 if octal else 0)
    except ValueError:
        raise CTextError(f"{text!r} is no number: octal digits end at 7") from None
