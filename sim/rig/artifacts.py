"""What a failing test leaves behind: consoles and traffic of its devices."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloudsdk.errors import CloudSdkError
from cloudsdk.files import replacing
from sim.rig.device import RigDevice

MAX_NAME: Final = 100  # characters of a test's name in a directory's
SECTION_LINES: Final = 200  # of each record, in the report
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.=-]+")


@dataclass(frozen=True, slots=True)
class Record:
    """What one device left behind, without secrets."""

    file: str
    title: str
    text: str


def records(devices: Iterable[RigDevice]) -> Iterator[Record]:
    """Everything that was recorded."""
    for device in devices:
        name = _safe(device.sn)
        yield Record(f"console-{name}.txt", f"console of device {device.sn}", device.console_text)
        if traffic := device.traffic:
            yield Record(f"traffic-{name}.txt", f"traffic of device {device.sn}", traffic)


def keep(directory: Path, found: Iterable[Record]) -> str:
    """Write records into a directory that is made for them; returns a sentence about it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for record in found:
            with replacing(directory / record.file) as file:
                file.write(record.text.encode("utf-8", "backslashreplace"))
    except (OSError, CloudSdkError) as exc:
        return f"the records could not be kept in {directory}: {exc}"
    return f"whole records are in {directory}"


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
