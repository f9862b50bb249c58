"""How often one package was tried, kept in ENV so that a reset does not begin the count again.

A package that the bootloader refuses leaves the device as it was, and the cloud sends the task again: without
a count it would be downloaded for ever.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import urlsplit

from cloudsdk.cjson import JsonError, integer, parse
from cloudsdk.ota.task import OtaTask, TaskFirmware

_FINGERPRINT: Final = 16  # hexadecimal digits that are kept


def fingerprint(task: OtaTask, firmware: TaskFirmware) -> str:
    """What makes a firmware of a task the same one when it comes again.

    The query of its URL does not: that is where a cloud puts tokens that change.
    """
    try:
        url = urlsplit(firmware.file_url)._replace(query="", fragment="").geturl()
    except ValueError:
        url = firmware.file_url
    parts = (task.version, firmware.type, firmware.file_version, url, str(firmware.file_size))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_FINGERPRINT]


@dataclass(frozen=True, slots=True)
class Attempts:
    """The firmware that was tried last: its partition and version, its fingerprint, and how often."""

    partition: str
    version: str
    fingerprint: str
    count: int

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """What `text` wrote; None for anything else."""
        try:
            value = parse((text or "").encode(errors="replace"))
        except JsonError:
            return None
        if not isinstance(value, list) or len(value) != 4:
            return None
        partition, version, digest = value[:3]
        count = integer(value[3])
        if not (isinstance(partition, str) and isinstance(version, str) and isinstance(digest, str)):
            return None
        return cls(partition, version, digest, count) if count is not None else None

    @classmethod
    def first(cls, task: OtaTask, firmware: TaskFirmware) -> Self:
        return cls(firmware.type, firmware.file_version, fingerprint(task, firmware), 1)

    def text(self) -> str:
        """One line for ENV."""
        return json.dumps([self.partition, self.version, self.fingerprint, self.count], separators=(",", ":"))

    def again(self) -> Self:
        return replace(self, count=self.count + 1)
