"""What the reference cloud refuses, one class per stable code.

`http_status` is what the admin API answers with; `/devices/active` turns every refusal into 400
(cloudsdk-protocol 1.3). `by_code` finds the class again on the other side of the admin API.
"""

from collections.abc import Sequence
from typing import ClassVar

from cloudsdk.errors import CloudSdkError
from sim.cloud.shapes import RowProblem


class CloudError(CloudSdkError):
    """Base of the cloud's errors."""

    code = "cloud.error"
    http_status: ClassVar[int] = 500


class BadRequestError(CloudError):
    """The request is not what the API documents."""

    code = "cloud.bad-request"
    http_status = 400


class UnauthorizedError(CloudError):
    """Token or session is missing, wrong or expired."""

    code = "cloud.unauthorized"
    http_status = 401


class BadLoginError(CloudError):
    """Name or password is wrong; which of the two is not told."""

    code = "cloud.bad-login"
    http_status = 401


class ForbiddenError(CloudError):
    """The caller is known, but not allowed this."""

    code = "cloud.forbidden"
    http_status = 403


class CrossSiteError(CloudError):
    """A request that changes something and does not prove that it comes from the cloud's own pages."""

    code = "cloud.cross-site"
    http_status = 403


class UnknownHostError(CloudError):
    """A request under a host name that is not the cloud's (DNS rebinding)."""

    code = "cloud.unknown-host"
    http_status = 421


class AccountDisabledError(CloudError):
    code = "cloud.account-disabled"
    http_status = 403


class RegistrationClosedError(CloudError):
    code = "cloud.registration-closed"
    http_status = 403


class UnknownAccountError(CloudError):
    code = "cloud.unknown-account"
    http_status = 404


class UnknownTokenError(CloudError):
    code = "cloud.unknown-token"
    http_status = 404


class UnknownProductError(CloudError):
    code = "cloud.unknown-product"
    http_status = 404


class UnknownDeviceError(CloudError):
    code = "cloud.unknown-device"
    http_status = 404


class UnknownFirmwareError(CloudError):
    code = "cloud.unknown-firmware"
    http_status = 404


class UnknownTaskError(CloudError):
    code = "cloud.unknown-task"
    http_status = 404


class UnknownDownloadError(CloudError):
    """The token in a firmware URL was never issued."""

    code = "cloud.unknown-download"
    http_status = 404


class AmbiguousNameError(CloudError):
    """A name that fits several things; an identifier is needed."""

    code = "cloud.ambiguous-name"
    http_status = 409


class DuplicateAccountError(CloudError):
    code = "cloud.duplicate-account"
    http_status = 409


class DuplicateTokenError(CloudError):
    code = "cloud.duplicate-token"
    http_status = 409


class LimitReachedError(CloudError):
    """As many accounts, or products or tokens of an account, as there may be."""

    code = "cloud.limit-reached"
    http_status = 409


class DuplicateProductError(CloudError):
    code = "cloud.duplicate-product"
    http_status = 409


class DuplicateSnError(CloudError):
    code = "cloud.duplicate-sn"
    http_status = 409


class DeviceLimitError(CloudError):
    """The product has as many devices as it may have (platform 2.5)."""

    code = "cloud.device-limit"
    http_status = 409


class PublishedError(CloudError):
    """What is published keeps what it has (platform 2.3, 2.4)."""

    code = "cloud.published"
    http_status = 409


class NotEmptyError(CloudError):
    """The product has devices."""

    code = "cloud.not-empty"
    http_status = 409


class ActivatedError(CloudError):
    """An activated device keeps the identity it has."""

    code = "cloud.activated"
    http_status = 409


class DevicesRefusedError(CloudError):
    """A table of devices with bad rows; none was added. `rows` names them, up to a limit."""

    code = "cloud.devices-refused"
    http_status = 422

    def __init__(self, message: str, rows: Sequence[RowProblem] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class TooManyRequestsError(CloudError):
    """An address or account asks more often than it may. `retry_after` is in seconds."""

    code = "cloud.too-many-requests"
    http_status = 429

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BadSignError(CloudError):
    """The Sign of an activation does not fit ProductKey and SN."""

    code = "cloud.bad-sign"
    http_status = 400


class BadMessageError(CloudError):
    """A device published something that is not a data point message."""

    code = "cloud.bad-message"
    http_status = 400


class PackageRefusedError(CloudError):
    """An upload that is not a sound `.rbl` package."""

    code = "cloud.package-refused"
    http_status = 422


class TaskRefusedError(CloudError):
    """A task that the device could not carry out, or that would do nothing."""

    code = "cloud.task-refused"
    http_status = 422


class TaskTooLargeError(TaskRefusedError):
    """The task message does not fit the device's receive buffer (cloudsdk-protocol 2.1)."""

    code = "cloud.task-too-large"


class DeviceOfflineError(CloudError):
    """Something that needs a device that is online."""

    code = "cloud.device-offline"
    http_status = 409


class DeviceBusyError(CloudError):
    """The console of the device is in use: one shell at a time, and no log beside it (platform 6.4)."""

    code = "cloud.device-busy"
    http_status = 409


class ShellTimeoutError(CloudError):
    """A device that was asked for its shell does not connect."""

    code = "cloud.shell-timeout"
    http_status = 504


class ShellEndedError(CloudError):
    """Input for a shell that has ended."""

    code = "cloud.shell-ended"
    http_status = 410


class ConsoleLimitError(CloudError):
    """As many shells, or viewers of one log, as there may be."""

    code = "cloud.console-limit"
    http_status = 503


class TaskStateError(CloudError):
    """The task is not in a state in which this can be done with it."""

    code = "cloud.task-state"
    http_status = 409


class VersionNotHigherError(CloudError):
    """The cloud has this version of the firmware or a higher one already (platform 8.1)."""

    code = "cloud.version-not-higher"
    http_status = 409


class FirmwareInUseError(CloudError):
    """An open task needs this firmware."""

    code = "cloud.firmware-in-use"
    http_status = 409


class QuotaError(CloudError):
    """The account has stored as much as it may."""

    code = "cloud.quota"
    http_status = 409


class BusyError(CloudError):
    """Too much of this is going on at the moment."""

    code = "cloud.busy"
    http_status = 503


class TooLargeError(CloudError):
    """A request body beyond its limit."""

    code = "cloud.too-large"
    http_status = 413


class StorageError(CloudError):
    """The database or the firmware files cannot be read or written."""

    code = "cloud.storage"
    http_status = 500


class VaultError(CloudError):
    """A sealed key that cannot be opened."""

    code = "cloud.vault"


class VaultKeyError(VaultError):
    """The vault's key file is missing, damaged or of another database."""

    code = "cloud.vault-key"


class SchemaVersionError(CloudError):
    """The database was written by another version of this program."""

    code = "cloud.schema-version"


class PortInUseError(CloudError):
    code = "cloud.port-in-use"


class ListenError(CloudError):
    """An address that cannot be listened on."""

    code = "cloud.listen"


class DataInUseError(CloudError):
    """Another server runs on the data directory."""

    code = "cloud.data-in-use"


class ConsoleInUseError(CloudError):
    """A second web console in one process."""

    code = "cloud.console-in-use"


class ConsoleFullError(CloudError):
    """As many pages of the web console are open as there may be."""

    code = "cloud.console-full"
    http_status = 503


class UnreachableError(CloudError):
    """The admin API does not answer."""

    code = "cloud.unreachable"


class NotRunningError(CloudError):
    """Something that only a running server can do."""

    code = "cloud.not-running"


class MosquittoMissingError(CloudError):
    code = "cloud.mosquitto-missing"


class MosquittoFailedError(CloudError):
    """Mosquitto does not start, or died."""

    code = "cloud.mosquitto-failed"


def _family(base: type[CloudError]) -> dict[str, type[CloudError]]:
    found = {base.code: base}
    for subclass in base.__subclasses__():
        found.update(_family(subclass))
    return found


def by_code(code: str) -> type[CloudError]:
    """The class with this `code`; `CloudError` for a code this version does not know."""
    return _family(CloudError).get(code, CloudError)
