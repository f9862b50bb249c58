"""What drivers print while a board starts (console 2.2 and 2.3). Pure text, in the order of the boot."""

from typing import Final

from cloudsdk import console
from sim.flash.facts import KernelFacts, WlanFacts
from sim.flash.layout import BoardLayout
from sim.msh.kernel import is_kernel_4

WICED_VERSION: Final = "3.3.1"
WLAN_INTERFACE: Final = "w0"
_BOOTLOADER_FLASH: Final = "norflash0"
_LWIP: Final = "lwIP-2.0.2 initialized!\n"


def bootloader_flash(layout: BoardLayout) -> str:
    """SFUD in the bootloader, before its own first line; nothing on a board without.

    QBoot is a program of its own, with other drivers.
    """
    facts, size = layout.bootloader, _spi_flash_size(layout)
    if facts.flash_chip is None or size is None or not facts.kind.startswith("rt_ota"):
        return ""
    return (
        f"[SFUD]Find a {facts.flash_chip} flash chip. Size is {size} bytes.\n"
        f"[SFUD]({facts.sfud_source}) Flash device reset success.\n"
        f"[SFUD]{_BOOTLOADER_FLASH} flash device is initialize success.\n"
    )


def before_main(layout: BoardLayout) -> str:
    """From the kernel's banner to the flash driver of the application, which has SFDP and no chip names."""
    kernel, size = layout.kernel, _spi_flash_size(layout)
    text = _LWIP
    if is_kernel_4(kernel):
        text += console.info("SAL_SKT", "Socket Abstraction Layer initialize success.")
    if kernel.flash_device is not None and size is not None:
        tag = "[SFUD] " if is_kernel_4(kernel) else "[SFUD]"
        text += (
            f"{tag}Find a Winbond flash chip. Size is {size} bytes.\n"
            f"{tag}{kernel.flash_device} flash device is initialize success.\n"
        )
    return text


def wlan_driver() -> str:
    return (
        f"\x1b[32;22m[I/WICED] wifi initialize done. wiced version {WICED_VERSION}{console.RESET}\n"
        + console.info("WLAN.dev", "wlan init success")
        + console.info("WLAN.lwip", f"eth device init ok name:{WLAN_INTERFACE}")
    )


def running_version(version: str) -> str:
    """The last line of `main`; a debug line has no colour of its own."""
    return f"{console.RESET}[D/main] The current version of APP firmware is {version}{console.RESET}\n"


def joined(ssid: str) -> str:
    """The stored WLAN is joined (rows 23 and 24)."""
    return f"join ssid:{ssid}\r\n" + console.info("WLAN.mgnt", f"wifi connect success ssid:{ssid}")


def got_address(wlan: WlanFacts) -> str:
    """Row 26: after the SDK was told that the network is ready."""
    return console.info("WLAN.lwip", f"Got IP address : {wlan.ip_address}")


def behind_the_prompt(kernel: KernelFacts) -> str:
    """What services of the manual's board say after the prompt (console 2.3)."""
    text = (
        "\x1b[36;22mI/elog            [18-01-01 00:00:00] EasyLogger V2.0.0 is initialize success."
        f"{console.RESET}\n"
    )
    if kernel.wlan is not None and kernel.wlan.joins:
        ssid = kernel.wlan.ssid
        text += f'Joining : " {ssid} "\nSuccessfully joined : " {ssid} "\n'
    return text


def _spi_flash_size(layout: BoardLayout) -> int | None:
    """Bytes of the flash behind SPI: the device without a bus address."""
    return next((device.size for device in layout.devices if device.address == 0), None)
