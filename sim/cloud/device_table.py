"""Devices as a CSV table. Its header names the columns `sn,name,mac,description,tags` in any order; only `sn`
must be there. The cells of `tags` hold tags separated by blanks or commas.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sim.cloud.errors import BadRequestError, TooLargeError

MAX_TABLE: Final = 4 * 1024 * 1024  # bytes
MAX_ROWS: Final = 10_000
COLUMNS: Final = ("sn", "name", "mac", "description", "tags")

_TAG_SEPARATOR: Final = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One row. `row` counts from 1, the header included; `problem` is set if the row cannot be read."""

    row: int
    sn: str = ""
    name: str = ""
    mac: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    problem: str = ""


def read_devices(table: bytes) -> list[DeviceRow]:
    """The rows of a table in UTF-8, with or without byte order mark, separated by commas or semicolons.

    What is in the cells is not checked, and nothing is evaluated. Raises `TooLargeError` beyond `MAX_TABLE`
    or `MAX_ROWS` and `BadRequestError` for what is no such table.
    """
    if len(table) > MAX_TABLE:
        raise TooLargeError(f"the table is larger than {MAX_TABLE} bytes: split it")
    try:
        text = table.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BadRequestError(f"the table is not UTF-8 text (byte {exc.start}): save it as UTF-8") from None
    header = text.partition("\n")[0]
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(header), strict=True)
    found: list[DeviceRow] = []
    try:
        columns = _columns(next(lines, []))
        for number, cells in enumerate(lines, start=2):
            if not any(cells):
                continue
            if len(found) == MAX_ROWS:
                raise TooLargeError(f"the table has more than {MAX_ROWS} rows: split it")
            found.append(_row(number, columns, cells))
    except csv.Error as exc:
        raise BadRequestError(f"line {lines.line_num} of the table is not CSV: {exc}") from None
    if not found:
        raise BadRequestError("the table has no rows below its header")
    return found


def _delimiter(header: str) -> str:
    return ";" if ";" in header and "," not in header else ","


def _columns(header: list[str]) -> list[str]:
    columns = [name.strip().lower() for name in header]
    wrong = [name for name in columns if name not in COLUMNS]
    if wrong or len(set(columns)) < len(columns) or "sn" not in columns:
        raise BadRequestError(
            f"the first row of the table must name the columns: sn and, if wanted, {', '.join(COLUMNS[1:])}"
        )
    return columns


def _row(number: int, columns: list[str], cells: list[str]) -> DeviceRow:
    if len(cells) > len(columns):
        return DeviceRow(number, problem=f"it has {len(cells)} cells, the header {len(columns)}")
    values = dict(_stripped(columns, cells))
    tags = tuple(tag for tag in _TAG_SEPARATOR.split(values.pop("tags", "")) if tag)
    return DeviceRow(number, tags=tags, **values)


def _stripped(columns: list[str], cells: list[str]) -> Iterator[tuple[str, str]]:
    for column, cell in zip(columns, cells, strict=False):
        yield column, cell.strip()
