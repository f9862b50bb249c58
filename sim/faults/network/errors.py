"""Errors of the fault proxy."""

from cloudsdk.errors import CloudSdkError


class FaultSpecError(CloudSdkError):
    """A fault, or a file of faults, that cannot be."""

    code = "faults.spec"
    exit_status = 2


class NotLoopbackError(CloudSdkError):
    """Faults are for this machine only."""

    code = "faults.not-loopback"
    exit_status = 2


class ProxyListenError(CloudSdkError):
    """An address the proxy cannot listen on."""

    code = "faults.listen"
