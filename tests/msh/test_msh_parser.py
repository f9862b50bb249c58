"""How a line becomes arguments (console 4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.msh.parser import MAX_ARGUMENTS, parse


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        (b"ps", (b"ps",)),
        (b" \t ls \t /dev ", (b"ls", b"/dev")),
        (b"", ()),
        (b"  ", ()),
        (rb'x "x\"y"', (b"x", rb"x\"y")),
        (b'x "a b', (b"x", b"a b")),
        (rb'x "a\"', (b"x", rb"a\"")),
        (b'x ""', (b"x", b"")),
        (b'x a"b c"d', (b"x", b'a"b', b'c"d')),
        (b'x "a"b', (b"x", b"a", b"b")),
        (b"x 'a b'; y | z > $v *", (b"x", b"'a", b"b';", b"y", b"|", b"z", b">", b"$v", b"*")),
    ],
)
def test_arguments(line: bytes, arguments: tuple[bytes, ...]) -> None:
    parsed = parse(line)
    assert parsed.arguments == arguments
    assert not parsed.too_many


def test_ten_arguments_are_all_there_is_room_for() -> None:
    assert parse(b"args 1 2 3 4 5 6 7 8 9").too_many is False
    assert parse(b"args 1 2 3 4 5 6 7 8 9 ").too_many is False
    parsed = parse(b"args 1 2 3 4 5 6 7 8 9 10 11")
    assert parsed.too_many
    assert parsed.arguments == tuple(b"args 1 2 3 4 5 6 7 8 9".split())


def test_separators_are_nul_in_memory() -> None:
    assert parse(b'set a  "b c" d').memory == b'set\0a\0\0"b c\0\0d'


@given(st.one_of(st.binary(max_size=100), st.text('ab "\\\t', max_size=100).map(str.encode)))
def test_any_line_parses_and_its_arguments_lie_in_it(line: bytes) -> None:
    parsed = parse(line)
    assert len(parsed.spans) <= MAX_ARGUMENTS
    assert len(parsed.memory) == len(line)
    assert all(0 <= span.start <= span.end <= len(line) for span in parsed.spans)
    assert all(
        line[span.start : span.end] == text for span, text in zip(parsed.spans, parsed.arguments, strict=True)
    )
