"""The environment variables the SDK keeps on flash, and the small protocol it keeps them through.

Names and meaning: cloudsdk-protocol 1.4. On a board the store is EasyFlash; anything with these four methods
will do.
"""

from typing import Final, Protocol

ACTIVATED: Final = "cld_act"
USER: Final = "cld_usr"
PASSWORD: Final = "cld_pwd"  # noqa: S105 - the name of a variable, not a secret
DEVICE_ID: Final = "cld_did"
DEVICE_KEY: Final = "cld_dkey"
SN: Final = "cld_sn"
DEVICE_VERSION: Final = "cld_dev_mver"
OTA_NAME: Final = "cld_ota_name"
OTA_FIRMWARE_VERSION: Final = "cld_ota_sver"
OTA_TASK_VERSION: Final = "cld_ota_mver"
TRIED: Final = "cld_try"  # not the original's: `cloudsdk.ota.attempts`, where the profile counts


class EnvError(Exception):
    """The store could not set or save. `code` is the EasyFlash return code (easyflash-format 4)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Env(Protocol):
    """A string store: changes live in RAM until `save`."""

    def get(self, key: str) -> str | None: ...

    def set(self, key: str, value: str) -> None:
        """Set in RAM. Raises `EnvError` when the store is full or the key is not allowed."""
        ...

    def delete(self, key: str) -> None: ...

    def save(self) -> None:
        """Write changed variables to flash. Raises `EnvError` when flash fails."""
        ...
