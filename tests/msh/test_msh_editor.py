"""The line editor, byte for byte (console 3)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.msh.editor import HISTORY_LINES, LINE_SIZE, Completion, EnteredLine, LineEditor

UP, DOWN, RIGHT, LEFT = (b"\x1b[" + key for key in (b"A", b"B", b"C", b"D"))
PROMPT = b"msh />"


class Typist:
    """Types into an editor and keeps what it says."""

    def __init__(self, *, echo: bool = True, completed: bytes | None = None) -> None:
        self.completed = completed
        self.editor = LineEditor(lambda: PROMPT, self.complete, echo=echo)
        self.lines: list[EnteredLine] = []

    def complete(self, line: bytes) -> Completion:
        return Completion(b"<" + line + b">\n", line if self.completed is None else self.completed)

    def type(self, data: bytes) -> bytes:
        strokes = [self.editor.press(byte) for byte in data]
        self.lines += [stroke.line for stroke in strokes if stroke.line is not None]
        return b"".join(stroke.output for stroke in strokes)

    def line(self) -> bytes:
        """What Enter would submit."""
        self.type(b"\r")
        return self.lines[-1].content


def test_text_is_repeated_and_enter_ends_the_line() -> None:
    typist = Typist()
    assert typist.type(b"ps\r") == b"ps\n"
    assert typist.lines == [EnteredLine(b"ps", 2)]


@pytest.mark.parametrize("enter", [b"\r", b"\n"])
def test_either_enter_ends_a_line(enter: bytes) -> None:
    typist = Typist()
    typist.type(b"a" + enter + b"b" + enter)
    assert [line.content for line in typist.lines] == [b"a", b"b"]


def test_cr_lf_is_a_command_and_an_empty_one() -> None:
    typist = Typist()
    assert typist.type(b"ps\r\n") == b"ps\n\n"
    assert typist.lines == [EnteredLine(b"ps", 2), EnteredLine(b"", 0)]


def test_control_bytes_are_characters_except_nul_and_ff() -> None:
    typist = Typist()
    data = bytes(byte for byte in range(1, 0x20) if byte not in b"\b\t\n\r\x1b")
    assert typist.type(b"\x00" + data + b"\xff") == data
    assert typist.line() == data


def test_utf_8_passes_byte_by_byte() -> None:
    typist = Typist()
    text = "固件".encode()
    assert [typist.type(bytes([byte])) for byte in text] == [bytes([byte]) for byte in text]
    assert typist.line() == text


@pytest.mark.parametrize("key", [b"\x08", b"\x7f"])
def test_backspace(key: bytes) -> None:
    typist = Typist()
    assert typist.type(key) == b""
    assert typist.type(b"abcd" + key) == b"abcd\b \b"
    assert typist.type(LEFT + LEFT + key) == b"\b\b" + b"\bbc  \b\b\b\b"
    assert typist.line() == b"bc"


def test_left_and_right_stop_at_the_ends() -> None:
    typist = Typist()
    assert typist.type(LEFT) == b""
    assert typist.type(RIGHT) == b""
    assert typist.type(b"ab" + LEFT + LEFT + LEFT) == b"ab\b\b"
    assert typist.type(RIGHT + RIGHT + RIGHT) == b"ab"


def test_typing_in_the_middle_repeats_the_rest() -> None:
    typist = Typist()
    assert typist.type(b"abc" + LEFT + LEFT + b"X") == b"abc\b\bXbc\b\b"
    assert typist.line() == b"aXbc"


def test_enter_in_the_middle_submits_all() -> None:
    typist = Typist()
    typist.type(b"abc" + LEFT + LEFT)
    assert typist.line() == b"abc"


def test_up_and_down_walk_the_history() -> None:
    typist = Typist()
    typist.type(b"one\rtwo\r")
    assert typist.type(b"half" + UP) == b"half\x1b[2K\rmsh />two"
    assert typist.type(UP) == b"\x1b[2K\rmsh />one"
    assert typist.type(UP) == b""
    assert typist.type(DOWN) == b"\x1b[2K\rmsh />two"
    assert typist.type(DOWN) == b"\x1b[2K\rmsh />two"
    assert typist.line() == b"two"


def test_first_down_shows_the_newest_and_nothing_without_history() -> None:
    typist = Typist()
    assert typist.type(UP + DOWN) == b""
    typist.type(b"one\rtwo\r")
    assert typist.type(DOWN) == b"\x1b[2K\rmsh />two"


def test_history_keeps_five_and_no_repetition_of_the_newest() -> None:
    typist = Typist()
    typist.type(b"1\r2\r3\r3\r\r4\r5\r6\r1\r")
    assert typist.editor.history == (b"3", b"4", b"5", b"6", b"1")


def test_a_line_of_blanks_is_stored() -> None:
    typist = Typist()
    typist.type(b"  \r\r")
    assert typist.editor.history == (b"  ",)


@pytest.mark.parametrize(
    ("keys", "typed"), [(b"\x1bOe", b"Oe"), (b"\x1b[H", b"H"), (b"\x1b[3~", b"3~"), (b"\x1b\x1b[D", b"")]
)
def test_other_escape_sequences_are_typed_without_their_start(keys: bytes, typed: bytes) -> None:
    typist = Typist()
    assert typist.type(keys) == typed
    assert typist.line() == typed


def test_79_characters_fit() -> None:
    typist = Typist()
    assert typist.type(b"x" * 79 + b"\r") == b"x" * 79 + b"\n"
    assert typist.lines == [EnteredLine(b"x" * 79, 79)]


def test_the_80th_character_starts_the_buffer_over_in_silence() -> None:
    typist = Typist()
    assert typist.type(b"x" * 80) == b"x" * 80
    typist.type(b"\r")
    assert typist.lines == [EnteredLine(b"x" * 80, 0)]


def test_what_follows_overwrites_the_start() -> None:
    typist = Typist()
    typist.type(b"args " + b"a" * 75 + b"BC\r")
    assert typist.lines == [EnteredLine(b"BCgs " + b"a" * 75, 2)]


def test_tab_goes_back_lists_and_repeats_the_line() -> None:
    typist = Typist(completed=b"list_m")
    assert typist.type(b"lis" + LEFT + b"\t") == b"lis\b" + b"\b\b\n<lis>\nmsh />list_m"
    assert typist.type(b"X") == b"X"
    assert typist.line() == b"list_mX"


def test_a_completion_too_long_is_cut() -> None:
    typist = Typist(completed=b"y" * 200)
    typist.type(b"\t")
    assert typist.line() == b"y" * (LINE_SIZE - 1)


def test_without_echo_typed_text_and_enter_are_silent_but_the_cursor_moves() -> None:
    typist = Typist(echo=False)
    assert typist.type(b"abc") == b""
    assert typist.type(LEFT + b"X") == b"\b\b"
    assert typist.type(b"\x08") == b"\bc  \b\b\b"
    assert typist.type(b"\r") == b""
    assert typist.type(UP) == b"\x1b[2K\rmsh />abc"
    assert typist.type(b"\t") == b"\b\b\b\n<abc>\nmsh />abc"


KEYS = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([UP, DOWN, LEFT, RIGHT, b"\t", b"\x7f", b"\r", b"x" * 70, b"ab cd"]),
)


@given(st.lists(KEYS, max_size=40).map(b"".join), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_in_any_slices_give_the_same_and_state_stays_bounded(data: bytes, cuts: list[int]) -> None:
    whole, sliced = Typist(), Typist()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    expected = whole.type(data)
    assert b"".join(sliced.type(data[start:end]) for start, end in pairwise(edges)) == expected
    assert sliced.lines == whole.lines
    assert len(whole.editor.history) <= HISTORY_LINES
    assert all(len(entry) < LINE_SIZE for entry in whole.editor.history)
    for line in whole.lines:
        assert len(line.content) <= LINE_SIZE
        assert line.length < LINE_SIZE
