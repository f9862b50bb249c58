"""A small bootloader in the manner of rt_ota, with mistakes that can be planted."""

import zlib
from collections.abc import Collection
from pathlib import Path

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.body import decode
from cloudsdk.ota.header import HEADER_SIZE, MAGIC, Compression, Encryption, RblHeader
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY, raw_hash_of
from sim.board import Board, open_board
from sim.conformance.bootloader.bench import Boot


def boot(directory: Path, faults: Collection[str]) -> Boot:
    with open_board(directory) as board:
        console: list[str] = []
        app = board.partition("app")
        package = _checked(board, faults)
        if package is not None:
            _install(board, *package, console, faults)
        if "keeps-download" not in faults:
            board.partition("download").erase(0, 4096)
        stack = int.from_bytes(app.read(0, 4), "little")
        started = 0x20000001 <= stack <= 0x25FFFFFF or "jumps-blindly" in faults
        if "never-jumps" in faults:
            started = False
        console.append("The Bootloader will go to user application now.")
        return Boot(started, "" if "quiet" in faults else "\n".join(console))


def _checked(board: Board, faults: Collection[str]) -> tuple[RblHeader, bytes, str] | None:
    """Header, raw firmware and partition of a package that is to be installed."""
    download = board.partition("download")
    header = RblHeader.unpack(download.read(0, HEADER_SIZE))
    if header.magic != MAGIC and "any-magic" in faults:
        return _dummy(header)
    if header.magic != MAGIC or not (header.crc_ok or "header-crc" in faults):
        return None
    name = header.name.rstrip(b"\0").decode()
    if board.partitions.find(name) is None and "any-partition" in faults:
        name = "app"
    if "app-only" in faults:
        name = "app"
    target = board.partitions.find(name)
    if target is None:
        return None
    body = bytes(download.read(HEADER_SIZE, header.body_size))
    if zlib.crc32(body) != header.body_crc32 and "body-crc" not in faults:
        return None
    try:
        if header.raw_size > target.size and "size" in faults:
            return header, body, name
        if header.compression is Compression.FASTLZ and "no-fastlz" in faults:
            return None
        if header.encryption is Encryption.AES256 and "no-aes" in faults:
            return header, body, name
        raw = b"".join(decode(header, iter([body]), DEFAULT_KEY, DEFAULT_IV))
    except CloudSdkError:
        return _dummy(header) if "stream" in faults else None
    raw_hash = raw_hash_of(header.flavour)
    if raw_hash.update(raw, raw_hash.start) != header.raw_hash and "hash" not in faults:
        return None
    there = RblHeader.unpack(target.read(target.size - HEADER_SIZE, HEADER_SIZE))
    if there == header and "reinstalls" not in faults:
        return None
    if there.crc_ok and header.version < there.version and "newer-only" in faults:
        return None
    if not there.crc_ok and "stops-half-way" in faults:
        return None
    return header, raw, name


def _dummy(header: RblHeader) -> tuple[RblHeader, bytes, str]:
    return header, b"\0" * 4096, "app"


def _install(
    board: Board, header: RblHeader, raw: bytes, name: str, console: list[str], faults: Collection[str]
) -> None:
    target = board.partition(name)
    version = header.version.rstrip(b"\0").decode(errors="replace")
    line = f"partition(fw ver: {version}, timestamp: {header.timestamp}) success."
    there = RblHeader.unpack(target.read(target.size - HEADER_SIZE, HEADER_SIZE))
    old = there.version.rstrip(b"\0").decode(errors="replace")
    console += [
        f"Verify 'download' {line}",
        f"OTA firmware({name}) upgrade({old}->{version}) startup.",
        f"Verify '{name}' {line}",
    ]
    target.erase(0, target.size)
    target.write(0, raw[: len(raw) // 4096 * 4096] if "whole-chunks" in faults else raw)
    if "no-header" not in faults:
        target.write(target.size - HEADER_SIZE, header.pack())
