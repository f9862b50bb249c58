"""rt_kprintf with its limits (console 1 and 11)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.msh.kprintf import MAX_CALL, Argument, KprintfError, decode, encode, kprintf, uart, warning


@pytest.mark.parametrize(
    ("template", "arguments", "shown"),
    [
        ("%d %i %u %x %X %c %s %%", (-1, 2, 3, 0xAB, 0xAB, 65, "s"), b"-1 2 3 ab AB A s %"),
        ("%f", (), b"%f"),
        ("%e %g %q", (), b"%e %g %q"),
        ("%zu", (), b"%zu"),
        ("%lld", (), b"%ld"),
        ("%f %d", (7,), b"%f 7"),
        ("%", (), b"%"),
        ("%#x", (255,), b"ff"),
        ("%p", (0x2000,), b"00002000"),
        ("%o", (64,), b"40"),
        ("%s", (None,), b"(NULL)"),
        ("%.0s|%.s|%.3s", ("abcdef", "abcdef", "abcdef"), b"abcdef|abcdef|abc"),
        ("%c", (0,), b"\0"),
        ("%-010d|", (5,), b"5         |"),
        ("%03d", (-2,), b"-02"),
        ("%hd", (65535,), b"-1"),
        ("%hu", (65537,), b"1"),
        ("%d", (2**31,), b"-2147483648"),
        ("%u", (-1,), b"4294967295"),
        ("%.3d", (7,), b"007"),
        ("%5.3d", (7,), b"  007"),
        ("%+d % d", (5, 5), b"+5  5"),
        ("%*d|%-*d|%*d|", (4, 1, 4, 2, -4, 3), b"   1|2   |3   |"),
        ("%.*s", (2, "abc"), b"ab"),
        ("%-8.8s|", ("web_shell",), b"web_shel|"),
        ("%02d%%", (5,), b"05%"),
        ("%ld", (5,), b"5"),
    ],
)
def test_formats(template: str, arguments: tuple[Argument, ...], shown: bytes) -> None:
    assert kprintf(template, *arguments) == shown


def test_a_call_prints_254_bytes_and_then_a_nul() -> None:
    assert kprintf("%s", "x" * 254) == b"x" * 254
    assert kprintf("%s\n", "x" * 254) == b"x" * 254 + b"\0"
    assert kprintf("%999999999999999999999d", 1) == b" " * 254 + b"\0"


@pytest.mark.parametrize(
    ("template", "arguments"), [("%d", ()), ("%d", ("x",)), ("%s", (1,)), ("%*d", ("x", 1))]
)
def test_arguments_that_do_not_fit_have_a_code(template: str, arguments: tuple[Argument, ...]) -> None:
    with pytest.raises(KprintfError) as caught:
        kprintf(template, *arguments)
    assert caught.value.code == "msh.kprintf"


@given(st.text("%-+ 0#*.1259hldiuxXocspzf\0\n", max_size=40), st.integers())
def test_any_format_is_bounded(template: str, value: int) -> None:
    try:
        shown = kprintf(template, *[value] * 40)
    except KprintfError:
        assert "s" in template
    else:
        assert len(shown) <= MAX_CALL + 1


@given(st.binary(max_size=50))
def test_bytes_survive_as_text(data: bytes) -> None:
    assert encode(decode(data)) == data


def test_the_uart_adds_a_cr_to_every_lf() -> None:
    assert uart(b"\nab\r\nc\r") == b"\r\nab\r\r\nc\r"


def test_a_warning_is_yellow() -> None:
    assert warning("TAG", "text") == "\x1b[33m[W/TAG] text\x1b[0m\n"
