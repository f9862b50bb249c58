"""What a device may draw on the browser's terminal, and what becomes of keys."""

import pytest

from sim.cloud.web.terminal import MAX_COMMAND, MAX_STRING, LineEditor, OutputFilter, Typed, plain_line


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"plain\r\n", "plain\r\n"),
        (b"\x1b[32m[I/cld] \x1b[0m", "\x1b[32m[I/cld] \x1b[0m"),
        (b"\x1b[2A\x1b[K\x1b[?25l", "\x1b[2A\x1b[K\x1b[?25l"),
        (b"a\x1b]0;title\x07b", "ab"),
        (b"a\x1b]52;c;c2VjcmV0\x1b\\b", "ab"),  # the clipboard
        (b"a\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        (b"a\x1bP$qm\x1b\\b\x1b_x\x1b\\c\x1b^x\x07d\x1bXx\x1b\\e", "abcde"),
        (b"a\x1b[6n\x1b[c\x1b[>c\x1b[18tb", "ab"),  # the terminal would answer into the device's input
        (b"a\x1b[?1049h\x1b[?2004hb", "ab"),
        (b"a\x1b[99999Ab\x1b[1;;;;x", "ab"),
        (b"a\x1bcb\x1b(0c\x1b#8d", "abcd"),
        (b"\x07a\x00b\x0e", "ab"),
        ("a\u009b31mb\u202ec\u2066d".encode(), "a31mbcd"),  # C1 controls, and text turned around
        (b"a\x1b]0;\x18b", "ab"),
        (b"a\x1b[3\rb", "a\rb"),
        (b"\xff", "\ufffd"),
    ],
)
def test_output_draws_and_does_nothing_else(printed: bytes, shown: str) -> None:
    assert OutputFilter().feed(printed) == shown
    pieces = OutputFilter()
    assert "".join(pieces.feed(bytes([byte])) for byte in printed) == shown


def test_a_control_string_without_end_swallows_a_bounded_amount() -> None:
    shown = OutputFilter().feed(b"\x1b]0;" + b"x" * (3 * MAX_STRING))
    assert len(shown) >= MAX_STRING


def test_a_log_line_is_plain_text() -> None:
    assert plain_line("\x1b[32m[I/cld] \x1b[0mhello\x07\x1b]0;x\x07") == "[I/cld] hello"
    assert plain_line("<b>&\ta\r") == "<b>&\ta "


def typed(*keys: str) -> list[bytes]:
    editor = LineEditor()
    return [command for key in keys for command in editor.feed(key).commands]


def screen(*keys: str) -> str:
    """What one line looks like after the echo of `keys`."""
    editor, line, column = LineEditor(), [" "] * 200, 0
    for key in keys:
        for character in editor.feed(key).echo:
            if character == "\b":
                column -= 1
            else:
                line[column] = character
                column += 1
    return "".join(line).rstrip()


def test_a_command_ends_with_a_single_line_feed_and_is_echoed_here() -> None:
    assert LineEditor().feed("ps\r") == Typed("ps\r\n", (b"ps\n",))
    assert LineEditor().feed("ps\r\n").commands == (b"ps\n",)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("pss", "\x7f"), "ps"),
        (("s", "\x1b[D", "p"), "ps"),
        (("xps", "\x1b[H", "\x1b[3~"), "ps"),
        (("ps", "\x15", "ls"), "ls"),
        (("ps", "\x1b[D", "\x1b[D", "\x1b[D", "\x1b[C", "\x1b[C", "x"), "psx"),
        (("help", "\x01", "\x05", "!"), "help!"),
        (("a\u00e9\u202e\tb",), "ab"),
        (("a\x1b[99~b",), "a"),
    ],
)
def test_a_line_is_edited(keys: tuple[str, ...], line: str) -> None:
    assert typed(*keys, "\r") == [line.encode() + b"\n"]
    assert screen(*keys) == line


def test_earlier_commands_come_back() -> None:
    up, down = "\x1b[A", "\x1b[B"
    assert typed("ps\r", "list\r", up, up, "\r", up, up, down, "\r")[2:] == [b"ps\n", b"ps\n"]
    assert screen("ps", "\x15", up) == ""


def test_a_command_has_at_most_80_characters() -> None:
    assert typed("x" * 200 + "\r") == [b"x" * MAX_COMMAND + b"\n"]


def test_a_paste_is_several_commands() -> None:
    assert typed("ps\nversion\nfree") == [b"ps\n", b"version\n"]


def test_ctrl_c_drops_the_line() -> None:
    assert typed("rm", "\x03", "ps\r") == [b"\n", b"ps\n"]
