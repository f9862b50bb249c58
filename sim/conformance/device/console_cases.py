"""Web Shell and Web Log of a device (cloudsdk-protocol 4, 5)."""

import socket
import struct
import threading
from typing import Final

from cloudsdk.datapoints import DataPoint
from sim.conformance.case import Severity, expect, expect_equal
from sim.conformance.device.bench import SETTLE, SUITE, DeviceBench
from sim.conformance.device.scripted_cloud import reset

PROMPT: Final = b"msh />"
KEY_LENGTH: Final = 48  # bytes (4)
_PIECE: Final = 4096
_HEADER: Final = struct.Struct("!BBH")


class _Server:
    """A shell or log server that keeps what the device sends."""

    def __init__(self, bench: DeviceBench) -> None:
        self.bench = bench
        self.data = b""
        self.connections: list[socket.socket] = []
        self.closed = threading.Event()
        self.port = bench.cloud.listen(self._serve)

    def _serve(self, connection: socket.socket) -> None:
        self.connections.append(connection)
        self.data = b""
        while piece := connection.recv(_PIECE):
            self.data += piece
        self.closed.set()

    def invite(self, dp: DataPoint, port: int | None = None) -> None:
        self.bench.cloud.say(dp, {"host": "127.0.0.1", "port": port or self.port})

    def waits_for(self, text: bytes, what: str) -> None:
        self.bench.wait(lambda: text in self.data, what)

    @property
    def key(self) -> bytes:
        credentials = self.bench.cloud.credentials
        return (credentials.device_id + credentials.password).encode()


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@SUITE.case(
    "shell-session",
    "A shell begins with the key, takes commands, ends with the server",
    "cloudsdk-protocol 4",
)
def shell_session(bench: DeviceBench) -> None:
    """48 bytes without a frame, then the console as a stream."""
    bench.online()
    server = _Server(bench)
    server.invite(DataPoint.SHELL_SERVER)
    server.waits_for(PROMPT, "the prompt in the shell")
    expect(server.data.startswith(server.key), "the key first", "something else")
    seen = len(server.data)
    server.connections[0].sendall(b"version\n")
    bench.wait(lambda: server.data[seen:].endswith(PROMPT), "the prompt after a command")
    expect(len(server.data) > seen + len(PROMPT), "the output of `version`", server.data[seen:])
    server.connections[0].shutdown(socket.SHUT_WR)
    bench.wait(server.closed.is_set, "the device closing, too")
    bench.answers("0.0")


@SUITE.case("shell-again", "After a shell that could not connect the next one works", "cloudsdk-protocol 4")
def shell_again(bench: DeviceBench) -> None:
    """The server of the first was not there."""
    bench.online()
    server = _Server(bench)
    server.invite(DataPoint.SHELL_SERVER, _closed_port())
    bench.answers("0.0")
    bench.settle()
    server.invite(DataPoint.SHELL_SERVER)
    server.waits_for(PROMPT, "the prompt in the shell")


@SUITE.case(
    "shell-reset",
    "A reset of the shell's connection does no harm",
    "cloudsdk-protocol 4",
    severity=Severity.SHOULD,
)
def shell_reset(bench: DeviceBench) -> None:
    """CloudSDK 2.0.0 crashes."""
    bench.online()
    server = _Server(bench)
    server.invite(DataPoint.SHELL_SERVER)
    server.waits_for(PROMPT, "the prompt in the shell")
    connects = len(bench.cloud.connects)
    reset(server.connections[0])
    bench.settle(3 * SETTLE)  # for a crash and the boot behind it
    bench.answers("0.0")
    expect_equal(len(bench.cloud.connects), connects, "connections to the broker")


@SUITE.case("log-session", "1020, 1021, 1022: the log comes in frames", "cloudsdk-protocol 5")
def log_session(bench: DeviceBench) -> None:
    """The key is the first frame, each line another one."""
    bench.online()
    server = _Server(bench)
    states = bench.cloud.values
    bench.cloud.say(DataPoint.LOG_SWITCH, True)
    bench.wait(lambda: True in states(DataPoint.LOG_STATE), "1021 true")
    server.invite(DataPoint.LOG_SERVER)
    bench.wait(lambda: len(server.data) >= KEY_LENGTH + _HEADER.size, "the key")
    expect_equal(_HEADER.unpack(server.data[:4]), (1, 0, KEY_LENGTH), "the header of the first frame")
    expect(server.data[4 : 4 + KEY_LENGTH] == server.key, "the key first", "something else")
    bench.cloud.say(DataPoint.LOG_SWITCH, False)
    bench.wait(lambda: False in states(DataPoint.LOG_STATE), "1021 false")
    server.connections[0].shutdown(socket.SHUT_WR)
    bench.wait(server.closed.is_set, "the device closing, too")
    bench.answers("0.0")


@SUITE.case(
    "log-again",
    "After a log that could not connect the next one works",
    "cloudsdk-protocol 5",
    severity=Severity.SHOULD,
)
def log_again(bench: DeviceBench) -> None:
    """CloudSDK 2.0.0 ignores every later 1022 until it is reset."""
    bench.online()
    server = _Server(bench)
    bench.cloud.say(DataPoint.LOG_SWITCH, True)
    bench.wait(lambda: True in bench.cloud.values(DataPoint.LOG_STATE), "1021 true")
    server.invite(DataPoint.LOG_SERVER, _closed_port())
    bench.answers("0.0")
    bench.settle()
    server.invite(DataPoint.LOG_SERVER)
    bench.wait(lambda: len(server.data) >= KEY_LENGTH, "the key")
