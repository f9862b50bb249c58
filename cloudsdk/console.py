"""Console text of the device, byte for byte as the original prints it before the UART turns LF into CR LF.

Styles and colours: console 1. Progress bars: cloudsdk-protocol 3.7 and rbl-format 3.2.
"""

from typing import Final

RESET: Final = "\x1b[0m"
CURSOR_UP_2: Final = "\x1b[2A"
BAR_CELLS: Final = 100


def info(tag: str, text: str) -> str:
    """One green information line of the RT-Thread log macros."""
    return f"\x1b[32m[I/{tag}] {text}{RESET}\n"


def error(tag: str, text: str) -> str:
    """One red error line of the RT-Thread log macros."""
    return f"\x1b[31m[E/{tag}] {text}{RESET}\n"


def ota_info(text: str, tag: str = "OTA") -> str:
    """One cyan line of the rt_ota library (and of FAL inside the bootloader)."""
    return f"\x1b[36;22m[I/{tag}] {text}{RESET}\n"


def ota_error(where: str, text: str, tag: str = "OTA") -> str:
    """One red line of the rt_ota library; `where` is `function:line` of the original source."""
    return f"\x1b[31;22m[E/{tag}] ({where}) {text}{RESET}\n"


def fal_info(text: str) -> str:
    """One green line of FAL inside the application."""
    return f"\x1b[32;22m[I/FAL] {text}{RESET}\n"


def percent(done: int, total: int) -> int:
    """`done * 100 / total` in the original's 32-bit unsigned arithmetic, at most 100."""
    return min(100, ((done * 100) & 0xFFFFFFFF) // total)


def progress_bar(value: int) -> str:
    """`[====>   ] N%`: `value` times `=`, one `>` below 100, blanks up to 100 cells."""
    cells = "=" * value + (">" if value < BAR_CELLS else "")
    return f"[{cells:<{BAR_CELLS}}] {value}%"
