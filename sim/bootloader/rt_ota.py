"""The IoT Board's bootloader, rt_ota V0.2.1: verify, decrypt, decompress, write, start (rbl-format 3).

`boot` is a function of flash content: it reads and writes the partitions it is given, prints the original's
console lines in the original's order, and returns how it ended. A loss of power inside a flash operation
passes through it as the exception it is.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from cloudsdk import console
from cloudsdk.errors import FlashError
from cloudsdk.fal import Partition
from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.codecs.fnv import FNV_SEED, fnv1a32
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.errors import CodecError
from cloudsdk.ota.header import HEADER_SIZE, NAME_OFFSET, Compression, Encryption, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.rt_ota import (
    BLOCK_BUFFER,
    CLEARED,
    DOWNLOAD,
    STACK_POINTERS,
    VECTORS,
    HazardError,
    RtOta,
    header_offset,
    printed_version,
)
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.flash.fal import FalTable, table_lines

OTA_VERSION: Final = "0.2.1"
FAL_VERSION: Final = "0.2.0"
APP: Final = "app"
BOOTLOADER: Final = "bootloader"
CHUNK: Final = 4096  # bytes of raw firmware per write
MAX_DECODED: Final = 65536  # bytes of one block that are decoded to see how far it would overrun
_LINK_RANGE: Final = range(0x08010000, 0x08080001)
_DECODERS: Final = {Compression.QUICKLZ: quicklz.decompress, Compression.FASTLZ: fastlz.decompress}


class _CrashError(HazardError):
    """The original would overrun a buffer."""


class _UpgradeFailedError(Exception):
    """The upgrade is given up; everything was printed."""


def boot(partitions: FalTable, keys: PackageKeys, write: Callable[[str], None]) -> BootResult:
    """Run the bootloader once. Raises `PowerCut` from the flash it is given."""
    return Bootloader(partitions, keys, write).run()


class Bootloader:
    """One boot: a step each for what the original does (rbl-format 3.2)."""

    def __init__(self, partitions: FalTable, keys: PackageKeys, write: Callable[[str], None]) -> None:
        self._partitions = partitions
        self._keys = keys
        self._write = write
        self._ota = RtOta(partitions, write, version=OTA_VERSION)

    def _info(self, text: str) -> None:
        self._write(console.ota_info(text))

    def _error(self, where: str, text: str) -> None:
        self._write(console.ota_error(where, text))

    # --- order of things (3.2) ----------------------------------------------------------------------

    def run(self) -> BootResult:
        self._start()
        try:
            app_good = self._ota_main()
        except HazardError as exc:
            outcome = BootOutcome.CRASH if isinstance(exc, _CrashError) else BootOutcome.HANG
            return BootResult(outcome, diagnosis=str(exc))
        return self._jump(app_good)

    def _start(self) -> None:
        self._write("\r\nRT-Thread Bootloader Starting...\r\n")
        for device in self._partitions.devices.values():
            part = device.geometry
            self._write(
                f"[D/FAL] (fal_flash_init:61) Flash device | {part.name:>24} | addr: 0x{part.address:08x} | "
                f"len: 0x{part.size:08x} | blk_size: 0x{part.block_size:08x} |initialized finish.\n"
            )
        for line in table_lines(self._partitions.layout.partitions):
            self._write(console.ota_info(line, tag="FAL"))
        self._write(
            console.ota_info(
                f"RT-Thread Flash Abstraction Layer (V{FAL_VERSION}) initialize success.", tag="FAL"
            )
        )
        self._ota.init()

    def _ota_main(self) -> bool:
        """Verify, upgrade if there is something to, verify the application; returns whether that is good."""
        self._ota.verify(BOOTLOADER)
        download = self._partitions.find(DOWNLOAD)
        if download is not None:
            header = self._ota.header(download)
            if header is not None and header.name.startswith(BOOTLOADER.encode()):
                self._error("ota_main:55", "Can not upgrade bootloader partition!")
            elif self._upgrade_wanted(download) and self._ota.verify(DOWNLOAD):
                try:
                    self._upgrade(download)
                except _UpgradeFailedError:
                    self._error("ota_main:78", "OTA upgrade failed!")
        if not self._ota.verify(APP):
            self._error("ota_main:116", "App verify failed! Need to recovery factory firmware.")
            return False
        if download is not None:
            with contextlib.suppress(FlashError):  # the good application is started all the same
                download.erase(0, min(CLEARED, download.size))
        return True

    def _upgrade_wanted(self, download: Partition) -> bool:
        header = self._ota.header(download)
        if header is None:
            self._error("rt_ota_check_upgrade:464", "Get OTA download partition firmware header failed!")
            return False
        name = _destination(header)
        destination = self._partitions.find(name)
        if destination is None:
            self._error("rt_ota_check_upgrade:471", f"The partition {name} was not found")
            return False
        installed = self._ota.header(destination)
        if installed is None:
            self._error(
                "rt_ota_check_upgrade:477",
                f"Get '{name}' partition firmware header failed! This partition will be forced to upgrade.",
            )
            return True
        return installed != header

    def _jump(self, app_good: bool) -> BootResult:
        app = self._partitions.find(APP)
        stack_pointer, entry, _, _ = (
            VECTORS.unpack(app.read(0, VECTORS.size)) if app is not None else (0,) * 4
        )
        if stack_pointer in STACK_POINTERS:
            self._write("Find user application success.\r\n")
            self._write("The Bootloader will go to user application now.\r\n")
            return BootResult(BootOutcome.JUMP, stack_pointer, entry)
        for _ in range(2 if app_good else 1):
            self._write("Not find user application. Will stop at bootloader.\r\n")
        self._write("\r\nJump to app failed, system stops running!\r\n")
        return BootResult(BootOutcome.HALT, diagnosis="no application with a plausible stack pointer")

    # --- upgrade (3.2 step 6) -----------------------------------------------------------------------

    def _upgrade(self, download: Partition) -> None:
        header = RblHeader.unpack(download.read(0, HEADER_SIZE))
        name = _destination(header)
        destination = self._partitions.find(name)
        if destination is None:
            raise _UpgradeFailedError
        if header.raw_size + HEADER_SIZE > destination.size:
            self._error(
                "rt_ota_upgrade:1486",
                f"The partition ({destination.device_name}) has no space "
                f"(unless {header.raw_size + HEADER_SIZE}) for upgrade.",
            )
            raise _UpgradeFailedError
        installed = self._ota.header(destination)
        versions = (
            f"({printed_version(installed)}->{printed_version(header)})" if installed is not None else ""
        )
        self._info(f"OTA firmware({name}) upgrade{versions} startup.")
        self._check_algorithm(header)
        package = DownloadedPackage(download, header, self._keys)
        try:
            self._check_content(package, destination)
            self._install(package, destination)
        except (_ContentError, FlashError, CodecError):
            self._error(
                "rt_ota_upgrade:1547",
                f"OTA upgrade failed! Download data copy to partition({name}) error!",
            )
            raise _UpgradeFailedError from None

    def _check_algorithm(self, header: RblHeader) -> None:
        unsupported = "Not supported"
        remedy = "please check you configuration!"
        compression, encryption = header.compression_bits, header.encryption_bits
        if compression == Compression.GZIP:
            failure = (299, f"{unsupported} GZip compress firmware, {remedy}")
        elif compression and compression not in _DECODERS:
            failure = (305, f"{unsupported} this compression algorithm({compression})")
        elif encryption == Encryption.XOR:
            failure = (311, f"{unsupported} XOR firmware, {remedy}")
        elif encryption not in (Encryption.NONE, Encryption.AES256):
            failure = (323, f"{unsupported} this encryption algorithm({encryption})")
        else:
            return
        self._error(f"fw_algo_support_check:{failure[0]}", failure[1])
        raise _UpgradeFailedError

    def _check_content(self, package: "DownloadedPackage", destination: Partition) -> None:
        """Pass A: decode everything and compare the hash; nothing is erased before this succeeds."""
        value, hashed = FNV_SEED, 0
        for index, chunk in enumerate(package.chunks()):
            if index == 0:
                self._custom_verify(package, destination, chunk.data)
            piece = chunk.data[: package.header.raw_size - hashed]
            value = fnv1a32(piece, value)
            hashed += len(piece)
        if value != package.header.raw_hash:
            self._error(
                package.line(plain=901, decompressed=1231),
                f"Verify downloaded firmware hash (calc.hash: {value:08x} != "
                f"hdr.hash: {package.header.raw_hash:08x}) failed.",
            )
            raise _ContentError

    def _custom_verify(self, package: "DownloadedPackage", destination: Partition, first: bytes) -> None:
        if destination.name != APP:
            self._info(f"The dest part name: {destination.name}, it does not need to custom verity.")
            return
        hard_fault = VECTORS.unpack(first[: VECTORS.size].ljust(VECTORS.size, b"\0"))[3]
        if hard_fault & 0xFFFF0000 not in _LINK_RANGE:
            self._error(
                "rt_ota_custom_verify:170", "The application must link to the flash 64KB location!\r\n"
            )
            self._error(package.line(plain=871, decompressed=1181), "Custom verify RAW firmware failed!")
            raise _ContentError

    def _install(self, package: "DownloadedPackage", destination: Partition) -> None:
        """Pass B: erase, write, verify, and only then the header at the tail."""
        self._erase(destination, package.header.raw_size)
        self._copy(package, destination)
        self._check_copy(package.header, destination)
        destination.write(header_offset(destination), package.header.pack())

    def _erase(self, destination: Partition, size: int) -> None:
        block = destination.block_size
        self._info(f"The partition '{destination.name}' is erasing.")
        destination.erase(0, size)
        if -(-size // block) * block < destination.size:
            destination.erase(destination.size - block, block)
        self._info(f"The partition '{destination.name}' erase success.")

    def _copy(self, package: "DownloadedPackage", destination: Partition) -> None:
        total = package.header.body_size
        written = 0
        for chunk in package.chunks():
            destination.write(written, chunk.data)
            self._draw(chunk.offset, total)
            written += len(chunk.data)
        self._draw(package.done, total)

    def _check_copy(self, header: RblHeader, destination: Partition) -> None:
        value = self._ota.raw_hash(destination, header)
        if value != header.raw_hash:
            self._error(
                "part_fw_hash_verify:264",
                f"Verify firmware hash(calc.hash: {value:08x} != hdr.hash: {header.raw_hash:08x}) "
                f"failed on partition '{destination.name}'.",
            )
            raise _ContentError

    def _draw(self, done: int, total: int) -> None:
        if done:
            self._info(console.CURSOR_UP_2)
        self._info(f"OTA Write: {console.progress_bar(console.percent(done, total))}")


class _ContentError(Exception):
    """The package's content is refused; the specific line was printed."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Decoded bytes, and where in the package body they began."""

    offset: int
    data: bytes


class DownloadedPackage:
    """The package in `download`, decoded chunk by chunk in the original's way."""

    def __init__(self, download: Partition, header: RblHeader, keys: PackageKeys) -> None:
        self.header = header
        self.done = 0  # bytes of the body that the last pass has consumed
        self._download = download
        self._keys = keys

    def line(self, *, plain: int, decompressed: int) -> str:
        """`function:line` of an error, which has a twin in the path that decompresses (3.4a)."""
        if self.header.compression_bits:
            return f"decrypt_dcmprs_fw_from_dl_part:{decompressed}"
        return f"copy_fw_from_dl_part:{plain}"

    def chunks(self) -> Iterator[_Chunk]:
        """One pass over the package from its start."""
        self.done = 0
        return self._decompressed() if self.header.compression_bits else self._plain()

    def _reader(self) -> "_BodyReader":
        return _BodyReader(self._download, self.header, self._keys)

    def _plain(self) -> Iterator[_Chunk]:
        """Whole chunks of the body, padding included, as they are written."""
        total = self.header.body_size
        if total > self.header.raw_size + CHUNK:
            raise _CrashError(
                f"the body of {total} bytes decodes to more than a chunk beyond the raw size of "
                f"{self.header.raw_size} bytes (rbl-format 3.4)"
            )
        reader = self._reader()
        for offset in range(0, total, CHUNK):
            length = min(CHUNK, total - offset)
            self.done = offset + length
            yield _Chunk(offset, reader.read(length))

    def _decompressed(self) -> Iterator[_Chunk]:
        """Big-endian length and block, one after the other (2.1). A non-zero first length byte is padding."""
        decode = _DECODERS[Compression(self.header.compression_bits)]
        total = self.header.body_size
        reader = self._reader()
        while self.done + BLOCK_LENGTH.size <= total:
            prefix = reader.read(BLOCK_LENGTH.size)
            if prefix[0]:
                self.done = total
                break
            (length,) = BLOCK_LENGTH.unpack(prefix)
            if length == 0:  # zero padding: the bar stays below 100 %
                break
            if BLOCK_LENGTH.size + length > BLOCK_BUFFER:
                raise _CrashError(
                    f"a compressed block of {length} bytes overruns the bootloader's buffer of "
                    f"{BLOCK_BUFFER} bytes (rbl-format 3.4)"
                )
            end = self.done + BLOCK_LENGTH.size + length
            if end > total:
                raise _ContentError
            data = decode(reader.read(length), MAX_DECODED)
            if len(data) > CHUNK:
                raise _CrashError(
                    f"a block of {len(data)} raw bytes overruns the bootloader's buffer of {CHUNK} bytes "
                    "(rbl-format 3.4)"
                )
            start, self.done = self.done, end
            yield _Chunk(start, data)


class _BodyReader:
    """Sequential reads of the body, decrypted."""

    def __init__(self, download: Partition, header: RblHeader, keys: PackageKeys) -> None:
        self._download = download
        self._position = HEADER_SIZE
        self._ready = b""
        self._decryptor: CipherContext | None = None
        if header.encryption_bits == Encryption.AES256:
            self._decryptor = Cipher(algorithms.AES(keys.key), modes.CBC(keys.iv)).decryptor()

    def read(self, length: int) -> bytes:
        while len(self._ready) < length:
            stored = self._download.read(self._position, min(CHUNK, self._download.size - self._position))
            if not stored:
                raise FlashError("the package body reaches beyond the download partition")
            self._position += len(stored)
            self._ready += self._decryptor.update(stored) if self._decryptor is not None else stored
        data, self._ready = self._ready[:length], self._ready[length:]
        return data


def _destination(header: RblHeader) -> str:
    return header.c_string(NAME_OFFSET).decode("latin-1")
