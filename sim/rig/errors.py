"""What a bench cannot do, and why."""

from cloudsdk.errors import CloudSdkError


class RigError(CloudSdkError):
    """Base of the bench's errors."""

    code = "rig.error"


class NotAvailableError(RigError):
    """This kind of cloud, device or clock does not have what was asked for."""

    code = "rig.not-available"


class CloudAdminError(RigError):
    """There is no way to tell a real cloud what to do, or the one that was named cannot be used."""

    code = "rig.cloud-admin"


class IdentitiesError(RigError):
    """The serial numbers that a real cloud knows are missing, unreadable or all in use."""

    code = "rig.identities"


class StuckError(RigError):
    """A device does not end when it is switched off."""

    code = "rig.stuck"
