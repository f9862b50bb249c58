"""What a failing test leaves behind: consoles and traffic of its devices."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from sim.rig.device import RigDevice

MAX_NAME: Final = 100  # characters of a test's name in a directory's
SECTION_LINES: Final = 200  # of each record, in the report
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.=-]+")


def records(devices: Iterable[RigDevice]) -> Iterator[tuple[str, str, str]]:
    """File name, title and text of everything that was recorded, without secrets."""
    for device in devices:
        name = _safe(device.sn)
        yield f"console-{name}.txt", f"console of device {device.sn}", device.console_text
        if traffic := device.traffic:
            yield f"traffic-{name}.txt", f"traffic of device {device.sn}", traffic


def directory_of(test: str) -> str:
    """A directory name for a test id: safe, and no other test's."""
    digest = hashlib.sha256(test.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{_safe(test)[-MAX_NAME:]}-{digest}"


def shortened(text: str) -> str:
    """The last lines, for a report."""
    lines = text.splitlines()
    left = len(lines) - SECTION_LINES
    return text if left <= 0 else "\n".join([f"... {left} lines before", *lines[left:]])


def _safe(text: str) -> str:
    return _UNSAFE.sub("_", text).strip("._") or "_"
