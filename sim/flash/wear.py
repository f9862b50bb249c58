"""Wear of a board's flash on disk: how often each block was erased, in one JSON file beside the images.

It is written when a board is put away, not at each erase: what a killed process erased is not counted.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cloudsdk.files import open_regular, replacing
from sim.flash.pages import ImageError

WEAR_FILE: Final = "wear.json"
MAX_WEAR_FILE: Final = 8 * 1024 * 1024  # bytes

#: Erases by device name and start of the block.
WearTables = Mapping[str, Mapping[int, int]]


def load_wear(path: Path) -> dict[str, dict[int, int]]:
    """The tables that `save_wear` wrote; none without a file. Raises `ImageError` for any other file."""
    try:
        with open_regular(path) as file:
            text = file.read(MAX_WEAR_FILE + 1)
        if len(text) > MAX_WEAR_FILE:
            raise ValueError
        return {str(name): _table(rows) for name, rows in json.loads(text).items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ImageError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise ImageError(f"{str(path)!r} is no table of wear; remove it to count from zero") from error


def _table(rows: Mapping[str, object]) -> dict[int, int]:
    table = {}
    for block, erases in rows.items():
        if not isinstance(erases, int):
            raise ValueError(erases)
        table[int(block, 0)] = erases
    return table


def save_wear(path: Path, tables: WearTables) -> None:
    """Write the tables, blocks in hexadecimal. Raises `UsageError` when the disk does not allow it."""
    text = json.dumps(
        {
            name: {f"0x{block:08x}": erases for block, erases in table.items()}
            for name, table in tables.items()
        },
        indent=1,
    )
    with replacing(path) as file:
        file.write(text.encode("ascii"))
