"""The EasyFlash 3.2.1 ENV as the IoT Board is built with it: two areas in turn, with a version word.

A whole area is written at every save, to the area that is not in use; a counter tells which one is newer.
Source: easyflash-format 1 to 7. What the original does to its data, losses included, is done here too.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import ClassVar, Final, NoReturn

from cloudsdk.env import EnvError
from cloudsdk.errors import FlashError
from cloudsdk.fal import Partition
from sim.flash.easyflash_area import (
    COUNT_LIMIT,
    Area,
    AreaForm,
    decode_text,
    newer_area,
    padded,
    record_spans,
    split_record,
)

VERSION: Final = "3.2.1"
AREAS: Final = 2
DEFAULT_SETTING_SIZE: Final = 2048  # bytes; RAM image and largest content of one area (easyflash-format 1)
#: PFS with AUTO_UPDATE (easyflash-format 1)
BOARD_FORM: Final = AreaForm(counted=True, versioned=True)


class EnvCode(IntEnum):
    """EasyFlash return codes (easyflash-format 4)."""

    OK = 0
    ERASE = 1
    READ = 2
    WRITE = 3
    NAME = 4
    NAME_EXISTS = 5
    FULL = 6
    NOT_INITIALISED = 7


class Messages(Enum):
    """Which builds of EasyFlash print what about a save (easyflash-format 7)."""

    BOARD = "board"  # as vendored on the board: nothing
    RELEASE = "release"  # the official tags: one line for the erase, one for the write
    DEBUG = "debug"  # PKG_EASYFLASH_DEBUG: these and more, with file and line


class EnvPartitionError(FlashError):
    """A partition that cannot hold the two areas."""

    code: ClassVar[str] = "flash.env-partition"


@dataclass(frozen=True, slots=True)
class EnvState:
    """Where a store stands. Sizes and partition offsets are bytes."""

    used_size: int
    saved_count: int
    current_area: int
    next_area: int
    version: int
    dirty: bool


class EasyFlashEnv:
    """The ENV in a partition. Implements `cloudsdk.env.Env`.

    Text is UTF-8; bytes that are not survive as surrogate escapes, and text with a NUL is refused.
    `defaults` is the set written to blank flash, `version` that of the firmware's default set. `console`
    receives text with its line ends (`\\n`). Changes live in RAM until `save`. Nothing in flash makes it
    fail; a failing driver gives an `EnvError` with an `EnvCode`. Raises `EnvPartitionError` when the
    partition is too small.
    """

    def __init__(
        self,
        partition: Partition,
        *,
        defaults: Sequence[tuple[str, str]] = (("boot_times", "0"),),
        version: int = 0,
        setting_size: int = DEFAULT_SETTING_SIZE,
        console: Callable[[str], None] | None = None,
        messages: Messages = Messages.BOARD,
    ) -> None:
        blocks = -(-setting_size // partition.block_size)
        self._area_size = blocks * partition.block_size
        if setting_size <= BOARD_FORM.header_size or AREAS * self._area_size > partition.size:
            raise EnvPartitionError(
                f"partition {partition.name!r} of {partition.size} bytes cannot hold {AREAS} ENV areas of "
                f"{self._area_size} bytes"
            )
        self._partition = partition
        self._defaults = tuple(defaults)
        self._firmware_version = version
        self._setting_size = setting_size
        self._console = console
        self._messages = messages
        self._ready = False
        self._dirty = False
        self._records = b""
        self._count = 0
        self._version = version
        # Without a valid area the first save goes to area 0.
        self._current, self._next = self._area_size, 0

    @property
    def state(self) -> EnvState:
        return EnvState(self._used, self._count, self._current, self._next, self._version, self._dirty)

    def init(self) -> None:
        """Load the newer valid area or write the defaults, and say so on the console.

        Source: easyflash-format 3, 5 and 7.

        Raises `EnvError` when the defaults cannot be written; the store then stays uninitialised.
        """
        self._debug(150, f"ENV start address is 0x00000000, size is {AREAS * self._area_size} bytes.")
        try:
            if not self._load():
                self.set_default()
            elif self._version != self._firmware_version:
                self._update_defaults()
        except EnvError:
            self._announce("fail")
            raise
        self._ready = True
        self._announce("success")

    def get(self, key: str) -> str | None:
        """The value of `key`: what follows the first `=` of its record (easyflash-format 4).

        So asking for `a=b` may find a record `a` whose value begins with `b=`.
        """
        if not self._ready:
            self._info("ENV isn't initialize OK.")
            return None
        record = self._find(_encode(key))
        return None if record is None else decode_text(split_record(record)[1])

    def set(self, key: str, value: str) -> None:
        """Set in RAM. A changed variable moves to the end; if it does not fit there, it is gone.

        Raises `EnvError`: `NAME` for an empty key, one with `=`, or text with a NUL, `FULL`,
        `NOT_INITIALISED`.
        """
        self._require_ready()
        name, content = _encode(key), _encode(value)
        record = self._find(name)
        if record is not None:
            if split_record(record)[1] == content:
                return
            self._remove(name)
        self._append(name, content)

    def delete(self, key: str) -> None:
        """Delete in RAM. Raises `EnvError`: `NAME` if there is no such variable, `NOT_INITIALISED`."""
        self._require_ready()
        self._remove(_encode(key))

    def save(self) -> None:
        """Write RAM to the other area if it was changed (easyflash-format 4).

        Raises `EnvError`: `ERASE` or `WRITE` when the driver fails, `NOT_INITIALISED`. After a failed erase
        the areas have changed places all the same; after a failed write the change counts as saved.
        """
        self._require_ready()
        self._save()

    def set_and_save(self, key: str, value: str) -> None:
        """`set`, and `save` if that went well."""
        self.set(key, value)
        self.save()

    def delete_and_save(self, key: str) -> None:
        """`delete`, and `save` if that went well."""
        self.delete(key)
        self.save()

    def set_default(self) -> None:
        """Replace everything by the defaults in both areas (easyflash-format 5).

        Raises `EnvError` as `save`.
        """
        self._records = b""
        self._count = 0
        self._version = self._firmware_version
        self._add_missing_defaults()
        self._save()
        self._dirty = True
        self._save()

    def items(self) -> list[tuple[str, str]]:
        """All variables in storage order."""
        pairs = (split_record(record) for record in self._texts())
        return [(decode_text(key), decode_text(value)) for key, value in pairs]

    def print_env(self) -> str:
        """The text of the `printenv` command (easyflash-format 7)."""
        if not self._ready:
            self._info("ENV isn't initialize OK.")
            return ""
        lines = [
            *(decode_text(record) for record in self._texts()),
            "",
            "mode: power fail safeguard",
            f"size: {self._used}/{self._setting_size} bytes, "
            f"write bytes {AREAS * self._used}/{AREAS * self._area_size}.",
            f"saved count: {self._count}",
            f"ver num: {self._version}",
        ]
        return "".join(line + "\n" for line in lines)

    @property
    def _used(self) -> int:
        return BOARD_FORM.header_size + len(self._records)

    def _load(self) -> bool:
        """Take over the newer valid area; False if there is none (easyflash-format 3)."""
        areas = self._read_area(0), self._read_area(self._area_size)
        current = newer_area(*areas)
        winner = None if current is None else areas[current]
        if winner is None:
            self._current, self._next = self._area_size, 0
            return False
        self._current, self._next = (self._area_size, 0) if current else (0, self._area_size)
        self._dirty = False
        self._count, self._version, self._records = winner.count, winner.version, winner.records
        return True

    def _read_area(self, start: int) -> Area | None:
        try:
            data = self._partition.read(start, self._setting_size)
        except FlashError:
            return None  # the port drops read errors (easyflash-format 4); what it then has is no valid area
        area = BOARD_FORM.decode(data, start)
        if area is None:
            return None
        self._debug_crc(area.actual_crc)
        if not area.intact:
            return None
        self._debug(831, "Verify ENV CRC32 result is OK.")
        return area

    def _update_defaults(self) -> None:
        # A failing save or a full ENV does not fail the start (easyflash-format 3.6).
        self._version = self._firmware_version
        self._add_missing_defaults()
        self._dirty = True
        try:
            self._save()
        except EnvError:
            return

    def _add_missing_defaults(self) -> None:
        for key, value in self._defaults:
            if self._find(_encode(key)) is None:
                try:
                    self._append(_encode(key), _encode(value))
                except EnvError:
                    continue

    def _save(self) -> None:
        if not self._dirty:
            return
        target = self._next
        self._next, self._current = self._current, target
        self._count = (self._count + 1) % COUNT_LIMIT
        image = BOARD_FORM.encode(target, self._count, self._version, self._records)
        self._debug_crc(BOARD_FORM.crc(target + len(image), self._count, self._records))
        where = f"Start address is 0x{target:08X}, size is {len(image)}."
        try:
            self._partition.erase(target, len(image))
        except FlashError as error:
            self._info(f"Error: Erased ENV fault! {where}")
            raise EnvError(f"ENV not saved: {error}", EnvCode.ERASE) from error
        self._progress(772, "Erased ENV OK.")
        self._dirty = False
        try:
            self._partition.write(target, image)
        except FlashError as error:
            self._info(f"Error: Saved ENV fault! {where}")
            raise EnvError(f"ENV not saved: {error}", EnvCode.WRITE) from error
        self._progress(786, "Saved ENV OK.")

    def _texts(self) -> Iterator[bytes]:
        return (self._records[start:end] for start, end, _ in record_spans(self._records))

    def _locate(self, key: bytes) -> tuple[int, int, int] | None:
        start = key + b"="
        spans = record_spans(self._records)
        return next((span for span in spans if self._records.startswith(start, *span[:2])), None)

    def _find(self, key: bytes) -> bytes | None:
        if not key:
            self._info("Flash ENV name must be not empty!")
            return None
        span = self._locate(key)
        return span and self._records[span[0] : span[1]]

    def _remove(self, key: bytes) -> None:
        if not key:
            self._refuse("Flash ENV name must be not NULL!")
        if b"=" in key:
            self._refuse("Flash ENV name or value can't contain '='.")
        span = self._locate(key)
        if span is None:
            self._refuse(f'Not find "{decode_text(key)}" in ENV.')
        start, _, after = span
        self._records = self._records[:start] + self._records[after:]
        self._dirty = True

    def _append(self, key: bytes, value: bytes) -> None:
        if not key:
            self._refuse("Flash ENV name must be not empty!")
        if b"=" in key:
            self._refuse("Flash ENV name can't contain '='.")
        text = key + b"=" + value
        record = text.ljust(padded(len(text) + 1), b"\0")
        if self._used + len(record) >= self._setting_size:
            raise EnvError(f"ENV is full: no room for {decode_text(key)!r}, delete variables", EnvCode.FULL)
        self._records += record
        self._dirty = True

    def _require_ready(self) -> None:
        if not self._ready:
            self._refuse("ENV isn't initialize OK.", EnvCode.NOT_INITIALISED)

    def _refuse(self, text: str, code: EnvCode = EnvCode.NAME) -> NoReturn:
        self._info(text)
        raise EnvError(text, code)

    def _announce(self, outcome: str) -> None:
        self._info(f"EasyFlash V{VERSION} is initialize {outcome}.")
        self._info("You can get the latest version on https://github.com/armink/EasyFlash .")

    def _info(self, text: str) -> None:
        if self._console:
            self._console(f"[Flash] {text}\n")

    def _debug(self, line: int, text: str) -> None:
        if self._messages is Messages.DEBUG:
            self._info(f"(src/ef_env.c:{line}) {text}")

    def _debug_crc(self, crc: int) -> None:
        self._debug(819, f"Calculate ENV CRC32 number is 0x{crc:08X}.")

    def _progress(self, line: int, text: str) -> None:
        if self._messages is Messages.RELEASE:
            self._info(text)
        self._debug(line, text)


def _encode(text: str) -> bytes:
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise EnvError("ENV text cannot be encoded as UTF-8", EnvCode.NAME) from error
    if b"\0" in data:
        raise EnvError("ENV text cannot hold a NUL", EnvCode.NAME)
    return data
