"""One `.rbl` package: open, check, extract (rbl-format 1 and 2)."""

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cloudsdk.errors import UsageError
from cloudsdk.files import open_regular
from cloudsdk.ota.body import check_algorithm, decode
from cloudsdk.ota.codecs.fnv import FNV_SEED, fnv1a32
from cloudsdk.ota.errors import (
    AlgorithmError,
    BodyCrcError,
    CodecError,
    HashError,
    HeaderCrcError,
    LengthError,
    MagicError,
    PackageError,
    RawSizeError,
)
from cloudsdk.ota.header import HEADER_SIZE, MAGIC, Encryption, Flavour, RblHeader

# The key and IV that bootloaders are shipped with, known to everyone (rbl-format 2.5).
DEFAULT_KEY: Final = b"0123456789ABCDEF0123456789ABCDEF"
DEFAULT_IV: Final = b"0123456789ABCDEF"

_READ_SIZE: Final = 64 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold of a package, and what was found."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class RawHash:
    """The hash a flavour keeps of the raw firmware. `update(data, value)` goes on from `value`."""

    label: str
    start: int
    update: Callable[[bytes, int], int]


_RAW_HASHES: Final[dict[Flavour, RawHash]] = {
    "official": RawHash("FNV-1a", FNV_SEED, fnv1a32),
    "qboot": RawHash("CRC-32", 0, zlib.crc32),
}


def raw_hash_of(flavour: Flavour) -> RawHash:
    """FNV-1a for official packages, CRC-32 for those of QBoot (rbl-format 1)."""
    return _RAW_HASHES[flavour]


class Package:
    """A package of which only the header is in memory. `header` is as found, right or wrong."""

    __slots__ = ("_source", "file_size", "header")

    def __init__(self, source: BinaryIO | Path, header: RblHeader, file_size: int) -> None:
        self._source = source
        self.header = header
        self.file_size = file_size

    def header_checks(self) -> list[Check]:
        """The checks that need no look at the body: magic, header-crc, length, algorithm."""
        return [
            _checked("magic", "RBL", self._check_magic),
            _checked("header-crc", f"0x{self.header.header_crc32:08x}", self._check_header_crc),
            _checked("length", f"{self.file_size} bytes", self._check_length),
            _checked("algorithm", f"0x{self.header.algo:04x}", lambda: check_algorithm(self.header)),
        ]

    def verify(self, key: bytes | None = DEFAULT_KEY, iv: bytes | None = DEFAULT_IV) -> list[Check]:
        """Check everything and go on after a failure, as far as that makes sense.

        After the `header_checks` come body-crc, decode, raw-size and raw-hash. Raises `PackageKeyError` for a
        key or IV that cannot be, `UsageError` when the file cannot be read.
        """
        checks = self.header_checks()
        checks.append(_checked("body-crc", f"0x{self.header.body_crc32:08x}", self._check_body_crc))
        return checks + self._decode_checks(key, iv)

    def extract(self, key: bytes | None = DEFAULT_KEY, iv: bytes | None = DEFAULT_IV) -> Iterator[bytes]:
        """The raw firmware, piece by piece.

        What was yielded can only be trusted when the iterator ends without an error. Raises a `PackageError`
        of the first check that fails: magic, header CRC and a short file before the first piece, body CRC
        and raw hash after the last. Bytes behind the package are no hindrance.
        """
        self._check_magic()
        self._check_header_crc()
        self._check_not_short()
        crc = 0

        def tapped() -> Iterator[bytes]:
            nonlocal crc
            for piece in self.body():
                crc = zlib.crc32(piece, crc)
                yield piece

        body = tapped()
        raw_hash = raw_hash_of(self.header.flavour)
        value = raw_hash.start
        for piece in decode(self.header, body, key, iv):
            value = raw_hash.update(piece, value)
            yield piece
        for _ in body:  # padding that no decoder looks at belongs to the body CRC
            pass
        self._compare_body_crc(crc)
        self._compare_raw_hash(value)

    def body(self) -> Iterator[bytes]:
        """The stored body in pieces, as long as the header says or as far as the file goes."""
        with _opened(self._source) as file:
            file.seek(HEADER_SIZE)
            missing = self.header.body_size
            while missing:
                piece = file.read(min(_READ_SIZE, missing))
                if not piece:
                    return
                missing -= len(piece)
                yield piece

    def _check_magic(self) -> None:
        if self.header.magic != MAGIC:
            raise MagicError(
                f'the file begins with {self.header.magic.hex(" ")}, a package with 52 42 4c 00 ("RBL")'
            )

    def _check_header_crc(self) -> None:
        computed, stored = self.header.computed_crc32(), self.header.header_crc32
        if computed != stored:
            raise HeaderCrcError(
                f"header CRC-32 is 0x{computed:08x}, the header says 0x{stored:08x}: the header is damaged"
            )

    def _check_not_short(self) -> None:
        expected = HEADER_SIZE + self.header.body_size
        if self.file_size < expected:
            raise LengthError(f"the file has {self.file_size} of {expected} bytes: fetch or pack it again")

    def _check_length(self) -> None:
        self._check_not_short()
        extra = self.file_size - HEADER_SIZE - self.header.body_size
        if extra:
            raise LengthError(
                f"{extra} bytes follow the package of {HEADER_SIZE + self.header.body_size} bytes"
            )

    def _check_body_crc(self) -> None:
        crc = 0
        for piece in self.body():
            crc = zlib.crc32(piece, crc)
        self._compare_body_crc(crc)

    def _compare_body_crc(self, computed: int) -> None:
        stored = self.header.body_crc32
        if computed != stored:
            raise BodyCrcError(
                f"body CRC-32 is 0x{computed:08x}, the header says 0x{stored:08x}: the body is damaged"
            )

    def _compare_raw_hash(self, computed: int) -> None:
        header = self.header
        if computed == header.raw_hash:
            return
        label = raw_hash_of(header.flavour).label
        encrypted = header.encryption is Encryption.AES256
        cause = "the key or IV is wrong" if encrypted else "header and firmware do not belong together"
        raise HashError(
            f"{label} of the firmware is 0x{computed:08x}, the header says 0x{header.raw_hash:08x}: {cause}"
        )

    def _decode_checks(self, key: bytes | None, iv: bytes | None) -> list[Check]:
        header = self.header
        raw_hash = raw_hash_of(header.flavour)
        value = raw_hash.start
        skipped = "not checked: the body does not decode"
        try:
            for piece in decode(header, self.body(), key, iv):
                value = raw_hash.update(piece, value)
        except RawSizeError as error:
            return [
                Check("decode", True, "to its end"),
                Check("raw-size", False, str(error)),
                Check("raw-hash", False, "not checked: the firmware is incomplete"),
            ]
        except (AlgorithmError, CodecError) as error:
            return [
                Check("decode", False, str(error)),
                Check("raw-size", False, skipped),
                Check("raw-hash", False, skipped),
            ]
        return [
            Check("decode", True, "to the raw size"),
            Check("raw-size", True, f"{header.raw_size} bytes"),
            _checked("raw-hash", f"{raw_hash.label} 0x{value:08x}", lambda: self._compare_raw_hash(value)),
        ]


def read_package(source: BinaryIO | str | os.PathLike[str]) -> Package:
    """Read the header of the package that is a file or fills a seekable stream from its start.

    A file is opened again for each later operation, so nothing has to be closed; a stream stays with the
    caller. Raises `HeaderShortError` below 96 bytes and `UsageError` when the file cannot be read.
    """
    origin = Path(source) if isinstance(source, str | os.PathLike) else source
    with _opened(origin) as file:
        file_size = file.seek(0, os.SEEK_END)
        file.seek(0)
        return Package(origin, RblHeader.unpack(file.read(HEADER_SIZE)), file_size)


@contextmanager
def _opened(source: BinaryIO | Path) -> Iterator[BinaryIO]:
    name = str(source) if isinstance(source, Path) else "the package"
    try:
        if isinstance(source, Path):
            with open_regular(source) as file:
                yield file
        else:
            yield source
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror or error}") from None


def _checked(name: str, found: str, check: Callable[[], object]) -> Check:
    try:
        check()
    except PackageError as error:
        return Check(name, False, str(error))
    return Check(name, True, found)


def failures(checks: Iterable[Check]) -> list[Check]:
    """Those of `checks` that failed, in their order."""
    return [check for check in checks if not check.ok]
