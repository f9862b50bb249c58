"""A firmware project's own `fal_cfg.h`: the partition table and the list of flash devices in it.

Both are macros, `FAL_PART_TABLE` and `FAL_FLASH_DEV_TABLE`, that expand to C initialisers of the
structures of rbl-format 4. The geometry of the devices is elsewhere in a project, so it is not read here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sim.flash.c_text import CTextError, Macros, Token, evaluate, shown
from sim.flash.placement import PartitionEntry

MAX_HEADER: Final = 256 * 1024  # characters
MAX_TABLE: Final = 1024  # rows
PARTITION_TABLE: Final = "FAL_PART_TABLE"
DEVICE_TABLE: Final = "FAL_FLASH_DEV_TABLE"
#: Set by the configuration of a project that keeps its table in the header.
_PREDEFINED: Final = {"FAL_PART_HAS_TABLE_CFG": "1", "FAL_PART_MAGIC_WORD": "0x45503130"}
#: FAL up to 0.4 spelt it like this.
_MAGIC_WORDS: Final = ("FAL_PART_MAGIC_WORD", "FAL_PART_MAGIC_WROD")
_ROW: Final = "{magic, name, device, offset, length, 0}"
_FIELDS: Final = (5, 6)  # the reserved word may be left out


@dataclass(frozen=True, slots=True)
class FalConfig:
    """What the header says. `flash_symbols` are the C names of its devices, not their names in FAL."""

    partitions: tuple[PartitionEntry, ...]
    flash_symbols: tuple[str, ...]


def parse_fal_cfg(text: str, defined: Mapping[str, str] | None = None) -> FalConfig:
    """Read a header. `defined` are names that the project's configuration defines.

    Raises `CTextError`.
    """
    if len(text) > MAX_HEADER:
        raise CTextError(f"more than {MAX_HEADER} characters")
    macros = Macros(text, {**_PREDEFINED, **(defined or {})})
    if PARTITION_TABLE not in macros:
        raise CTextError(
            f"no {PARTITION_TABLE} is defined; if a condition hides it, give --define NAME of that condition"
        )
    rows = _rows(macros.expand(PARTITION_TABLE))
    symbols = _braced(macros.expand(DEVICE_TABLE), DEVICE_TABLE) if DEVICE_TABLE in macros else []
    return FalConfig(
        tuple(_entry(number, row) for number, row in enumerate(rows)),
        tuple("".join(word.text for word in each).lstrip("&") for each in symbols),
    )


def _rows(words: list[Token]) -> list[list[list[Token]]]:
    return [
        _braced(row, f"{PARTITION_TABLE}[{number}]")
        for number, row in enumerate(_braced(words, PARTITION_TABLE))
    ]


def _braced(words: list[Token], where: str) -> list[list[Token]]:
    """The items of `{a, b, ...}`; a comma may follow the last one."""
    if len(words) < 2 or not (_is(words[0], "{") and _is(words[-1], "}")):
        raise CTextError(f"{where} is no list in braces")
    items = list(_items(words[1:-1], where))
    if items and not items[-1]:
        items.pop()
    if len(items) > MAX_TABLE:
        raise CTextError(f"{where} has more than {MAX_TABLE} rows")
    return items


def _items(words: list[Token], where: str) -> Iterator[list[Token]]:
    item: list[Token] = []
    depth = 0
    for word in words:
        depth += _is(word, "{") or _is(word, "(")
        depth -= _is(word, "}") or _is(word, ")")
        if depth < 0:
            break
        if depth == 0 and _is(word, ","):
            yield item
            item = []
        else:
            item.append(word)
    if depth:
        raise CTextError(f"the brackets of {where} do not pair up")
    yield item


def _is(word: Token, sign: str) -> bool:
    return word.kind == "sign" and word.text == sign


def _entry(number: int, row: list[list[Token]]) -> PartitionEntry:
    where = f"{PARTITION_TABLE}[{number}]"
    if len(row) not in _FIELDS:
        raise CTextError(f"{where} has {len(row)} fields; a row is {_ROW}")
    try:
        _require_magic(row[0])
        return PartitionEntry(_text(row[1]), _text(row[2]), evaluate(row[3]), evaluate(row[4]))
    except CTextError as error:
        raise CTextError(f"{where}: {error}") from None


def _require_magic(words: list[Token]) -> None:
    if len(words) == 1 and words[0].text in _MAGIC_WORDS:
        return
    if evaluate(words) != int(_PREDEFINED["FAL_PART_MAGIC_WORD"], 16):
        raise CTextError(f"does not begin with the magic word; a row is {_ROW}")


def _text(words: list[Token]) -> str:
    """Text, of one or more literals next to each other."""
    for word in words:
        if word.kind == "name":
            name = shown(word.text)
            raise CTextError(f"{name} is not defined: give --define {name}='\"NAME\"'")
    if not words or any(word.kind != "string" for word in words):
        raise CTextError(f"{shown(' '.join(word.text for word in words))!r} is no name in double quotes")
    return "".join(word.text for word in words)
