"""What will hurt when a package meets a board: findings, each with the fact behind it.

The findings follow what the recorded bootloaders do, so a package may be sound (`Package.verify`) and still
be refused, or be installed and not start.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, cast

from cloudsdk.fal import Partition
from cloudsdk.ota.body import MAX_BLOCK_SIZE, PIECE_SIZE, BodyReader, decode
from cloudsdk.ota.codecs import quicklz
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.errors import CodecError
from cloudsdk.ota.header import (
    HEADER_SIZE,
    NAME_OFFSET,
    NAME_SIZE,
    VERSION_OFFSET,
    VERSION_SIZE,
    Compression,
    Encryption,
    RblHeader,
    printable,
)
from cloudsdk.ota.journal import Journal
from cloudsdk.ota.pack import SAFE_SIZE
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY, Check, Package, failures
from cloudsdk.ota.padding import CIPHER_BLOCK_SIZE, Padding, padding_kind
from cloudsdk.ota.rt_ota import BLOCK_BUFFER, DOWNLOAD, STACK_POINTERS, VECTORS
from cloudsdk.ota.transport import rounded

Bootloader = Literal["rt_ota", "qboot"]

APP: Final = "app"
SIGN_ALIGN: Final = 32  # bytes: QBoot's release sign is the first aligned word behind a package (5.1)
BOOTLOADER: Final = b"bootloader"  # rt_ota compares this prefix (rbl-format 3.2)
ENVIRONMENT: Final = "easyflash"

#: Findings that say already why a body does not decode.
_UNDECODABLE: Final = {"algorithm-unknown", "xor", "hpatchlite"}
_BLOCK_START: Final = struct.Struct(">IB")  # length, flags of QuickLZ
_HALF_WORD: Final = 0xFFFF0000  # the part of the HardFault vector that rt_ota looks at
_QBOOT_STACK_MASK: Final = 0x2FF00000
_QBOOT_STACK: Final = 0x20000000


class Severity(StrEnum):
    """How bad it is."""

    ERROR = "error"  # the package is not installed, the application does not start, or the board hangs
    WARNING = "warning"  # it can be installed, but something is lost or wrong
    NOTE = "note"  # worth knowing


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `id` is stable across releases, `fact` says where it is known from."""

    id: str
    severity: Severity
    message: str
    fact: str


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """A partition of the board. Sizes in bytes; `block_size` and `program_unit` of the flash it lies on."""

    name: str
    size: int
    block_size: int
    program_unit: int


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """The board a package is meant for. `link_address` is the bus address of its application's partition."""

    bootloader: Bootloader
    partitions: tuple[PartitionFacts, ...]
    link_address: int
    app: str = APP  # name of that partition

    def find(self, name: str) -> PartitionFacts | None:
        return next((entry for entry in self.partitions if entry.name == name), None)


#: Every finding there can be, and the fact behind it.
FACTS: Final[Mapping[str, str]] = {
    "magic": "rbl-format 3.2, 5.1",
    "header-crc": "rbl-format 3.2",
    "length": "rbl-format 1",
    "body-crc": "rbl-format 3.2",
    "decode": "rbl-format 3.2",
    "raw-size": "rbl-format 1",
    "raw-hash": "rbl-format 3.2",
    "trailing-bytes": "rbl-format 1",
    "algorithm-unknown": "rbl-format 1.1",
    "gzip": "rbl-format 2.4",
    "xor": "rbl-format 1.1",
    "hpatchlite": "rbl-format 5.2",
    "flavour": "rbl-format 3.4",
    "no-raw-verification": "rbl-format 5",
    "default-key": "rbl-format 2.5",
    "text-not-ascii": "rbl-format 1.3",
    "text-question-mark": "rbl-format 1.3",
    "name-unterminated": "rbl-format 1, 2.7",
    "version-unterminated": "rbl-format 3.4a",
    "partition-unknown": "rbl-format 3.2",
    "partition-bootloader": "rbl-format 3.2",
    "partition-environment": "rbl-format 4",
    "partition-download": "rbl-format 3.1",
    "raw-too-large": "rbl-format 3.2",
    "package-too-large": "rbl-format 6",
    "journal-overlap": "ADR 2",
    "sign-not-erased": "rbl-format 5.1",
    "raw-too-small": "rbl-format 3.4",
    "body-too-small": "rbl-format 3.4",
    "body-too-long": "rbl-format 3.4",
    "link-address": "rbl-format 3.2",
    "stack-pointer": "rbl-format 3.2, 5.1",
    "reset-vector": "rbl-format 3.2, 5.1",
    "quicklz-level": "rbl-format 2.2",
    "block-raw-size": "rbl-format 3.4",
    "block-small": "rbl-format 3.4",
    "block-buffer": "rbl-format 3.4a",
    "fastlz-growth": "rbl-format 5.1",
    "padding-plain": "rbl-format 2.6",
    "padding-foreign": "rbl-format 2.6",
    "padding-odd": "rbl-format 2.6",
}


def lint(
    package: Package, board: BoardFacts, key: bytes | None = DEFAULT_KEY, iv: bytes | None = DEFAULT_IV
) -> list[Finding]:
    """Everything that will hurt `package` on `board`, in the order header, partition, content.

    Key and IV are those of the board's bootloader. Of a header with a wrong CRC nothing else is judged.
    Raises `PackageKeyError` for a key or IV that cannot be, `UsageError` when the file cannot be read.
    """
    header = package.header
    findings = list(_check_magic(header, board))
    if not header.crc_ok:
        return findings + _failed(package.header_checks(), package, ("header-crc",))
    findings += _check_algorithm(header, board)
    findings += _check_text(header)
    findings += _check_partition(package, board)
    findings += _check_sizes(header, board)
    checks = package.verify(key, iv)
    findings += _failed(checks, package, ("length", "body-crc"))
    if any(finding.id in _UNDECODABLE for finding in findings):
        return findings
    if level := _quicklz_level(package, key, iv):
        return [*findings, level]
    damage = _failed(checks, package, ("decode", "raw-size", "raw-hash"))
    # What a damaged body or a wrong key decodes to says nothing about the firmware.
    return findings + (damage or list(_check_content(package, board, key, iv)))


def lint_alone(package: Package, key: bytes | None = None, iv: bytes | None = None) -> list[Finding]:
    """What can be said of `package` without a board: it is judged for the bootloader of its own flavour.

    Without a key, the content of an encrypted package is not judged. Errors are those of `lint`.
    """
    header = package.header
    board = BoardFacts("qboot" if header.flavour == "qboot" else "rt_ota", (), 0, app="")
    if header.encryption is Encryption.NONE or key is not None:
        findings = lint(package, board, key, iv)
    else:
        findings = [
            *_check_magic(header, board),
            *_check_algorithm(header, board),
            *_check_text(header),
            *_check_partition(package, board),
            *_check_sizes(header, board),
        ]
    return [finding for finding in findings if finding.id != "partition-unknown"]


def has_errors(findings: list[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def _error(identity: str, message: str) -> Finding:
    return Finding(identity, Severity.ERROR, message, FACTS[identity])


def _warning(identity: str, message: str) -> Finding:
    return Finding(identity, Severity.WARNING, message, FACTS[identity])


def _note(identity: str, message: str) -> Finding:
    return Finding(identity, Severity.NOTE, message, FACTS[identity])


def _graver_on(bootloader: Bootloader, board: BoardFacts, identity: str, message: str) -> Finding:
    """An error on `bootloader`, a warning on the other."""
    return (_error if board.bootloader == bootloader else _warning)(identity, message)


# --- the package by itself --------------------------------------------------------------------------------


def _failed(checks: Iterable[Check], package: Package, names: tuple[str, ...]) -> list[Finding]:
    """The failures among the checks of those names."""
    findings = []
    for check in failures(checks):
        if check.name not in names:
            continue
        if check.name == "length" and package.file_size > HEADER_SIZE + package.header.body_size:
            findings.append(_warning("trailing-bytes", check.detail))
        else:
            findings.append(_error(check.name, check.detail))
    return findings


def _check_magic(header: RblHeader, board: BoardFacts) -> Iterator[Finding]:
    if header.magic != b"RBL\0":
        yield _graver_on(
            "qboot",
            board,
            "magic",
            f"the package begins with {header.magic.hex(' ')}: rt_ota does not look, QBoot refuses it",
        )


def _check_algorithm(header: RblHeader, board: BoardFacts) -> Iterator[Finding]:
    if header.compression is None or header.encryption is None:
        yield _error("algorithm-unknown", f"no bootloader knows algorithm 0x{header.algo:04x}")
    if header.compression is Compression.GZIP and board.bootloader == "rt_ota":
        yield _error("gzip", "this rt_ota has no gzip: pack again with QuickLZ or FastLZ")
    if header.encryption is Encryption.XOR:
        yield _error("xor", "no bootloader takes XOR encryption: pack again with AES-256 or none")
    if header.compression is Compression.HPATCHLITE:
        yield _graver_on(
            "rt_ota",
            board,
            "hpatchlite",
            "an HPatchLite patch: only one line of QBoot applies it, to the very firmware it was made from, "
            "and checks nothing but the length",
        )
    elif board.bootloader == "rt_ota" and header.flavour == "qboot":
        yield _error(
            "flavour",
            "a QBoot package: rt_ota takes its CRC-32 for an FNV-1a hash and throws it away; "
            "cloudsim rbl convert --flavour official",
        )
    elif board.bootloader == "qboot" and header.flavour == "official":
        yield _warning(
            "no-raw-verification",
            "an official package: QBoot installs it without checking the firmware; "
            "cloudsim rbl convert --flavour qboot",
        )


def _check_text(header: RblHeader) -> Iterator[Finding]:
    fields = {"name": header.name, "version": header.version, "product code": header.product_code}
    for what, field in fields.items():
        text = field.split(b"\0", 1)[0]
        shown = printable(text)
        if shown.encode() != text:
            yield _warning("text-not-ascii", f"the {what} {shown!r} holds bytes that are not printable ASCII")
        elif b"?" in text:
            yield _note(
                "text-question-mark",
                f'the {what} {shown!r} holds "?", which is what packers make of characters beyond ASCII',
            )
    if b"\0" not in header.name:
        yield _warning(
            "name-unterminated",
            f"the name fills its {NAME_SIZE} bytes: C code reads on into the version",
        )
    if b"\0" not in header.version:
        yield _warning(
            "version-unterminated",
            f"the version fills its {VERSION_SIZE} bytes: bootloaders print "
            f"{printable(header.c_string(VERSION_OFFSET))!r}",
        )


# --- the package on the board -----------------------------------------------------------------------------


def _check_partition(package: Package, board: BoardFacts) -> Iterator[Finding]:
    header = package.header
    stored = header.c_string(NAME_OFFSET)
    name = printable(stored)
    partition = board.find(name)
    if stored.startswith(BOOTLOADER):
        yield _error("partition-bootloader", f"partition {name!r}: a bootloader does not replace itself")
    elif partition is None:
        known = ", ".join(entry.name for entry in board.partitions)
        yield _error("partition-unknown", f"the board has no partition {name!r}; it has {known}")
    elif name == DOWNLOAD:
        yield _error("partition-download", f"partition {name!r} is where the package itself lies")
    elif name == ENVIRONMENT:
        yield _error(
            "partition-environment",
            f"partition {name!r} holds the device's settings: installing would destroy its activation",
        )
    if partition is not None and header.raw_size + HEADER_SIZE > partition.size:
        yield _error(
            "raw-too-large",
            f"{header.raw_size} bytes and a header of {HEADER_SIZE} do not fit partition {name!r} of "
            f"{partition.size}",
        )
    download = board.find(DOWNLOAD)
    if download is None:
        return
    size = HEADER_SIZE + header.body_size
    if size > download.size:
        yield _error(
            "package-too-large", f"the package of {size} bytes does not fit {DOWNLOAD!r} of {download.size}"
        )
    # Nothing but its geometry is asked of the partition.
    elif not Journal(cast(Partition, download), rounded(size)).fits:
        yield _warning(
            "journal-overlap",
            f"the package of {size} bytes leaves no room for the break point in {DOWNLOAD!r}: "
            "a download that is interrupted by a reset starts over",
        )
    erased = -(-rounded(size) // download.block_size) * download.block_size
    if board.bootloader == "qboot" and erased <= -(-size // SIGN_ALIGN) * SIGN_ALIGN < download.size:
        yield _warning(
            "sign-not-erased",
            f"the package of {size} bytes ends with an erase block, so its release sign lies in the next, "
            "which the next download of this size does not erase: QBoot will take that for installed",
        )


def _check_sizes(header: RblHeader, board: BoardFacts) -> Iterator[Finding]:
    if board.bootloader != "rt_ota":
        return
    for what, size in (("raw", header.raw_size), ("body", header.body_size)):
        if size < SAFE_SIZE:
            yield _error(
                f"{what}-too-small",
                f"the {what} size is {size} bytes: rt_ota hangs below {SAFE_SIZE}; fill the firmware up",
            )
    plain = header.compression is Compression.NONE
    if plain and header.body_size > header.raw_size + PIECE_SIZE:
        yield _error(
            "body-too-long",
            f"the body of {header.body_size} bytes reaches more than {PIECE_SIZE} beyond the raw size "
            f"{header.raw_size}: rt_ota crashes",
        )


# --- what is inside ---------------------------------------------------------------------------------------


def _quicklz_level(package: Package, key: bytes | None, iv: bytes | None) -> Finding | None:
    """A finding when the first block is of another level than bootloaders read."""
    if package.header.compression is not Compression.QUICKLZ:
        return None
    start = BodyReader(package.header, package.body(), key, iv).peek(_BLOCK_START.size)
    if len(start) < _BLOCK_START.size:
        return None
    length, flags = _BLOCK_START.unpack(start)
    level = flags >> 2 & 3  # rbl-format 2.2
    # Under a wrong key this is noise, which hardly ever looks like a block.
    if level == quicklz.LEVEL or length > MAX_BLOCK_SIZE or flags & 0xC0 != 0x40:
        return None
    return _error(
        "quicklz-level",
        f"QuickLZ level {level}: bootloaders read level {quicklz.LEVEL} only; "
        f"build the packer with QLZ_COMPRESSION_LEVEL={quicklz.LEVEL}",
    )


def _check_content(
    package: Package, board: BoardFacts, key: bytes | None, iv: bytes | None
) -> Iterator[Finding]:
    """Findings about a sound body."""
    header = package.header
    reader = BodyReader(header, package.body(), key, iv)
    try:
        if header.compression in (Compression.QUICKLZ, Compression.FASTLZ):
            yield from _check_blocks(reader, header, board)
        else:
            for _ in reader.frames():
                pass
        yield from _check_padding(reader, header)
    except CodecError as error:  # behind the firmware, where `verify` does not look
        yield _warning("padding-odd", str(error))
    if header.name_text == board.app:
        yield from _check_vectors(_first_bytes(package, key, iv), board)
    if header.encryption is Encryption.AES256 and key == DEFAULT_KEY:
        yield _note(
            "default-key", "encrypted with the key that every bootloader is shipped with: anyone can read it"
        )


def _check_blocks(reader: BodyReader, header: RblHeader, board: BoardFacts) -> Iterator[Finding]:
    largest_stored = largest_raw = 0
    smallest_raw = PIECE_SIZE
    previous = PIECE_SIZE  # the last block may be short
    for frame in reader.frames():
        largest_stored = max(largest_stored, len(frame.stored))
        largest_raw = max(largest_raw, len(frame.raw))
        smallest_raw = min(smallest_raw, previous)
        previous = len(frame.raw)
    if largest_raw > PIECE_SIZE:
        yield _graver_on(
            "rt_ota",
            board,
            "block-raw-size",
            f"a block decodes to {largest_raw} bytes: buffers are made for {PIECE_SIZE}, rt_ota crashes",
        )
    if smallest_raw < PIECE_SIZE:
        yield _note(
            "block-small", f"blocks of {smallest_raw} raw bytes: packers write {PIECE_SIZE}, but these work"
        )
    if largest_stored > BLOCK_BUFFER and board.bootloader == "rt_ota":
        yield _error(
            "block-buffer",
            f"a block takes {largest_stored} bytes with its length, rt_ota has room for {BLOCK_BUFFER} and "
            "crashes: incompressible data must be stored blocks",
        )
    grown = header.compression is Compression.FASTLZ and largest_stored > PIECE_SIZE + BLOCK_LENGTH.size
    if grown and board.bootloader == "qboot":
        yield _warning(
            "fastlz-growth",
            f"a FastLZ block takes {largest_stored} bytes for {PIECE_SIZE}: many of them overflow the "
            "buffer of QBoot 1.0.5; use QuickLZ for data that does not compress",
        )


def _check_padding(reader: BodyReader, header: RblHeader) -> Iterator[Finding]:
    kind = padding_kind(reader.peek(CIPHER_BLOCK_SIZE + 1))
    encrypted = header.encryption is Encryption.AES256
    if kind is Padding.OTHER:
        yield _warning("padding-odd", "what follows the firmware in the body is no packer's padding")
    elif not encrypted and kind is not Padding.NONE:
        written = (
            " and written to flash behind the firmware" if header.compression is Compression.NONE else ""
        )
        yield _note("padding-plain", f"padded ({kind}) without encryption, as older tools do{written}")
    elif encrypted and not _own_padding(kind, header):
        yield _note("padding-foreign", f"padded ({kind}) otherwise than the {header.flavour} packer does")


def _own_padding(kind: Padding, header: RblHeader) -> bool:
    if header.flavour == "official":
        return kind is Padding.PKCS7
    return kind in (Padding.ZEROS, Padding.NONE)


def _first_bytes(package: Package, key: bytes | None, iv: bytes | None) -> bytes:
    """The first vectors of the firmware; zeros where it is shorter, as the bootloader's buffer has them."""
    first = b""
    for piece in decode(package.header, package.body(), key, iv):
        first += piece
        if len(first) >= VECTORS.size:
            break
    return first[: VECTORS.size].ljust(VECTORS.size, b"\0")


def _check_vectors(first: bytes, board: BoardFacts) -> Iterator[Finding]:
    stack, reset, _, hard_fault = VECTORS.unpack(first)
    partition = board.find(board.app)
    start = board.link_address
    end = start + (partition.size if partition is not None else 0)
    place = f"0x{start:08x} to 0x{end:08x}"
    if board.bootloader == "rt_ota":
        if not start <= hard_fault & _HALF_WORD <= end:
            yield _error(
                "link-address",
                f"the HardFault vector 0x{hard_fault:08x} is not in {place}: rt_ota refuses an application "
                "that is linked elsewhere",
            )
        stack_ok = stack in STACK_POINTERS
    else:
        stack_ok = stack & _QBOOT_STACK_MASK == _QBOOT_STACK
    if not stack_ok:
        yield _error(
            "stack-pointer", f"the initial stack pointer 0x{stack:08x} is not in RAM: it is not started"
        )
    if not start <= reset < end:
        yield _error(
            "reset-vector",
            f"the reset vector 0x{reset:08x} is not in {place}: it starts something else or nothing",
        )
