"""The bit of C that configuration headers need: what compilers read the same way, and bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.flash.c_text import CTextError, Macros, Token, evaluate


def value(expression: str) -> int:
    return evaluate(Macros(f"#define X {expression}\n", {}).expand("X"))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("448*1024", 448 * 1024),
        ("(512 + 1024 + 512 + 7 * 1024) * 1024", 0x900000),
        ("0x100000UL", 0x100000),
        ("16u * 1024ull", 16384),
        ("010", 8),
        ("0", 0),
        ("1 << 4 + 1", 32),
        ("1 | 2 ^ 3 & 2", 1 | (2 ^ (3 & 2))),
        ("100 - 10 - 1", 89),
        ("64 / 4 / 2", 8),
        ("-7 / 2", -3),
        ("-7 % 2", -1),
        ("- -3", 3),
        ("~0 & 0xFF", 0xFF),
        ("((uint32_t)448 << 10)", 448 << 10),
        ("(unsigned long)(4 KB_)", 4),
        ("(0x1000-1) >> 4", 0xFF),
    ],
)
def test_expression_has_the_value_of_c(expression: str, expected: int) -> None:
    words = Macros(f"#define KB_\n#define X {expression}\n", {}).expand("X")
    assert evaluate(words) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1/0", "division by zero"),
        ("1 % (2-2)", "division by zero"),
        ("1 << 64", "shift by 64"),
        ("1 << -1", "shift by -1"),
        ("0xFFFFFFFFFFFFFFFF * 2", "does not fit 64 bits"),
        ("9" * 65, "is no number"),
        ("09", "octal digits end at 7"),
        ("12x", "is no number"),
        ("1.5", "'.' is not expected"),
        ("(1", "')' is missing"),
        ("1)", "')' is not expected"),
        ("1 +", "a number is missing"),
        ("", "a number is missing"),
        ("BLOCK", "BLOCK is not defined: give --define BLOCK=VALUE"),
        ('"text"', "is no number"),
        ("'a'", "no text in double quotes"),
        ("(" * 5000, "in each other"),
        ("~" * 5000 + "1", "in each other"),
        ("__import__('os')", "is no"),
    ],
)
def test_wrong_expression_is_refused_in_one_line(expression: str, message: str) -> None:
    with pytest.raises(CTextError) as refused:
        value(expression)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 200


@given(st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "|", "&", "^", "<<", ">>"]), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=6,
))  # fmt: skip
def test_expression_without_division_is_as_in_python(expression: str) -> None:
    try:
        found = value(expression)
    except CTextError:
        return  # a shift out of range, and Python would not come back from some of those
    assert found == eval(expression)  # noqa: S307 - digits and operators made above


def test_lines_comments_and_quotes_are_taken_apart_as_by_a_compiler() -> None:
    text = (
        "/* #define A 1\n*/ #define A 2 // two\n"
        "// continued \\\n#define A 3\n"
        '#define TEXT "a // b /* c" /* d */ \\\n  "e\\"f"\r\n'
        "# define B(x) x\n"
    )
    found = Macros(text, {})
    assert found.expand("A") == [Token("number", "2")]
    assert found.expand("TEXT") == [Token("string", "a // b /* c"), Token("string", 'e"f')]
    assert "B" not in found


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        ("#ifdef GIVEN", True),
        ("#ifdef OTHER", False),
        ("#ifndef OTHER", True),
        ("#if GIVEN > 2 && !defined(OTHER)", True),
        ("#if defined OTHER || GIVEN == 2", False),
        ("#if OTHER", False),
        ("#if SELF", False),
        ("#if 0\n#elif 1", True),
        ("#if 1\n#elif (", True),
        ("#if 0\n#if (\n#endif\n#else", True),
    ],
)
def test_conditions_choose_what_is_read(condition: str, taken: bool) -> None:
    header = f"#define SELF SELF\n{condition}\n#define X 1\n#endif\n"
    if "#elif (" in condition:
        header = header.replace("#elif (\n#define X 1", "#define X 1\n#elif (")
    assert ("X" in Macros(header, {"GIVEN": "3"})) is taken


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/* no end", "a comment has no end"),
        ("\n\n#endif", "line 3: #endif without #if"),
        ("#else\n", "#else without #if"),
        ("#if 1\n", "has no #endif"),
        ("#if 1 +\n#endif\n", "line 1: a number is missing"),
        ("a \\\n b /* \n */\n#define 5\n", "line 4: #define of '5'"),
        ("#if 1\n" * 1000, "in each other"),
    ],
)
def test_broken_header_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(CTextError) as refused:
        Macros(text, {})
    assert message in str(refused.value)


@pytest.mark.parametrize("end", ["", "1"])
def test_macros_that_double_without_end_are_stopped(end: str) -> None:
    header = "".join(f"#define A{n} A{n + 1} A{n + 1}\n" for n in range(30)) + f"#define A30 {end}\n"
    with pytest.raises(CTextError, match="steps"):
        Macros(header, {}).expand("A0")


def test_chain_of_macros_is_bounded() -> None:
    header = "".join(f"#define A{n} A{n + 1}\n" for n in range(1000))
    with pytest.raises(CTextError, match="goes through more than"):
        Macros(header, {}).expand("A0")


@given(st.text(alphabet=st.sampled_from("#defin if\n\\/*\"'(){},<|&1A "), max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = Macros(text, {"A": "1"})
        evaluate(found.expand("A")) if "A" in found else None
    except CTextError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either way is right
