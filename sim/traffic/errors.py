"""Errors of recordings."""

from cloudsdk.errors import CloudSdkError


class RecordingError(CloudSdkError):
    """A file that is no recording, or one that cannot be read."""

    code = "traffic.recording"
    exit_status = 2


class TranscriptError(CloudSdkError):
    """A transcript that cannot be imported."""

    code = "traffic.transcript"
    exit_status = 2


class RecordingStoppedError(CloudSdkError):
    """A recording that ended before the traffic did."""

    code = "traffic.stopped"


class DeviationError(CloudSdkError):
    """The live side does something else than the recorded one."""

    code = "traffic.deviation"
