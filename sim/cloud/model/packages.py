"""What is accepted as a package (platform 8), and what is known about it."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cloudsdk.ota.errors import PackageError
from cloudsdk.ota.header import HEADER_SIZE, Encryption, RblHeader
from cloudsdk.ota.lint import Finding, lint_alone
from cloudsdk.ota.package import Check, Package, failures, read_package
from sim.cloud.errors import PackageRefusedError, StorageError
from sim.cloud.shapes import FindingInfo, PackageInfo

MAX_FINDINGS: Final = 100  # kept of one package
_READ_SIZE: Final = 256 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Expected:
    """What the user says about a package. Name and version are checked against it where they are given; key
    (32 bytes) and IV (16 bytes) open an encrypted one, to verify its hash, and are not kept."""

    name: str | None = None
    version: str | None = None
    key: bytes | None = field(default=None, repr=False)
    iv: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """What the cloud keeps of a package; sizes in bytes. `header` is its first 96 bytes."""

    name: str
    version: str
    file_size: int
    raw_size: int
    timestamp: int
    header: bytes
    verified: bool
    findings: tuple[FindingInfo, ...]


def inspect_package(path: Path, expected: Expected | None = None) -> PackageFacts:
    """Check an uploaded package: magic, header CRC, length, algorithm, body CRC, name and version.

    The hash of the raw firmware is checked when the package is not encrypted or `expected` has the key.
    Raises `PackageRefusedError` with the reason (platform 8.2), `PackageKeyError` for a key that cannot be.
    """
    wanted = expected or Expected()
    try:
        package = read_package(path)
    except PackageError as exc:
        raise PackageRefusedError(f"the package is refused: {exc}") from exc
    _refuse_failed(package.header_checks())
    header = package.header
    computed = _body_crc(path)
    if computed != header.body_crc32:
        found = f"body CRC-32 is 0x{computed:08x}, the header says 0x{header.body_crc32:08x}"
        raise PackageRefusedError(f"the package is refused: {found}")
    for what, raw in (("firmware name", header.name), ("version", header.version)):
        text = raw.split(b"\0", 1)[0]
        if not text or not all(0x20 < byte < 0x7F for byte in text):
            raise PackageRefusedError(f"the package is refused: its {what} is not plain ASCII text")
    _refuse_unexpected("firmware name", header.name_text, wanted.name)
    _refuse_unexpected("version", header.version_text, wanted.version)
    verified = header.encryption is Encryption.NONE or wanted.key is not None
    if verified:
        _refuse_failed(package.verify(wanted.key, wanted.iv))
    return _facts(package, wanted, verified)


def package_info(header: RblHeader) -> PackageInfo:
    """The six numbers of platform 7.2."""
    return PackageInfo(
        hash_code=header.raw_hash,
        hdr_crc32=header.header_crc32,
        body_crc32=header.body_crc32,
        raw_size=header.raw_size,
        pkg_size=header.body_size,
        timestamp=header.timestamp,
    )


def _facts(package: Package, wanted: Expected, verified: bool) -> PackageFacts:
    header = package.header
    findings = lint_alone(package, wanted.key if verified else None, wanted.iv)
    return PackageFacts(
        name=header.name_text,
        version=header.version_text,
        file_size=package.file_size,
        raw_size=header.raw_size,
        timestamp=header.timestamp,
        header=header.pack(),
        verified=verified,
        findings=tuple(_finding_info(finding) for finding in findings[:MAX_FINDINGS]),
    )


def _finding_info(finding: Finding) -> FindingInfo:
    return FindingInfo(id=finding.id, severity=finding.severity, message=finding.message, fact=finding.fact)


def _refuse_failed(checks: list[Check]) -> None:
    failed = failures(checks)
    if failed:
        raise PackageRefusedError(f"the package is refused: {failed[0].detail}")


def _refuse_unexpected(what: str, found: str, wanted: str | None) -> None:
    if wanted is not None and wanted != found:
        raise PackageRefusedError(
            f"the package is refused: its {what} is {found}, not {wanted}: upload another package or correct "
            f"the {what}"
        )


def _body_crc(path: Path) -> int:
    crc = 0
    try:
        with path.open("rb") as file:
            file.seek(HEADER_SIZE)
            while piece := file.read(_READ_SIZE):
                crc = zlib.crc32(piece, crc)
    except OSError as exc:
        raise StorageError(f"cannot read the upload: {exc.strerror}") from exc
    return crc
