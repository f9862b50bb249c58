"""Firmware as tools write it: raw binary, Intel HEX or ELF; read as one stretch of bytes, gaps 0xFF."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import BinaryIO, Final, Literal

from cloudsdk.errors import UsageError
from cloudsdk.ota.errors import ImageError

ImageFormat = Literal["bin", "hex", "elf"]

MAX_IMAGE_SIZE: Final = 64 * 1024 * 1024  # bytes from the first to the last, gaps included; HEX and ELF
MAX_SEGMENTS: Final = 1024  # program headers looked at
MAX_HEX_LINE: Final = 1024  # characters; a record has at most 521
ERASED: Final = 0xFF
ELF_MAGIC: Final = b"\x7fELF"

_READ_SIZE: Final = 64 * 1024  # bytes
_PAGE: Final = 4096  # bytes
_TAKEN: Final = re.compile(b"\1+")
_BATCH: Final = 256  # HEX records parsed at a time
_FORMATS: Final[dict[str, ImageFormat]] = {
    ".hex": "hex",
    ".ihex": "hex",
    ".ihx": "hex",
    ".elf": "elf",
    ".axf": "elf",
    ".out": "elf",
}
_HEX_END: Final = "01"  # record types, as the characters 7 and 8 of a line
_HEX_BASES: Final = ("02", "04")
_HEX_BASE_ZERO: Final = ":020000040000FA\n"


def image_format(path: Path) -> ImageFormat:
    """What the name of a file says it is; "bin" for every name it does not know."""
    return _FORMATS.get(path.suffix.lower(), "bin")


def read_image(path: Path) -> Iterator[bytes]:
    """The firmware in a file, in pieces, from its lowest address up.

    Of an ELF file the loadable segments are taken, by physical address. A raw binary of any size is streamed,
    and so is an ELF file; HEX records, which can come in any order, are collected first. Raises `ImageError`
    for a file that breaks its format or spreads over more than `MAX_IMAGE_SIZE`, `UsageError` when it cannot
    be read.
    """
    with _opened(path) as file:
        match image_format(path):
            case "bin":
                yield from _pieces(file)
            case "hex":
                yield from read_hex(path, file).pieces()
            case "elf":
                yield from _elf_pieces(path, file)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_READ_SIZE):
        yield piece


# --- ELF ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class _Segment:
    """`size` bytes at `offset` of the file belong to `address`."""

    address: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.address + self.size


def _elf_pieces(path: Path, file: BinaryIO) -> Iterator[bytes]:
    segments = _load_segments(path, file)
    position = segments[0].address
    for segment in segments:
        yield from _gap(segment.address - position)
        file.seek(segment.offset)
        missing = segment.size
        while missing and (piece := file.read(min(_READ_SIZE, missing))):
            missing -= len(piece)
            yield piece
        position = segment.end


def _gap(size: int) -> Iterator[bytes]:
    for start in range(0, size, _READ_SIZE):
        yield bytes((ERASED,)) * min(_READ_SIZE, size - start)


def _load_segments(path: Path, file: BinaryIO) -> list[_Segment]:
    """The loadable segments that have bytes in the file, by physical address, none over another."""
    from elftools.common.exceptions import ELFError
    from elftools.common.utils import struct_parse
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    file_size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        elf = ELFFile(file)
        count = elf["e_phnum"]
        if count > MAX_SEGMENTS:
            raise ImageError(f"{path}: {count} program headers, {MAX_SEGMENTS} are read")
        if elf["e_phoff"] + count * elf["e_phentsize"] > file_size:
            raise ImageError(f"{path} ends before its program headers: it is cut short")
        # Headers only: a segment object would read sections and dynamic tables, too.
        headers = [
            struct_parse(elf.structs.Elf_Phdr, file, elf["e_phoff"] + index * elf["e_phentsize"])
            for index in range(count)
        ]
    except (ELFError, ConstructError, ValueError, OverflowError) as error:
        reason = str(error) or type(error).__name__
        raise ImageError(f"{path} is no sound ELF file ({reason}): link it again") from None
    segments = sorted(
        _Segment(header["p_paddr"], header["p_offset"], header["p_filesz"])
        for header in headers
        if header["p_type"] == "PT_LOAD" and header["p_filesz"]
    )
    if not segments:
        raise ImageError(f"{path} has no loadable segment: give a linked ELF file, no object file")
    for segment in segments:
        if segment.offset + segment.size > file_size:
            raise ImageError(f"{path} ends inside a segment of {segment.size} bytes: it is cut short")
    for lower, upper in pairwise(segments):
        if upper.address < lower.end:
            raise ImageError(f"{path}: two segments claim address 0x{upper.address:08x}")
    _check_span(path, segments[0].address, segments[-1].end)
    return segments


def _check_span(path: Path, start: int, end: int) -> None:
    if end - start > MAX_IMAGE_SIZE:
        raise ImageError(
            f"{path} spreads from 0x{start:08x} to 0x{end:08x}, more than {MAX_IMAGE_SIZE >> 20} MiB: "
            "pack only the sections of one partition (objcopy -O binary -j SECTION)"
        )


# --- Intel HEX ------------------------------------------------------------------------------------------


class HexImage:
    """What the records of a HEX file hold, by address: in pages, each with a mark per byte that is taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pages: dict[int, tuple[bytearray, bytearray]] = {}
        self._start = self._end = 0

    def put(self, address: int, data: bytes) -> None:
        """Raises `ImageError` for an address that is taken or too far from the others."""
        end = address + len(data)
        self._start = min(self._start, address) if self._pages else address
        self._end = max(self._end, end)
        _check_span(self._path, self._start, self._end)
        while address < end:
            number, at = divmod(address, _PAGE)
            piece, data = data[: _PAGE - at], data[_PAGE - at :]
            content, taken = self._pages.setdefault(number, (bytearray((ERASED,)) * _PAGE, bytearray(_PAGE)))
            if any(taken[at : at + len(piece)]):
                raise ImageError(f"{self._path}: two records claim bytes at 0x{address:08x}")
            content[at : at + len(piece)] = piece
            taken[at : at + len(piece)] = b"\1" * len(piece)
            address += len(piece)

    def segments(self) -> Iterator[tuple[int, bytes]]:
        """Address and content of each stretch that the records name, ascending and cut at pages."""
        for number, (content, taken) in sorted(self._pages.items()):
            for run in _TAKEN.finditer(taken):
                yield number * _PAGE + run.start(), bytes(content[run.start() : run.end()])

    def pieces(self) -> Iterator[bytes]:
        """Everything from the first byte to the last. Raises `ImageError` when there is none."""
        if not self._pages:
            raise ImageError(f"{self._path} holds no data records")
        erased = bytes((ERASED,)) * _PAGE
        for number in range(self._start // _PAGE, -(-self._end // _PAGE)):
            page = self._pages.get(number)
            content = bytes(page[0]) if page is not None else erased
            base = number * _PAGE
            yield content[max(self._start - base, 0) : self._end - base]


def read_hex(path: Path, file: BinaryIO) -> HexImage:
    """The records of a HEX file; `path` names it in errors.

    IntelHex keeps a dictionary entry per byte, so it is given a few records at a time. Raises `ImageError`
    for a damaged file, and for one that spreads over more than `MAX_IMAGE_SIZE`.
    """
    from intelhex import HexReaderError, IntelHex

    image = HexImage(path)
    base = _HEX_BASE_ZERO  # the latest extended address record, which counts for the records that follow, too
    first_line = 1
    ended = False
    while not ended:
        lines = list(islice(_hex_lines(path, file), _BATCH))
        if not lines:
            raise ImageError(f"{path} has no end record: it is cut short or no Intel HEX file")
        batch = IntelHex()
        try:
            batch.loadhex(io.StringIO(base + "".join(lines)))
        except HexReaderError as error:
            line = first_line + getattr(error, "line", 2) - 2
            raise ImageError(f"{path}, line {line}: {type(error).__name__}, the file is damaged") from None
        for start, end in batch.segments():
            image.put(start, batch.tobinarray(start, end - 1).tobytes())
        for record in lines:
            kind = record[7:9]
            if kind in _HEX_BASES:
                base = record
            ended = ended or kind == _HEX_END
        first_line += len(lines)
    return image


def _hex_lines(path: Path, file: BinaryIO) -> Iterator[str]:
    while line := file.readline(MAX_HEX_LINE + 1):
        if len(line) > MAX_HEX_LINE:
            raise ImageError(
                f"{path} has a line of more than {MAX_HEX_LINE} characters: it is no Intel HEX file"
            )
        yield line.decode("ascii", "replace")
