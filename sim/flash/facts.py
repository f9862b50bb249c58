"""What a board file says besides its flash: bootloader, application, kernel, network."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.lint import APP

MAX_SSID: Final = 32  # characters
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class LayoutError(CloudSdkError):
    """A board layout that cannot be."""

    code: ClassVar[str] = "layout.invalid"
    exit_status: ClassVar[int] = 2


def _require_one_of(what: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise LayoutError(f"{what} {value!r} is not one of {', '.join(map(str, known))}")


BOOTLOADER_KINDS: Final = ("rt_ota", "rt_ota+factory", "qboot")
QBOOT_SIGNS: Final = ("v1.0.5", "wdfk-1.1")
QBOOT_SIGN_ALIGNS: Final = (4, 8, 16, 32)  # bytes
MAX_PRODUCT_CODE: Final = 23  # characters; the header field ends with a NUL (rbl-format 1)
MAX_SHELL_SECONDS: Final = 3600
ENTRY_MASK: Final = 0xFF000000  # bits of an entry that QBoot's jump test compares (rbl-format 5.1)
_U32_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class QbootFacts:
    """How QBoot was configured when it was built (rbl-format 5.1). Raises `LayoutError`.

    `sign_align` is bytes, None the default of the sign. A package must carry `product_code` if there is one.
    With `shell_seconds`, QBoot waits that long for a key and ends in its shell. `app_address` is a bus
    address, None where the application is linked; QBoot's own default is 0x08020000. An entry is started when
    its top 8 bits are those of `code_region` and the stack pointer lies in the first MiB of `ram_region`.
    """

    sign: str = "v1.0.5"
    sign_align: int | None = None
    product_code: str | None = None
    shell_seconds: int = 0
    app_address: int | None = None
    code_region: int = 0x08000000
    ram_region: int = 0x20000000

    def __post_init__(self) -> None:
        _require_one_of("bootloader.qboot: sign", self.sign, QBOOT_SIGNS)
        if self.sign_align is not None:
            _require_one_of("bootloader.qboot: sign_align", self.sign_align, QBOOT_SIGN_ALIGNS)
        code = self.product_code
        if code is not None and not (len(code) <= MAX_PRODUCT_CODE and code.isascii() and code.isprintable()):
            raise LayoutError(
                f"bootloader.qboot: product_code must be ASCII text of at most {MAX_PRODUCT_CODE} characters"
            )
        for name, value, limit in (
            ("shell_seconds", self.shell_seconds, MAX_SHELL_SECONDS),
            ("app_address", self.app_address or 0, _U32_MAX),
            ("code_region", self.code_region, _U32_MAX),
            ("ram_region", self.ram_region, _U32_MAX),
        ):
            if not 0 <= value <= limit:
                raise LayoutError(f"bootloader.qboot: {name} must be 0 to {limit}, it is {value}")


@dataclass(frozen=True, slots=True)
class BootloaderFacts:
    """Which bootloader, and what its own package header says if it has one (rt_ota, rbl-format 3.1).

    Defaults: the recorded IoT Board. `qboot` is for that kind only. `flash_chip` is what its SFUD calls the
    SPI flash, vendor and name, `sfud_source` the source line in the log of that; without `flash_chip` it has
    no SFUD (console 2.2). Raises `LayoutError`.
    """

    kind: str = "rt_ota"
    version: str = "1.3"
    timestamp: int = 1545134551  # seconds since 1970
    qboot: QbootFacts | None = None
    flash_chip: str | None = None
    sfud_source: str = "..\\components\\sfud\\src\\sfud.c:724"

    def __post_init__(self) -> None:
        _require_one_of("bootloader: kind", self.kind, BOOTLOADER_KINDS)
        if self.qboot is not None and self.kind != "qboot":
            raise LayoutError(f"bootloader: qboot has no meaning for kind {self.kind}; remove it")


@dataclass(frozen=True, slots=True)
class AppFacts:
    """Where the application has to be linked, as a bus address, and its partition (rbl-format 3.2)."""

    link_address: int = 0x08010000
    partition: str = APP


@dataclass(frozen=True, slots=True)
class WlanFacts:
    """The board in its WLAN. `mac` is six bytes in hexadecimal with colons, addresses are dotted IPv4.

    `ssid` is the WLAN in reach, `stored_ssid` the one in the saved configuration. A board that does not join
    one when it starts waits for `wifi join`. Raises `LayoutError`.
    """

    mac: str
    ip_address: str
    gateway: str
    ssid: str
    stored_ssid: str | None = None

    def __post_init__(self) -> None:
        if not _MAC.fullmatch(self.mac):
            raise LayoutError(f"kernel.wlan: mac {self.mac!r} is not six bytes as in 98:3b:16:53:12:d6")
        for name, value in (("ip_address", self.ip_address), ("gateway", self.gateway)):
            try:
                IPv4Address(value)
            except AddressValueError as error:
                raise LayoutError(f"kernel.wlan: {name} {value!r} is not dotted IPv4") from error
        for name, ssid in (("ssid", self.ssid), ("stored_ssid", self.stored_ssid)):
            if ssid is not None and not (0 < len(ssid) <= MAX_SSID and ssid.isprintable()):
                raise LayoutError(f"kernel.wlan: {name} must be 1 to {MAX_SSID} printable characters")

    @property
    def joins(self) -> bool:
        """Whether the board is in its WLAN from the start."""
        return self.stored_ssid == self.ssid


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What the kernel banner says (console 2.1), and what the drivers find.

    `flash_device` is the name SFUD gives to the SPI flash, None without SFUD.
    """

    version: str = "4.0.1"
    build: str = "Mar 27 2019"
    flash_device: str | None = None
    wlan: WlanFacts | None = None


DEFAULT_BOOTLOADER: Final = BootloaderFacts()
DEFAULT_APP: Final = AppFacts()
DEFAULT_KERNEL: Final = KernelFacts()
