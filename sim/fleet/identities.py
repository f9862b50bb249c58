"""Serial numbers of a fleet: from a CSV file, or numbered by a pattern."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloudsdk.files import open_regular
from cloudsdk.port import MAX_SN
from sim.fleet.errors import IdentitiesError

MAX_DEVICES: Final = 1_000_000  # of one fleet
MAX_FILE: Final = 64 * 1024 * 1024  # bytes of a CSV file
_COLUMN: Final = "sn"
_PATTERN: Final = re.compile(r"(?P<head>[^#]*)(?P<digits>#+)(?P<tail>[^#]*)")


@dataclass(frozen=True, slots=True)
class Population:
    """Serial numbers of devices of one product, all different."""

    product_id: str
    serial_numbers: tuple[str, ...]


def numbered(pattern: str, count: int, *, first: int = 1) -> tuple[str, ...]:
    """`count` serial numbers from a pattern with one run of `#`, each a digit: `LOAD####`.

    Raises `IdentitiesError` when the digits do not suffice.
    """
    found = _PATTERN.fullmatch(pattern)
    if found is None:
        raise IdentitiesError(f"{pattern!r} has not one run of '#' for the digits, as in LOAD####")
    width = len(found["digits"])
    if not 0 < count <= MAX_DEVICES or len(str(first + count - 1)) > width:
        raise IdentitiesError(
            f"{count} serial numbers from {first} on do not fit {pattern!r}: use more '#', and 1 to "
            f"{MAX_DEVICES} devices"
        )
    numbers = (f"{found['head']}{number:0{width}}{found['tail']}" for number in range(first, first + count))
    return _checked(numbers, "the pattern")


def read_identities(path: Path, *, count: int | None = None) -> tuple[str, ...]:
    """The serial numbers in a CSV file: its column `sn`, or its first column when no header names one.

    `count` takes the first ones only. Raises `IdentitiesError` for anything that is not a list of different
    serial numbers, at least `count` of them.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise IdentitiesError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if len(content) > MAX_FILE:
        raise IdentitiesError(f"{str(path)!r} has more than {MAX_FILE} bytes: split it")
    found = _checked(_column(content, str(path)), repr(str(path)))
    if not found:
        raise IdentitiesError(f"{str(path)!r} holds no serial numbers")
    if count is not None and count > len(found):
        raise IdentitiesError(
            f"{str(path)!r} holds {len(found)} serial numbers, {count} are wanted: add more, or ask for fewer"
        )
    return found[:count]


def _column(content: bytes, source: str) -> Iterator[str]:
    try:
        rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        place = 0
        for number, row in enumerate(rows):
            names = [cell.strip().lower() for cell in row]
            if number == 0 and _COLUMN in names:
                place = names.index(_COLUMN)
            elif any(names):
                yield row[place].strip()
    except IndexError:
        raise IdentitiesError(f"{source!r}: row {number + 1} has no column {place + 1}") from None
    except (csv.Error, UnicodeDecodeError):
        raise IdentitiesError(f"{source!r} is not a CSV file in UTF-8") from None


def _checked(numbers: Iterable[str], source: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for place, sn in enumerate(numbers, 1):
        if not 0 < len(sn) <= MAX_SN or not sn.isascii() or not sn.isprintable():
            raise IdentitiesError(
                f"{source}: serial number {place} is not 1 to {MAX_SN} printable ASCII characters"
            )
        if sn in found:
            raise IdentitiesError(f"{source}: serial number {sn!r} comes twice")
        if len(found) == MAX_DEVICES:
            raise IdentitiesError(f"{source}: more than {MAX_DEVICES} serial numbers")
        found[sn] = None
    return tuple(found)
