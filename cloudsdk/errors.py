"""The one error hierarchy of the project.

Every error that a user can cause carries a stable, dotted `code` and a one-line message that names the cause
and, where there is one, the remedy. The command line prints `cloudsim: error: <message> [<code>]` and exits
with `exit_status`; a traceback is a defect.
"""

from typing import ClassVar


class CloudSdkError(Exception):
    """Base of all errors raised on purpose. `code` is stable across releases."""

    code: ClassVar[str] = "cloudsim.error"
    exit_status: ClassVar[int] = 1


class UsageError(CloudSdkError):
    """The call itself is wrong: a missing file, a bad option value, a name that cannot be."""

    code = "cloudsim.usage"
    exit_status = 2


class FlashError(CloudSdkError):
    """A flash operation that the part or the partition does not allow. Nothing was changed."""

    code = "flash.error"


class OutOfBoundsError(FlashError):
    """Offset and length reach outside the partition or the device."""

    code = "flash.out-of-bounds"
