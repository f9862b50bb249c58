"""The OTA task of data point 1012 (cloudsdk-protocol 3.1)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cloudsdk.cjson import Json, integer, member, number
from cloudsdk.errors import CloudSdkError

MAX_VERSION: Final = 23  # characters of a task or firmware version
MAX_TYPE: Final = 19  # characters of a partition name
MAX_URL: Final = 255  # characters
MAX_FILE_SIZE: Final = 0xFFFFFFF0  # bytes: the rounded size must fit 32 bits


class UpgradeMode(IntEnum):
    """Modes of a task. They make no difference inside the SDK; the port's policy may look at them."""

    FORCED = 1
    OPTIONAL = 2
    SILENT = 3


UPGRADE_MODES: Final = frozenset(UpgradeMode)


class TaskError(CloudSdkError):
    """A 1012 message without the members the device needs."""

    code = "ota.task"


@dataclass(frozen=True, slots=True)
class TaskFirmware:
    """One element of `firmwares`; array order is execution order, `index` is not read."""

    type: str  # FAL partition name
    file_version: str
    file_url: str
    upgrade_mode: int
    file_size: int  # bytes of the package


@dataclass(frozen=True, slots=True)
class OtaTask:
    version: str
    firmwares: tuple[TaskFirmware, ...]


def parse_task(value: Json) -> OtaTask:
    """Read the `value` of a 1012 message. Raises `TaskError`.

    The original follows a null pointer where a member is missing or `firmwares` is empty; refusing is the
    only sane equivalent.
    """
    elements = member(value, "firmwares")
    if not isinstance(elements, list) or not elements:
        raise TaskError("the task has no firmwares")
    return OtaTask(
        version=_text(value, "version", MAX_VERSION),
        firmwares=tuple(
            TaskFirmware(
                type=_text(element, "type", MAX_TYPE),
                file_version=_text(element, "file_version", MAX_VERSION),
                file_url=_text(element, "file_url", MAX_URL),
                upgrade_mode=_mode(element),
                file_size=_size(element),
            )
            for element in elements
        ),
    )


def _text(value: Json, name: str, longest: int) -> str:
    text = member(value, name)
    # What is not printable could neither be stored nor shown; the original would do both.
    if not isinstance(text, str) or not 0 < len(text) <= longest or not text.isprintable():
        raise TaskError(f"the task's {name} is not a string of 1 to {longest} printable characters")
    return text


def _mode(value: Json) -> int:
    """Any number: an unknown mode is reported, but the upgrade runs (3.1)."""
    found = integer(member(value, "upgrade_mode"))
    if found is None:
        raise TaskError("the task's upgrade_mode is not a number")
    return found


def _size(value: Json) -> int:
    found = number(member(value, "file_size"))
    if found is None or not 0 <= found <= MAX_FILE_SIZE:
        raise TaskError(f"the task's file_size is not a number from 0 to {MAX_FILE_SIZE}")
    return int(found)
