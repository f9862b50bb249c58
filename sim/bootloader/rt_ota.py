"""The IoT Board's bootloader, rt_ota V0.2.1: verify, decrypt, decompress, write, start (rbl-format 3).

`boot` is a function of flash content: it reads and writes the partitions it is given, prints the original's
console lines in the original's order, and returns how it ended. A loss of power inside a flash operation
passes through it as the exception it is.
"""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from cloudsdk import console
from cloudsdk.errors import FlashError
from cloudsdk.fal import Partition
from cloudsdk.ota.codecs import fastlz, quicklz
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
from sim.bootloader.body import decrypted
from sim.bootloader.decoded import DecodeCache, DecodeKey
from sim.bootloader.outcome import BootOutcome, BootResult, CrashError, diagnosed
from sim.flash.fal import FalTable, table_lines

OTA_VERSION: Final = "0.2.1"
FAL_VERSION: Final = "0.2.0"
APP: Final = "app"
BOOTLOADER: Final = "bootloader"
FACTORY: Final = "factory"
COMMAND_LINE: Final = "msh />"
CHUNK: Final = 4096  # bytes of raw firmware per write
MAX_DECODED: Final = 65536  # bytes of one block that are decoded to see how far it would overrun
_DECODERS: Final = {Compression.QUICKLZ: quicklz.decompress, Compression.FASTLZ: fastlz.decompress}


class _UpgradeFailedError(Exception):
    """The upgrade is given up; everything was printed."""


def boot(
    partitions: FalTable,
    keys: PackageKeys,
    write: Callable[[str], None],
    *,
    cache: DecodeCache | None = None,
    factory: bool = False,
) -> BootResult:
    """Run the bootloader once. Raises `PowerCut` from the flash it is given.

    `cache` keeps what was decoded and hashed for later boots. With `factory`, an application that does not
    verify is replaced by the firmware in partition `factory`; the recorded bootloader has no such logic
    (rbl-format 3.3), so the lines of the recovery are this project's own, in the style of the others.
    """
    return Bootloader(partitions, keys, write, cache, factory=factory).run()


class _RtOta(RtOta):
    """The library, hashing the same content only once."""

    def __init__(self, partitions: FalTable, write: Callable[[str], None], cache: DecodeCache) -> None:
        super().__init__(partitions, write, version=OTA_VERSION)
        self._cache = cache

    def raw_hash(self, partition: Partition, header: RblHeader) -> int:
        return self._cache.fnv1a32(b"".join(self._content(partition, 0, header.raw_size, "firmware")))


class Bootloader:
    """One boot: a step each for what the original does (rbl-format 3.2)."""

    def __init__(
        self,
        partitions: FalTable,
        keys: PackageKeys,
        write: Callable[[str], None],
        cache: DecodeCache | None = None,
        *,
        factory: bool = False,
    ) -> None:
        cache = cache or DecodeCache()
        self._partitions = partitions
        self._app = partitions.layout.app.partition
        self._link_address = partitions.layout.app.link_address
        self._keys = keys
        self._write = write
        self._cache = cache
        self._factory = factory
        self._ota = _RtOta(partitions, write, cache)

    def _info(self, text: str) -> None:
        self._write(console.ota_info(text))

    def _error(self, where: str, text: str) -> None:
        self._write(console.ota_error(where, text))

    # --- order of things (3.2) ----------------------------------------------------------------------

    def run(self) -> BootResult:
        self._start()
        try:
            app_good = self._ota_main()
        except HazardError as hazard:
            return diagnosed(hazard)
        if self._factory and not app_good:
            self._write(COMMAND_LINE)
            return BootResult(
                BootOutcome.HALT,
                diagnosis=f"neither '{self._app}' nor '{FACTORY}' holds firmware that verifies: "
                "the bootloader waits in its command line",
            )
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
        if not self._ota.verify(self._app):
            self._error("ota_main:116", "App verify failed! Need to recovery factory firmware.")
            if not (self._factory and self._recover()):
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
        app = self._partitions.find(self._app)
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
        package = DownloadedPackage(download, header, self._keys, self._cache)
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
        missing, pieces = package.header.raw_size, []
        for index, chunk in enumerate(package.chunks()):
            if index == 0:
                self._custom_verify(package, destination, chunk.data)
            pieces.append(chunk.data[:missing])
            missing -= len(pieces[-1])
        value = self._cache.fnv1a32(b"".join(pieces))
        if value != package.header.raw_hash:
            self._error(
                package.line(plain=901, decompressed=1231),
                f"Verify downloaded firmware hash (calc.hash: {value:08x} != "
                f"hdr.hash: {package.header.raw_hash:08x}) failed.",
            )
            raise _ContentError

    def _custom_verify(self, package: "DownloadedPackage", destination: Partition, first: bytes) -> None:
        if destination.name != self._app:
            self._info(f"The dest part name: {destination.name}, it does not need to custom verity.")
            return
        hard_fault = VECTORS.unpack(first[: VECTORS.size].ljust(VECTORS.size, b"\0"))[3]
        # The recorded range of the IoT Board: from where its app is linked to the end of the partition.
        linked = range(self._link_address, self._link_address + destination.size + 1)
        if hard_fault & 0xFFFF0000 not in linked:
            self._error(
                "rt_ota_custom_verify:170", "The application must link to the flash 64KB location!\r\n"
            )
            self._error(package.line(plain=871, decompressed=1181), "Custom verify RAW firmware failed!")
            raise _ContentError

    def _install(self, package: "DownloadedPackage", destination: Partition) -> None:
        """Pass B: erase, write, verify, and only then the header at the tail."""
        header = package.header
        self._erase(destination, header.raw_size)
        self._copy(package, destination)
        self._check_copy(header, destination)
        destination.write(header_offset(destination), header.pack())

    def _copy(self, package: "DownloadedPackage", destination: Partition) -> None:
        total = package.header.body_size
        written = 0
        for chunk in package.chunks():
            destination.write(written, chunk.data)
            self._draw(chunk.offset, total)
            written += len(chunk.data)
        self._draw(package.done, total)

    def _erase(self, destination: Partition, size: int) -> None:
        """Erase `size` bytes and the block of the header, which may be among them (3.4a)."""
        block = destination.block_size
        self._info(f"The partition '{destination.name}' is erasing.")
        destination.erase(0, size)
        if -(-size // block) * block < destination.size:
            destination.erase(destination.size - block, block)
        self._info(f"The partition '{destination.name}' erase success.")

    def _check_copy(self, header: RblHeader, destination: Partition) -> None:
        """Verify what was written by reading it. Raises `_ContentError`, which was printed."""
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

    # --- recovery -----------------------------------------------------------------------------------

    def _recover(self) -> bool:
        """Copy verified firmware from `factory` to `app`, header last; returns whether `app` is good now."""
        factory, app = self._partitions.find(FACTORY), self._partitions.find(self._app)
        if factory is None or app is None or not self._ota.verify(FACTORY):
            self._error("ota_main", f"Recovery failed! No valid firmware in partition '{FACTORY}'.")
            return False
        header = RblHeader.unpack(factory.read(header_offset(factory), HEADER_SIZE))
        if header.raw_size + HEADER_SIZE > app.size:
            self._error(
                "ota_main",
                f"Recovery failed! The partition ({app.device_name}) has no space "
                f"(unless {header.raw_size + HEADER_SIZE}).",
            )
            return False
        self._info(f"Factory firmware({printed_version(header)}) recovery startup.")
        try:
            self._erase(app, header.raw_size)
            for offset in range(0, header.raw_size, CHUNK):
                app.write(offset, factory.read(offset, min(CHUNK, header.raw_size - offset)))
                self._draw(offset, header.raw_size)
            self._draw(header.raw_size, header.raw_size)
            self._check_copy(header, app)
            app.write(header_offset(app), header.pack())
        except (_ContentError, FlashError):
            self._error(
                "ota_main", f"Recovery failed! Factory firmware copy to partition({self._app}) error!"
            )
            return False
        return self._ota.verify(self._app)


class _ContentError(Exception):
    """The package's content is refused; the specific line was printed."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Decoded bytes, and where in the package body they began."""

    offset: int
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


#: Ends with the number of body bytes that were consumed.
_Chunks = Generator[_Chunk, None, int]


class DownloadedPackage:
    """The package in `download`, decoded chunk by chunk in the original's way."""

    def __init__(self, download: Partition, header: RblHeader, keys: PackageKeys, cache: DecodeCache) -> None:
        self.header = header
        self.done = 0  # bytes of the body that the last complete pass has consumed
        self._download = download
        self._keys = keys
        self._cache = cache

    def line(self, *, plain: int, decompressed: int) -> str:
        """`function:line` of an error, which has a twin in the path that decompresses (3.4a)."""
        if self.header.compression_bits:
            return f"decrypt_dcmprs_fw_from_dl_part:{decompressed}"
        return f"copy_fw_from_dl_part:{plain}"

    def chunks(self) -> Generator[_Chunk, None, None]:
        """One pass over the package from its start.

        Raises `CrashError` and `_ContentError`, `CodecError` for a damaged block and `FlashError` for a body
        that is not there.
        """
        header = self.header
        # The original reads whole chunks, so a last partial cipher block is decrypted with what follows it.
        length = min(-(-header.body_size // CHUNK) * CHUNK, self._download.size - HEADER_SIZE)
        stored = self._download.read(HEADER_SIZE, length)
        key = DecodeKey("rt_ota", header.pack(), self._keys)
        self.done = yield from self._cache.decoded(key, stored, lambda: self._decode(stored))

    def _decode(self, stored: bytes) -> _Chunks:
        body = decrypted(self.header, stored, self._keys)
        return (_decompressed if self.header.compression_bits else _plain)(self.header, body)


def _plain(header: RblHeader, body: bytes) -> _Chunks:
    """Whole chunks of the body, padding included, as they are written."""
    total = header.body_size
    if total > header.raw_size + CHUNK:
        raise CrashError(
            f"the body of {total} bytes decodes to more than a chunk beyond the raw size of "
            f"{header.raw_size} bytes (rbl-format 3.4)"
        )
    for offset in range(0, total, CHUNK):
        yield _Chunk(offset, _part(body, offset, min(offset + CHUNK, total)))
    return total


def _decompressed(header: RblHeader, body: bytes) -> _Chunks:
    """Big-endian length and block, one after the other (2.1). A non-zero first length byte is padding."""
    decode = _DECODERS[Compression(header.compression_bits)]
    total, done = header.body_size, 0
    while (start := done + BLOCK_LENGTH.size) <= total:
        prefix = _part(body, done, start)
        if prefix[0]:
            return total
        (length,) = BLOCK_LENGTH.unpack(prefix)
        if length == 0:  # zero padding: the bar stays below 100 %
            break
        if BLOCK_LENGTH.size + length > BLOCK_BUFFER:
            raise CrashError(
                f"a compressed block of {length} bytes overruns the bootloader's buffer of "
                f"{BLOCK_BUFFER} bytes (rbl-format 3.4)"
            )
        end = start + length
        if end > total:
            raise _ContentError
        data = decode(_part(body, start, end), MAX_DECODED)
        if len(data) > CHUNK:
            raise CrashError(
                f"a block of {len(data)} raw bytes overruns the bootloader's buffer of {CHUNK} bytes "
                "(rbl-format 3.4)"
            )
        yield _Chunk(done, data)
        done = end
    return done


def _part(body: bytes, start: int, end: int) -> bytes:
    if end > len(body):
        raise FlashError("the package body reaches beyond the download partition")
    return body[start:end]


def _destination(header: RblHeader) -> str:
    return header.c_string(NAME_OFFSET).decode("latin-1")
