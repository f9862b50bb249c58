"""QBoot V1.0.5: release the package in `download`, start the application, else resume it (rbl-format 5, 5.1).

`boot` is a function of flash content, as that of `rt_ota` is. Console and operations are those of the
recordings; lines that no recording holds have the words of rbl-format 5.1 or of the public V1.0.5 sources.
Lines that FAL prints by itself are left out, as in the recordings.
"""

import contextlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cloudsdk import console
from cloudsdk.errors import FlashError
from cloudsdk.fal import Partition
from cloudsdk.ota.header import (
    ALGO2_CRC,
    ALGO2_MASK,
    HEADER_SIZE,
    MAGIC,
    NAME_OFFSET,
    PRODUCT_CODE_OFFSET,
    Compression,
    RblHeader,
)
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.lint import SIGN_ALIGN
from cloudsdk.ota.rt_ota import DOWNLOAD, HazardError
from sim.bootloader.decoded import DecodeCache, DecodeKey
from sim.bootloader.outcome import BootOutcome, BootResult, CrashError, diagnosed
from sim.bootloader.qboot_body import COMPRESSIONS, ENCRYPTIONS, GZIP_UNIT, Round, Rounds, rounds
from sim.bootloader.rt_ota import BOOTLOADER, FACTORY
from sim.flash.facts import ENTRY_MASK, QbootFacts
from sim.flash.fal import FalTable

VERSION: Final = "V1.0.5 2020.10.05"
PROMPT: Final = "Qboot>"
REBOOT_DELAY_MS: Final = 5000
CRC_READ: Final = 4096  # bytes per flash read while a CRC is computed
ERASED_WORD: Final = 0xFFFFFFFF
#: The jump test compares these bits of the stack pointer (rbl-format 5.1).
STACK_POINTER_MASK: Final = 0x2FF00000
_VECTORS: Final = struct.Struct("<2I")  # initial SP, reset
_SIGN: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class ReleaseSign:
    """The word behind a package that says it was released, and its default alignment in bytes."""

    value: int
    align: int


SIGNS: Final = {"v1.0.5": ReleaseSign(0x00000000, SIGN_ALIGN), "wdfk-1.1": ReleaseSign(0x5555AAAA, 8)}


def header_offset(partition: Partition) -> int:
    """Offset in bytes of the 96-byte header: 0 where packages lie, the last 96 bytes where firmware does."""
    return 0 if partition.name in (DOWNLOAD, FACTORY) else partition.size - HEADER_SIZE


def sign_offset(header: RblHeader, facts: QbootFacts) -> int:
    """Offset in bytes of the release sign of a package: the first aligned one behind its body."""
    align = facts.sign_align or SIGNS[facts.sign].align
    return -(-(HEADER_SIZE + header.body_size) // align) * align


def boot(
    partitions: FalTable,
    keys: PackageKeys,
    write: Callable[[str], None],
    *,
    cache: DecodeCache | None = None,
    factory_key: bool = False,
) -> BootResult:
    """Run the bootloader once, with the options of the board's layout. Raises `PowerCut` from the flash.

    `cache` keeps what was decoded for later boots; `factory_key` is whether that key is held down.
    """
    return _Qboot(partitions, keys, write, cache or DecodeCache()).run(factory_key=factory_key)


class _RefusedError(Exception):
    """A package is given up; everything was printed."""


@dataclass(frozen=True, slots=True)
class _Package:
    """A package that passed every check, and where it lies."""

    partition: Partition
    header: RblHeader

    def text(self, offset: int) -> str:
        """The text field at byte `offset` as C reads it."""
        return self.header.c_string(offset).decode("latin-1")

    @property
    def destination(self) -> str:
        return self.text(NAME_OFFSET)


class _Qboot:
    def __init__(
        self, partitions: FalTable, keys: PackageKeys, write: Callable[[str], None], cache: DecodeCache
    ) -> None:
        self._partitions = partitions
        self._app = partitions.layout.app.partition
        self._facts = partitions.layout.bootloader.qboot or QbootFacts()
        self._keys = keys
        self._write = write
        self._cache = cache
        self._unsettled = ""  # what the next boot will meet again

    def _info(self, text: str) -> None:
        self._write(console.info("Qboot", text))

    def _error(self, text: str) -> None:
        self._write(console.error("Qboot", text))

    # --- order of things ----------------------------------------------------------------------------

    def run(self, *, factory_key: bool) -> BootResult:
        if self._erased():
            return BootResult(
                BootOutcome.HALT, diagnosis=f"partition '{BOOTLOADER}' is erased: no bootloader runs"
            )
        self._write(f"\nQboot startup ... \nQboot version   : {VERSION} \n")
        try:
            result = self._start(factory_key)
        except HazardError as hazard:
            return diagnosed(hazard)
        if result is not None:
            return result
        reason = f"no legitimate application in '{self._app}', and none to resume"
        if self._facts.shell_seconds:
            self._write(PROMPT)
            return BootResult(BootOutcome.HALT, diagnosis=f"{reason}: QBoot waits in its shell")
        self._info(f"Qboot will reboot after {REBOOT_DELAY_MS} ms.")
        return BootResult(BootOutcome.RESET, diagnosis=f"{reason}: QBoot resets the board for ever")

    def _erased(self) -> bool:
        bootloader = self._partitions.find(BOOTLOADER)
        if bootloader is None:
            return False
        stack_pointer, entry = _VECTORS.unpack(bootloader.read(0, _VECTORS.size))
        return bool(stack_pointer == entry == ERASED_WORD)

    def _start(self, factory_key: bool) -> BootResult | None:
        if factory_key and self._resume(FACTORY) and (result := self._jump()):
            return result
        if self._facts.shell_seconds:
            self._write(f"Press [Enter] key into shell in {self._facts.shell_seconds} s : \n")
        with contextlib.suppress(_RefusedError):
            self._release()
        result = self._jump()
        for source in (DOWNLOAD, FACTORY):
            if result is not None:
                break
            self._info(f"Try resume application from {source}")
            if self._resume(source):
                result = self._jump()
        return result

    def _release(self) -> None:
        """Install the package in `download`, whatever it is for, unless its sign says that this was done."""
        package = self._checked(DOWNLOAD)
        if not self._for_this_product(package):
            self._error("The product code error.")
            raise _RefusedError
        if self._released(package):
            self._note_if_elsewhere(package)
            return
        self._update(package)
        if not self._released(package):
            self._sign(package)
        self._info(f"Release firmware success from {DOWNLOAD} to {package.destination}.")

    def _note_if_elsewhere(self, package: _Package) -> None:
        """QBoot does not look: a sign left by another package keeps this one out for good."""
        destination = self._partitions.find(package.destination)
        if destination is None or _tail_header(destination) != package.header:
            self._unsettled = (
                f"the package in '{DOWNLOAD}' counts as released, "
                f"but '{package.destination}' does not hold it"
            )

    def _resume(self, source: str) -> bool:
        """Install the application package in `source`, released or not; returns whether it is installed."""
        try:
            package = self._checked(source)
            if not self._for_this_product(package):
                self._error(f"Qboot resume fail from {source}.")
                self._error("The product code error. ")
                return False
            if package.destination != self._app:
                self._error(f"Qboot resume fail from {source}.")
                self._error(
                    f"The firmware of {source} partition is not application. "
                    f"fw_info.part_name({package.destination}) != {self._app}"
                )
                return False
            self._update(package)
        except _RefusedError:
            return False
        self._info(f"Qboot resume success from {source}.")
        return True

    def _for_this_product(self, package: _Package) -> bool:
        wanted = self._facts.product_code
        return wanted is None or package.text(PRODUCT_CODE_OFFSET) == wanted

    def _jump(self) -> BootResult | None:
        """Start the application if its first two words are plausible; nothing else is checked."""
        stack_pointer, entry = self._vectors()
        facts = self._facts
        code = (entry ^ facts.code_region) & ENTRY_MASK
        ram = (stack_pointer ^ facts.ram_region) & STACK_POINTER_MASK
        if code or ram:
            self._error("No legitimate application.")
            return None
        self._write("Jump to application running ... \n")
        return BootResult(BootOutcome.JUMP, stack_pointer, entry, self._unsettled)

    def _vectors(self) -> tuple[int, int]:
        layout = self._partitions.layout
        address = self._facts.app_address
        if address is None:
            address = layout.app.link_address
        for device in self._partitions.devices.values():
            part = device.geometry
            # A device behind SPI has address 0 and is on no bus.
            if part.address and part.address <= address <= part.address + part.size - _VECTORS.size:
                stack_pointer, entry = _VECTORS.unpack(device.read(address - part.address, _VECTORS.size))
                return stack_pointer, entry
        raise CrashError(f"no flash device is at the application's address 0x{address:08x}: a bus fault")

    # --- checks -------------------------------------------------------------------------------------

    def _checked(self, source: str) -> _Package:
        """The package in a partition after all its checks. Raises `_RefusedError`."""
        failed = f'Qboot firmware check fail. partition "{source}"'
        partition = self._partitions.find(source)
        if partition is None:
            self._error(f"{failed} is not exist.")
            raise _RefusedError
        try:
            header = RblHeader.unpack(partition.read(0, HEADER_SIZE))
        except FlashError:
            self._error(f"{failed} read fail.")
            raise _RefusedError from None
        if not _valid(header):
            self._error(f"{failed} infomation check fail.")
            raise _RefusedError
        if not self._crc_good(partition, HEADER_SIZE, header.body_size, header.body_crc32):
            self._error(f"{failed} body check fail.")
            raise _RefusedError
        package = _Package(partition, header)
        if _has_raw_crc(header):
            try:
                self._check_raw_crc(package)
            except _RefusedError:
                self._error(f"{failed} app check fail.")
                raise
        return package

    def _crc_good(self, partition: Partition, start: int, size: int, wanted: int) -> bool:
        value = 0
        for offset in range(0, size, CRC_READ):
            length = min(CRC_READ, size - offset)
            try:
                value = zlib.crc32(partition.read(start + offset, length), value)
            except FlashError:
                self._error(
                    f"Qboot read firmware datas fail. part = {partition.name}, addr = {offset:08X}, "
                    f"length = {length}"
                )
                return False
        if value != wanted:
            self._error(f"Qboot verify CRC32 error, cal.crc: {value:08X} != body.crc: {wanted:08X}")
        return value == wanted

    def _check_raw_crc(self, package: _Package) -> None:
        """Decode everything and compare the CRC-32 of the raw firmware; nothing is erased before."""
        failed = "Qboot app crc check fail."
        self._require_supported(package, failed)
        header, value, done = package.header, 0, 0
        for step in self._rounds(package, failed):
            missing = header.raw_size - done
            # Each piece is cut by itself: QBoot does not count within a round.
            for piece in (*step.pieces, step.tail):
                value = zlib.crc32(piece[:missing], value)
                done += min(len(piece), missing)
            if _damaged(step):
                self._error(f"{failed} decompress error.")
                raise _RefusedError
        if value != header.raw_hash:
            self._error(f"{failed} cal.crc: {value:08X} != raw.crc: {header.raw_hash:08X}")
            raise _RefusedError

    def _require_supported(self, package: _Package, failed: str) -> None:
        header = package.header
        if header.encryption not in ENCRYPTIONS:
            self._error(f"{failed} nonsupport encrypt type.")
            what = f"encryption {header.encryption_bits}"
        elif header.compression not in COMPRESSIONS:
            self._error(f"{failed} nonsupport compress type.")
            patch = header.compression is Compression.HPATCHLITE
            what = "an HPatchLite patch" if patch else f"compression 0x{header.compression_bits:04x}"
        else:
            return
        self._unsettled = f"QBoot V1.0.5 does not support {what} in '{package.partition.name}'"
        raise _RefusedError

    def _rounds(self, package: _Package, failed: str, *, tail_size: int = 0) -> Rounds:
        header, partition = package.header, package.partition
        try:
            body = partition.read(HEADER_SIZE, header.body_size)
        except FlashError:
            self._error(
                f"{failed} read package error, part = {partition.name}, addr = {HEADER_SIZE:08X}, "
                f"length = {header.body_size}"
            )
            raise _RefusedError from None
        gzip_tail = tail_size if header.compression is Compression.GZIP else 0
        key = DecodeKey(f"qboot {gzip_tail}", header.pack(), self._keys)
        return self._cache.decoded(key, body, lambda: rounds(header, body, self._keys, tail_size=gzip_tail))

    # --- installation -------------------------------------------------------------------------------

    def _update(self, package: _Package) -> None:
        """Write the firmware to its destination and verify it there. Raises `_RefusedError`."""
        failed = "Qboot firmware update fail."
        destination = self._partitions.find(package.destination)
        if destination is None:
            self._error(f"{failed} destination partition {package.destination} is not exist.")
            raise _RefusedError
        try:
            self._write_firmware(package, destination)
        except _RefusedError:
            self._error(f"{failed} firmware release fail.")
            raise
        if not self._installed_good(destination):
            self._error(f"{failed} destination partition verify fail.")
            raise _RefusedError
        self._unsettled = ""
        self._info("Qboot firmware update success.")

    def _write_firmware(self, package: _Package, destination: Partition) -> None:
        failed = "Qboot release firmware fail."
        self._require_supported(package, failed)
        header, name = package.header, destination.name
        tail = destination.size - HEADER_SIZE
        self._write(f"Start erase partition {name} ...\n")
        try:
            destination.erase(0, header.raw_size)
            if name == BOOTLOADER and header.raw_size:
                raise CrashError(f"QBoot runs from '{BOOTLOADER}' and has erased it: the board is dead")
            destination.erase(tail, HEADER_SIZE)
        except FlashError:
            self._error(f"{failed} erase {name} error.")
            raise _RefusedError from None
        self._write(f"Start release firmware to {name} ...     ")
        written = 0
        for step in self._rounds(package, failed, tail_size=GZIP_UNIT):
            position = written
            try:
                for piece in step.pieces:
                    destination.write(position, piece)
                    position += len(piece)
                broken = _damaged(step)
            except FlashError:
                broken = True
            if broken:
                self._error(f"{failed} write destination error, part = {name}, addr = {written:08X}")
                raise _RefusedError
            if step.tail:
                with contextlib.suppress(FlashError):  # QBoot does not look
                    destination.write(position, step.tail.ljust(GZIP_UNIT, b"\xff"))
                position += GZIP_UNIT
            written = position
            percent = (written * 100 & 0xFFFFFFFF) // header.raw_size
            self._write(f"\b\b\b{percent:02d}%")
        self._write("\n")
        try:
            destination.write(tail, header.pack())
        except FlashError:
            self._error(f"{failed} write firmware to {name} fail.")
            raise _RefusedError from None

    def _installed_good(self, destination: Partition) -> bool:
        header = _tail_header(destination)
        if not _valid(header):
            self._error("Qboot verify fail. firmware infomation check fail.")
            return False
        return not _has_raw_crc(header) or self._crc_good(destination, 0, header.raw_size, header.raw_hash)

    # --- release sign -------------------------------------------------------------------------------

    def _released(self, package: _Package) -> bool:
        try:
            return self._has_sign(package)
        except FlashError:
            self._error(f"Qboot read release sign fail from {package.partition.name} partition.")
            return False

    def _has_sign(self, package: _Package) -> bool:
        offset = sign_offset(package.header, self._facts)
        (value,) = _SIGN.unpack(package.partition.read(offset, _SIGN.size))
        return bool(value == SIGNS[self._facts.sign].value)

    def _sign(self, package: _Package) -> None:
        kept = False
        try:
            package.partition.write(
                sign_offset(package.header, self._facts), _SIGN.pack(SIGNS[self._facts.sign].value)
            )
            kept = self._has_sign(package)
        except FlashError:
            self._error(f"Qboot write release sign fail from {package.partition.name} partition.")
        if not kept:
            self._unsettled = (
                f"'{package.partition.name}' cannot keep the release sign of its package: every boot "
                "releases it again"
            )


def _tail_header(partition: Partition) -> RblHeader:
    return RblHeader.unpack(partition.read(partition.size - HEADER_SIZE, HEADER_SIZE))


def _valid(header: RblHeader) -> bool:
    return header.magic == MAGIC and header.crc_ok


def _has_raw_crc(header: RblHeader) -> bool:
    return header.algo2 & ALGO2_MASK == ALGO2_CRC


def _damaged(step: Round) -> bool:
    """Whether decoding ends here with an error. Raises `HazardError` when it ends otherwise."""
    if step.hang:
        raise HazardError(step.hang)
    if step.crash:
        raise CrashError(step.crash)
    return step.damaged
