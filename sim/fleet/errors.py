"""What can be wrong with a fleet before it starts."""

from typing import ClassVar

from cloudsdk.errors import CloudSdkError


class FleetError(CloudSdkError):
    """A fleet that cannot run as it is configured."""

    code: ClassVar[str] = "fleet.config"
    exit_status: ClassVar[int] = 2


class IdentitiesError(FleetError):
    """A list of serial numbers that cannot be used."""

    code = "fleet.identities"


class RampError(FleetError):
    """No ramp profile."""

    code = "fleet.ramp"


class FileLimitError(FleetError):
    """More devices than the process may have files open."""

    code = "fleet.file-limit"
