"""Every bound of the gateways, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleLimits:
    """Bounds of Web Shell and Web Log. Times are seconds, sizes bytes unless said otherwise."""

    key_timeout: float = 10.0  # from the TCP connection to the whole key
    strangers: int = 256  # connections without a key at a time; more wait in the kernel
    stranger_drain: int = 1024 * 1024  # read of a refused connection before it is cut off
    close_patience: float = 5.0  # a device may take to close after the server's FIN until that is reported
    stop_patience: float = 3.0  # likewise when the server stops
    receive_size: int = 16 * 1024  # per read

    shells: int = 256  # open or opening at a time
    shell_connect: float = 20.0  # from 1025 until whoever asked is told that the device does not come
    shell_settle: float = 60.0  # from 1025 until another may go out: two at a time crash the device (4)
    shell_idle: float = 1800.0  # without a byte either way until the shell is closed
    shell_output: int = 64 * 1024  # kept for a viewer; while it is full the device is not read
    shell_stall: float = 60.0  # with `shell_output` full until the shell is closed: the device is blocked
    shell_input: int = 4096  # typed and not yet taken by the device; more waits

    log_idle: float = 300.0  # without data until the log is turned off (platform 6.3)
    log_answer: float = 5.0  # from 1020 to 1021
    log_attempts: int = 3  # of 1020 until the device counts as silent
    log_connect: float = 30.0  # from 1022 to the connection; later the device counts as blocked (5)
    log_settle: float = 1.0  # from 1000 to 1020: a device loses one of two answers in a row (2.3)
    log_retry: float = 5.0  # from the end of a log connection that is still wanted to 1020; doubles
    log_retry_longest: float = 300.0
    log_line: int = 4096  # characters of a stored line; what is longer becomes several
    log_flush: float = 0.2  # from the first line that waits to its storage
    log_pending: int = 2000  # lines of a device that wait for storage; then the device is not read
    log_viewers: int = 16  # per device
    log_viewer_lines: int = 1000  # kept for a viewer that does not read; the oldest are lost
