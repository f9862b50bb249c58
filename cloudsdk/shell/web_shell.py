"""Web Shell: the console handed to a server, both ways an unframed stream (cloudsdk-protocol 4)."""

from typing import Final

from cloudsdk import events as ev
from cloudsdk.shell.remote import RemoteConsole, Server, Surroundings

SEND_SIZE: Final = 256  # bytes per send at most
RECEIVE_SIZE: Final = 1024  # bytes handed to the shell at a time at most
KEY_RETRY: Final = "shell-key-retry"  # timer


class WebShell(RemoteConsole):
    name = "webshell"
    thread = "web_shell"
    tag = "cld.shell"
    title = "Web Shell"
    takes_local_input = False

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._server = Server("", 0)

    @property
    def threads(self) -> tuple[str, ...]:
        return (self.thread,) if self.is_active else ()

    def start(self, server: Server) -> bool:
        """DP 1025; returns whether it could be served."""
        if self.is_active and not self._around.profile.second_shell_takes_over:
            return False
        self._server = server
        self._around.emit(ev.StopTimer(KEY_RETRY))
        self._announce()
        self._connect(server, self._around.key())
        return True

    def retry(self) -> None:
        """`KEY_RETRY` fired."""
        if not self.is_active:
            self._connect(self._server, self._around.key())

    def write(self, data: bytes, /) -> None:
        if self._connection is None:  # a second session had made it its own previous console
            self._crash()
            return
        stream = data.replace(b"\n", b"\r\n")
        for start in range(0, len(stream), SEND_SIZE):
            self._around.emit(ev.TcpSend(self._connection, stream[start : start + SEND_SIZE]))

    def _opened(self) -> None:
        self._take_console()
        self._around.console.tell_shell(remote=True)

    def _failed(self, stage: ev.TcpStage) -> None:
        self._report_failure(stage)
        if stage is ev.TcpStage.SEND and self._around.profile.shell_key_retries_forever:
            self._around.emit(ev.StartTimer(KEY_RETRY, self._around.limits.shell_key_retry))

    def _data(self, data: bytes) -> None:
        console = self._around.console
        for start in range(0, len(data), RECEIVE_SIZE):
            if console.device is self:
                console.feed(data[start : start + RECEIVE_SIZE])

    def _closed(self, connection: str, end: ev.TcpEnd) -> None:
        if end is not ev.TcpEnd.ORDERLY and self._around.profile.reset_crashes:
            self._crash()
            return
        self._release_console(connection)
        self._around.console.tell_shell(remote=False)
        self._report_end(self._around.console.device.name)
