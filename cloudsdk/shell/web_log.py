"""Web Log: a copy of the console, line by line in frames, to a server (cloudsdk-protocol 5)."""

import struct
from collections.abc import Iterator
from typing import Final

from cloudsdk import events as ev
from cloudsdk.shell.console_device import LOCAL_CONSOLE
from cloudsdk.shell.remote import RemoteConsole, Server, Surroundings

MAX_PAYLOAD: Final = 1020  # bytes; one more overruns the original's buffer
BUFFER: Final = 1024  # bytes; a longer line leaves the original's mutex locked
KEEPALIVE: Final = ev.KeepAlive(idle=30, interval=30, probes=3)

_FRAME_HEADER: Final = struct.Struct(">BBH")  # 1, 0, length of the payload
_FRAME_TYPE: Final = 1


def frame(payload: bytes) -> bytes:
    """`01 00`, the length in two bytes big-endian, the payload (5). At most 65535 bytes."""
    return _FRAME_HEADER.pack(_FRAME_TYPE, 0, len(payload)) + payload


class LineFrames:
    """Makes frames of a byte stream: one per line, without its LF; empty lines make none.

    What follows the last LF waits for the next. A line that is too long is split, or, with `stops`, ends the
    frames for good. At most `BUFFER` + 1 bytes are kept.
    """

    def __init__(self, *, stops: bool) -> None:
        self._stops = stops
        self._stopped = False
        self._line = bytearray()

    def restart(self) -> None:
        """Forget what waits for its LF. The frames that were ended stay so: the mutex outlives a session."""
        self._line.clear()

    def feed(self, data: bytes) -> Iterator[bytes]:
        first, *rest = data.split(b"\n")
        yield from self._extend(first)
        for part in rest:
            yield from self._end_line()
            yield from self._extend(part)

    def _extend(self, part: bytes) -> Iterator[bytes]:
        if self._stops:
            self._line += part[: BUFFER + 1 - len(self._line)]
            return
        self._line += part
        while len(self._line) > MAX_PAYLOAD:
            yield frame(bytes(self._line[:MAX_PAYLOAD]))
            del self._line[:MAX_PAYLOAD]

    def _end_line(self) -> Iterator[bytes]:
        line = bytes(self._line)
        self._line.clear()
        self._stopped |= len(line) > BUFFER
        if line and not self._stopped:
            yield frame(line)


class WebLog(RemoteConsole):
    name = "weblog"
    thread = "web_log"
    tag = "cld.log"
    title = "Web Log"
    takes_local_input = True

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._frames = LineFrames(stops=surroundings.profile.long_line_stops_log)
        self._announced = True
        self._failed_for_good = False

    @property
    def threads(self) -> tuple[str, ...]:
        if self.is_active:
            return (self.thread, "web_log_read")
        return ("web_log_read",) if self._failed_for_good else ()

    def start(self, server: Server) -> None:
        """DP 1022."""
        if self.is_active or self._failed_for_good:
            return
        self._frames.restart()
        self._announced = not self._around.profile.log_thread_runs_first
        if self._announced:
            self._announce()
        self._connect(server, frame(self._around.key()), keepalive=KEEPALIVE, no_delay=True)

    def write(self, data: bytes, /) -> None:
        if self._previous is not None:
            self._previous.write(data)
        if self._connection is not None:
            for each in self._frames.feed(data):
                self._around.emit(ev.TcpSend(self._connection, each))

    def _opened(self) -> None:
        if self._around.console.device is not self:  # unless a shell gave it back to a log that had ended
            self._take_console()
        self._announce_late()

    def _failed(self, stage: ev.TcpStage) -> None:
        self._report_failure(stage)
        self._failed_for_good = self._around.profile.log_failure_is_sticky
        self._announce_late()

    def _announce_late(self) -> None:
        if not self._announced:
            self._announce()

    def _data(self, data: bytes) -> None:
        """Whatever the server sends is discarded."""

    def _closed(self, connection: str, end: ev.TcpEnd) -> None:
        if end is ev.TcpEnd.SEND_FAILED and self._around.profile.reset_crashes:
            self._crash()
            return
        self._release_console(connection)
        if not self._around.publish_log_state(False):
            self._error("Web Log close failed! Device log upgrade state error!")
        self._report_end(LOCAL_CONSOLE)
