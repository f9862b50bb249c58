"""The download of one package into the `download` partition (cloudsdk-protocol 3.3 to 3.7).

A state machine without IO: the session hands in what the HTTP connection brought and acts on the outcome.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.ciphers import CipherContext

from cloudsdk import console
from cloudsdk.errors import FlashError
from cloudsdk.events import HttpRequest
from cloudsdk.fal import Partition, PartitionTable
from cloudsdk.limits import Limits
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.journal import Identity, Journal
from cloudsdk.ota.rt_ota import DOWNLOAD, HazardError, RtOta, survives
from cloudsdk.ota.task import TaskFirmware
from cloudsdk.ota.transport import IV_LENGTH, cipher, rounded
from cloudsdk.profile import Profile

USER_AGENT: Final = "RT-Thread HTTP Agent"
HTTP_OK: Final = 200
HTTP_PARTIAL: Final = 206
HTTP_RANGE_NOT_SATISFIABLE: Final = 416
NO_RESPONSE: Final = -1
_TAG: Final = "cld.ota"
_FAILED: Final = "Firmware download failed!"
_VERIFY_FAILED: Final = f"Partition ({DOWNLOAD}) header and body verify failed!"
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_STRONG_TAG: Final = re.compile(r'"[!#-~\x80-\xff]*"')


class Outcome(Enum):
    CONTINUE = auto()
    #: Nothing more to come on this connection; try again after `Limits.download_retry`.
    RETRY = auto()
    #: Given up; a new task may start.
    FAILED = auto()
    #: The package lies in `download` and is verified.
    DONE = auto()


@dataclass(frozen=True, slots=True)
class DownloadContext:
    """What stays the same for every download of a device."""

    device_id: str
    device_key: str = field(repr=False)
    ota: RtOta
    partitions: PartitionTable
    profile: Profile
    limits: Limits
    write: Callable[[str], None]  # console


class Download:
    """One run of the original's `ota_download` thread.

    `firmware` is what the current attempt fetches; `replace` names another for the next one (3.2).
    """

    def __init__(self, context: DownloadContext, firmware: TaskFirmware) -> None:
        self.firmware = firmware
        self._next = firmware
        self._context = context
        self._identity: Identity | None = None  # of the bytes received so far
        self._offset = 0  # bytes written
        self._chain = b""  # the cipher block before _offset
        self._etag: str | None = None
        self._partial = bytearray()  # received, not yet a whole block
        self._decryptor: CipherContext | None = None
        self._journal: Journal | None = None

    @property
    def position(self) -> int:
        """Bytes of the package that are written."""
        return self._offset

    @property
    def received(self) -> int:
        """Bytes of the package that have come, written or not yet a whole block."""
        return self._offset + len(self._partial)

    def replace(self, firmware: TaskFirmware) -> None:
        """Take the URL and size of `firmware` from the next attempt on."""
        self._next = firmware

    # --- one attempt --------------------------------------------------------------------------------

    def start(self, request: str) -> HttpRequest | Outcome:
        """Begin an attempt: prepare flash and return the request, or the outcome when none is needed."""
        write = self._context.write
        write(console.info(_TAG, "Firmware download startup."))
        partition = self._partition
        if partition is None:
            return self._fail(f"Partition ({DOWNLOAD}) find error!")
        self.firmware = self._next
        identity = self._current_identity()
        try:
            if self._identity != identity:
                self._identity, self._offset, self._etag = identity, 0, None
                self._journal = self._open_journal(partition)
            if self._offset == 0:
                self._take_up_journal(identity)
            if self._offset == self._total:
                return self._finish()
            if self._offset == 0:
                self._erase()
        except FlashError:
            return self._fail(f"Partition ({DOWNLOAD}) erase error!")
        self._partial.clear()
        self._decryptor = cipher(self._context.device_key, self._chain if self._offset else None).decryptor()
        return self._request(request)

    def opened(self, status: int, headers: Mapping[str, str]) -> Outcome:
        """The response's status and headers (names in lower case)."""
        if self._offset == 0:
            if status != HTTP_OK:
                return self._retry(f"Open url : {self.firmware.file_url} failed!")
        elif status == HTTP_OK and self._context.profile.checks_resumed_body:
            # The body changed or the server has no ranges: what comes is the whole body again.
            return self._start_over(headers)
        elif status != HTTP_PARTIAL or not self._continues(headers):
            if (
                status in (HTTP_PARTIAL, HTTP_RANGE_NOT_SATISFIABLE)
                and self._context.profile.checks_resumed_body
            ):
                try:
                    self._forget()
                except FlashError:
                    return self._fail(f"Partition ({DOWNLOAD}) write data error!")
            return self._retry(f"Open retry failed, response({status}) error.")
        else:
            return Outcome.CONTINUE
        return self._open_record(headers)

    def data(self, data: bytes) -> Outcome:
        """Bytes of the body: every whole block is decrypted and written."""
        self._partial += data
        block = self._context.limits.download_block
        position = 0
        while self._offset < self._total:
            length = min(block, self._total - self._offset)
            if len(self._partial) - position < length:
                break
            if not self._take(bytes(self._partial[position : position + length])):
                return self._fail(f"Partition ({DOWNLOAD}) write data error!")
            position += length
        del self._partial[:position]
        return self._finish() if self._offset == self._total else Outcome.CONTINUE

    def ended(self) -> Outcome:
        """The body ended before the package was complete."""
        return self._short_read(0)

    def broken(self, *, opened: bool) -> Outcome:
        """The connection could not be made (`opened` False) or broke."""
        if opened:
            return self._short_read(NO_RESPONSE)
        if self._offset:
            return self._retry(f"Open retry failed, response({NO_RESPONSE}) error.")
        return self._retry(f"Open url : {self.firmware.file_url} failed!")

    def handed_over(self) -> None:
        """Everything is stored for the bootloader: this package is never resumed again."""
        if self._journal is not None:
            with contextlib.suppress(FlashError):  # the bootloader has all it needs
                self._journal.consume()

    # --- flash --------------------------------------------------------------------------------------

    @property
    def _total(self) -> int:
        return rounded(self.firmware.file_size)

    @property
    def _partition(self) -> Partition | None:
        return self._context.partitions.find(DOWNLOAD)

    def _current_identity(self) -> Identity:
        firmware = self.firmware
        return Identity(self._context.device_id, firmware.type, firmware.file_version, firmware.file_size)

    def _open_journal(self, partition: Partition) -> Journal | None:
        if not self._context.profile.resume_survives_reset:
            return None
        journal = Journal(partition, self._total)
        if journal.fits:
            return journal
        journal.consume()
        return None

    def _take_up_journal(self, identity: Identity) -> None:
        point = self._journal.load(identity) if self._journal is not None else None
        if point is None or self._journal is None:
            return
        self._offset, self._etag = point.offset, point.etag
        self._chain = self._journal.chaining_value(self._context.device_key, point.offset)
        self._journal.clear_unconfirmed(point.offset)

    def _erase(self) -> None:
        if self._journal is not None:
            self._journal.begin()
        self._context.ota.erase(DOWNLOAD, self._total)

    def _open_record(self, headers: Mapping[str, str]) -> Outcome:
        """Note what the fresh body is, before its first byte is written."""
        self._etag = headers.get("etag")
        try:
            if self._journal is not None and self._identity is not None:
                self._journal.open(self._identity, self._etag)
        except FlashError:
            return self._fail(f"Partition ({DOWNLOAD}) write data error!")
        return Outcome.CONTINUE

    def _start_over(self, headers: Mapping[str, str]) -> Outcome:
        self._decryptor = cipher(self._context.device_key).decryptor()
        try:
            self._forget()
            self._erase()
        except FlashError:
            return self._fail(f"Partition ({DOWNLOAD}) erase error!")
        return self._open_record(headers)

    def _forget(self) -> None:
        """The next attempt is a fresh one."""
        self._offset, self._etag = 0, None
        if self._journal is not None:
            self._journal.consume()

    def _take(self, block: bytes) -> bool:
        """Decrypt and write one block, then draw the progress line."""
        partition = self._partition
        if partition is None or self._decryptor is None:
            return False
        plain = self._decryptor.update(block)
        try:
            if self._journal is not None:
                self._journal.write(self._offset, plain)
            else:
                partition.write(self._offset, plain)
        except FlashError:
            return False
        self._chain = block[-IV_LENGTH:]
        self._draw(self._offset)
        self._offset += len(block)
        return True

    def _finish(self) -> Outcome:
        if self._total == 0:
            return self._verify_failed()
        try:
            if reason := self._refusal():
                return self._refuse(reason)
            if self._journal is not None:
                self._journal.put_first_block()
        except FlashError:
            return self._fail(f"Partition ({DOWNLOAD}) write data error!")
        self._draw(self._total)
        try:
            verified = self._context.ota.verify(DOWNLOAD)
        except HazardError:
            verified = False
        return Outcome.DONE if verified else self._verify_failed()

    def _refusal(self) -> str:
        """Why the bootloader must not get this package; empty when it may.

        It installs whatever the header names (rbl-format 3.2). A damaged header is left to the verification.
        """
        partition = self._partition
        if self._context.profile.takes_any_package or partition is None or self._total < HEADER_SIZE:
            return ""
        journal = self._journal
        head = journal.head(HEADER_SIZE) if journal is not None else partition.read(0, HEADER_SIZE)
        header, wanted = RblHeader.unpack(head), self.firmware
        if not header.crc_ok:
            return ""
        if not survives(header, self._total):
            return _VERIFY_FAILED
        if (header.name_text, header.version_text) != (wanted.type, wanted.file_version):
            return f"The package is not {wanted.type} {wanted.file_version} !"
        return ""

    def _refuse(self, reason: str) -> Outcome:
        """The next boot must not find this package."""
        partition = self._partition
        if partition is not None and self._journal is None:
            partition.erase(0, HEADER_SIZE)
        return self._fail(reason)

    def _verify_failed(self) -> Outcome:
        return self._fail(_VERIFY_FAILED)

    # --- HTTP ---------------------------------------------------------------------------------------

    def _request(self, request: str) -> HttpRequest:
        headers: list[tuple[str, str]] = []
        if self._offset:
            headers.append(("Range", f"bytes={self._offset}-"))
            if (validator := self._validator) is not None:
                headers.append(("If-Range", validator))
        headers += [("Host", _host(self.firmware.file_url)), ("User-Agent", USER_AGENT)]
        if self._offset:
            headers.append(("Accept", "*/*"))
        return HttpRequest(request, "GET", self.firmware.file_url, tuple(headers))

    @property
    def _validator(self) -> str | None:
        """The entity tag if it may stand in If-Range: a strong one (RFC 9110 13.1.5)."""
        tag = self._etag
        usable = tag is not None and _STRONG_TAG.fullmatch(tag) and self._context.profile.checks_resumed_body
        return tag if usable else None

    def _continues(self, headers: Mapping[str, str]) -> bool:
        """Whether a 206 really goes on where this download stopped."""
        if not self._context.profile.checks_resumed_body:
            return True
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if found is None or int(found[1]) != self._offset:
            return False
        return self._etag is None or headers.get("etag") == self._etag

    # --- console ------------------------------------------------------------------------------------

    def _draw(self, position: int) -> None:
        if position:
            self._context.write(console.info(_TAG, console.CURSOR_UP_2))
        bar = console.progress_bar(console.percent(position, self._total))
        self._context.write(console.info(_TAG, f"Download: {bar}"))

    def _error(self, text: str) -> None:
        self._context.write(console.error(_TAG, f"{_FAILED} {text}"))

    def _fail(self, text: str) -> Outcome:
        self._error(text)
        with contextlib.suppress(FlashError):  # an unmarked journal does not verify: it is found bad again
            self._forget()
        return Outcome.FAILED

    def _retry(self, text: str) -> Outcome:
        self._error(text)
        self._context.write(console.error(_TAG, "Open URL or receive data error, wait to connect again !"))
        return Outcome.RETRY

    def _short_read(self, code: int) -> Outcome:
        for _ in range(2):  # the original's web client reports it twice
            self._context.write(console.error("web", f"receive data error({code})."))
        received = len(self._partial)
        return self._retry(f"Http get error: {code}, content_pos: {self._offset}, page_pos: {received} .")


def _host(url: str) -> str:
    """The Host header, without the port (1.2); empty for a URL that no transport will take either."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
