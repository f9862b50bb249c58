"""Where a device follows CloudSDK 2.0.0 to the letter, and where it keeps the manual's promises.

Each difference is one named switch, so that a cloud engineer can test against either or mix them.
"""

from dataclasses import dataclass
from typing import Final

from cloudsdk.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Behaviour switches; the section that states the original's behaviour stands behind each."""

    name: str
    #: The break point of a download is kept on flash and survives a reset (3.5: RAM only in 2.0.0).
    resume_survives_reset: bool
    #: A resumed answer must continue the same body, by Content-Range and ETag (3.3: any 206 does in 2.0.0).
    checks_resumed_body: bool
    #: A server that only dribbles is given up after a deadline (3.3: only a silent socket is, in 2.0.0).
    has_deadlines: bool
    #: Attempts are repeated for ever at constant distances (1.1, 2.1, 3.6).
    retries_forever: bool
    #: Any valid package is handed to the bootloader, whatever partition and version it is for (3.3).
    takes_any_package: bool
    #: A package that the bootloader refuses is downloaded again as often as the task comes (3.2).
    installs_forever: bool
    #: The version of a task is reported once its last package was downloaded, installed or not (3.2).
    reports_uninstalled: bool
    #: A download whose result cannot be saved blocks OTA until the next boot (3.6).
    unsaved_result_blocks: bool
    #: A task found installed while a download retries leaves that download without a URL (3.2).
    complete_set_clears_url: bool
    #: A cloud that sends the same task for ever is obeyed in silence (3.2).
    ignores_frozen_cloud: bool
    #: There is TLS: `https` and `mqtts` (summary: none in 2.0.0).
    has_tls: bool
    #: The port is asked before a download begins (3.1: the mode makes no difference in 2.0.0).
    heeds_upgrade_mode: bool
    #: Of the messages queued while one packet is handled only the first is sent (2.3 item 1).
    one_publish_per_packet: bool
    #: Every PUBLISH carries packet id 1 and is never tracked (2.3 item 2, as recorded).
    constant_packet_id: bool
    #: A new SN that starts with the stored one counts as unchanged, an empty `cld_act` as true (1.1).
    compares_stored_length: bool
    #: A complete set updates only `cld_dev_mver`, although `cld_ota_mver` is reported after a reboot (1.4).
    keeps_stale_task_version: bool
    #: The thread that calls init goes on before `cld_network` runs, as in the recordings; on a board the
    #: SDK's thread has the higher priority and prints first (6).
    init_caller_runs_first: bool
    #: `web_log` connects before the line that announces it, as in the recordings; on a board the MQTT thread
    #: has the higher priority and prints first (5, 6).
    log_thread_runs_first: bool
    #: A console connection that fails prints the error into itself until the stack is full (4, 5).
    reset_crashes: bool
    #: A shell whose key cannot be sent connects again, for ever (4).
    shell_key_retries_forever: bool
    #: A second 1025 takes the session over from the first, which stays open and unread (4).
    second_shell_takes_over: bool
    #: Shell and log may be open together, each with the other as its previous console (5).
    shell_and_log_together: bool
    #: After a log connection that could not be made every 1022 is ignored until the next boot (5).
    log_failure_is_sticky: bool
    #: A line of more than 1024 bytes leaves a mutex locked: no line is sent until the next boot (5).
    long_line_stops_log: bool


V2_0_0: Final = Profile(
    name="v2.0.0",
    resume_survives_reset=False,
    checks_resumed_body=False,
    has_deadlines=False,
    retries_forever=True,
    takes_any_package=True,
    installs_forever=True,
    reports_uninstalled=True,
    unsaved_result_blocks=True,
    complete_set_clears_url=True,
    ignores_frozen_cloud=True,
    has_tls=False,
    heeds_upgrade_mode=False,
    one_publish_per_packet=True,
    constant_packet_id=True,
    compares_stored_length=True,
    keeps_stale_task_version=True,
    init_caller_runs_first=True,
    log_thread_runs_first=True,
    reset_crashes=True,
    shell_key_retries_forever=True,
    second_shell_takes_over=True,
    shell_and_log_together=True,
    log_failure_is_sticky=True,
    long_line_stops_log=True,
)

MANUAL: Final = Profile(
    name="manual",
    resume_survives_reset=True,
    checks_resumed_body=True,
    has_deadlines=True,
    retries_forever=False,
    takes_any_package=False,
    installs_forever=False,
    reports_uninstalled=False,
    unsaved_result_blocks=False,
    complete_set_clears_url=False,
    ignores_frozen_cloud=False,
    has_tls=True,
    heeds_upgrade_mode=True,
    one_publish_per_packet=False,
    constant_packet_id=False,
    compares_stored_length=False,
    keeps_stale_task_version=False,
    init_caller_runs_first=False,
    log_thread_runs_first=False,
    reset_crashes=False,
    shell_key_retries_forever=False,
    second_shell_takes_over=False,
    shell_and_log_together=False,
    log_failure_is_sticky=False,
    long_line_stops_log=False,
)

PROFILES: Final = {profile.name: profile for profile in (MANUAL, V2_0_0)}


def profile_named(name: str) -> Profile:
    """The profile of that name; raises `UsageError` naming the known ones."""
    try:
        return PROFILES[name]
    except KeyError:
        raise UsageError(f"unknown profile {name!r}: choose one of {', '.join(PROFILES)}") from None
