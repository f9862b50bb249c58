"""Serial numbers for devices: unique over the workers of a run, or those that a real cloud knows."""

import csv
import itertools
from collections import deque
from pathlib import Path
from typing import Final

from cloudsdk.files import open_regular
from cloudsdk.port import MAX_SN
from sim.rig.errors import IdentitiesError

COLUMN: Final = "sn"
MAX_FILE: Final = 64 * 1024 * 1024  # bytes
_PREFIX: Final = "RIG"


def read_identities(path: Path) -> list[str]:
    """The serial numbers in the column `sn` of a CSV file with a head. Raises `IdentitiesError`."""
    try:
        with open_regular(path) as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as exc:
        raise IdentitiesError(f"cannot read {path}: {exc.strerror}") from exc
    if len(raw) > MAX_FILE:
        raise IdentitiesError(f"{path} has more than {MAX_FILE} bytes")
    try:
        rows = csv.DictReader(raw.decode("utf-8-sig").splitlines(), strict=True)
        if COLUMN not in (rows.fieldnames or ()):
            raise IdentitiesError(f"{path} has no column {COLUMN!r} in its first line")
        found = [(row[COLUMN] or "").strip() for row in rows]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise IdentitiesError(f"{path} is no CSV file in UTF-8: {exc}") from exc
    for number, sn in enumerate(found, start=1):
        if not 0 < len(sn) <= MAX_SN or not sn.isascii() or not sn.isprintable():
            raise IdentitiesError(
                f"{path}: SN number {number} is not 1 to {MAX_SN} printable ASCII characters"
            )
    if len(set(found)) != len(found):
        raise IdentitiesError(f"{path} has the same SN twice")
    return found


class SerialNumbers:
    """Those for one worker of `workers`, from 0. `known` is what the cloud has; None: any will do.

    Numbers that are given back are taken again last.
    """

    def __init__(self, worker: int = 0, workers: int = 1, known: list[str] | None = None) -> None:
        self._worker = worker
        self._known = frozenset(known or ())
        self._free = deque(known[worker::workers]) if known is not None else None
        self._numbers = itertools.count(1)

    @property
    def known(self) -> frozenset[str]:
        return self._known

    def take(self) -> str:
        """Raises `IdentitiesError` when all are in use."""
        if self._free is None:
            return f"{_PREFIX}{self._worker:02}{next(self._numbers):06}"
        if not self._free:
            raise IdentitiesError("all serial numbers of this worker are in use: add some to the identities")
        return self._free.popleft()

    def give_back(self, sn: str) -> None:
        if self._free is not None and sn in self._known and sn not in self._free:
            self._free.append(sn)
