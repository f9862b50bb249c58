"""A scripted cloud that notes what the device sends, in the notation of the recordings.

It parses MQTT by itself, so that the project's own codec cannot hide a mistake.
"""

import ast
import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Callable

TIMEOUT = 10.0


class Listener:
    """Accepts connections on a free loopback port, one thread each."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                connection.settimeout(TIMEOUT)
                self._connections.append(connection)
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            self._serve(connection)

    def close(self) -> None:
        self._socket.close()
        for connection in self._connections:
            connection.close()


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _string(body: bytes, position: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">H", body, position)
    start = position + 2
    return body[start : start + length], start + length


class Broker:
    """Takes every device; `tap` holds its packets as text, `seen` hands them out one by one."""

    def __init__(self) -> None:
        self.tap: list[str] = []
        self.seen: queue.Queue[str] = queue.Queue()
        self.current: socket.socket | None = None
        self.listener = Listener(self._serve)

    def _note(self, text: str) -> None:
        self.tap.append(text)
        self.seen.put(text)

    def _serve(self, connection: socket.socket) -> None:
        self.current = connection
        while True:
            first = _exactly(connection, 1)[0]
            length = shift = 0
            while True:
                byte = _exactly(connection, 1)[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            answer = self._packet(first >> 4, first & 15, _exactly(connection, length))
            if answer:
                connection.sendall(answer)

    def _packet(self, kind: int, flags: int, body: bytes) -> bytes:
        if kind == 1:
            protocol, at = _string(body, 0)
            level, connect_flags, keepalive = struct.unpack_from(">BBH", body, at)
            client, at = _string(body, at + 4)
            will_topic, at = _string(body, at)
            will, at = _string(body, at)
            user, at = _string(body, at)
            password, at = _string(body, at)
            assert at == len(body)
            self._note(
                f"dev> CONNECT flags={flags} proto={protocol} level={level} connflags={connect_flags:#x} "
                f"keepalive={keepalive} clientid={client}\n"
                f"     will topic={will_topic} msg={will} qos={connect_flags >> 3 & 3} "
                f"retain={connect_flags >> 5 & 1}\n     user={user} pass={password}"
            )
            return b"\x20\x02\x00\x00"
        if kind == 8:
            (packet_id,) = struct.unpack_from(">H", body)
            topic, at = _string(body, 2)
            self._note(f"dev> SUBSCRIBE flags={flags} mid={packet_id} topic={topic} qos={body[at]}")
            return b"\x90\x03" + body[:2] + b"\x00"
        if kind == 3:
            topic, at = _string(body, 0)
            (packet_id,) = struct.unpack_from(">H", body, at)
            self._note(
                f"dev> PUBLISH flags={flags} topic={topic} qos={flags >> 1 & 3} mid=0x{packet_id:04x} "
                f"payload={body[at + 2 :]}"
            )
            return b"\x40\x02" + body[at : at + 2]
        if kind == 12:
            self._note("dev> PINGREQ")
            return b"\xd0\x00"
        raise AssertionError(f"packet type {kind}")

    def expect(self, start: str) -> str:
        """The next packet; it must begin with `start`."""
        packet = self.seen.get(timeout=TIMEOUT)
        assert packet.startswith(start), packet
        return packet

    def publish(self, topic: str, payload: bytes) -> None:
        body = struct.pack(">H", len(topic)) + topic.encode() + payload
        header = bytearray(b"\x30")
        length = len(body)
        while True:
            length, byte = divmod(length, 128)[0], length % 128
            header.append(byte | (0x80 if length else 0))
            if not length:
                break
        assert self.current is not None
        self.current.sendall(bytes(header) + body)

    def drop(self) -> None:
        assert self.current is not None
        self.current.shutdown(socket.SHUT_RDWR)


class ConsoleServer:
    """A shell or log server that follows a recording: reads as many bytes as it read, sends what it sent."""

    def __init__(self, recording: str) -> None:
        self.steps = _console_steps(recording)
        self.seen: list[tuple[str, bytes]] = []
        self.connections = 0
        self.may_send = threading.Semaphore(0)
        self.ended = threading.Event()
        self.listener = Listener(self._serve)

    def _serve(self, connection: socket.socket) -> None:
        self.connections += 1
        for step, data in self.steps:
            if step == "recv":
                self.seen.append((step, _exactly(connection, len(data))))
                continue
            assert self.may_send.acquire(timeout=TIMEOUT)
            if step == "send":
                connection.sendall(data)
                self.seen.append((step, data))
            else:
                connection.shutdown(socket.SHUT_WR)
                self.seen.append((step, connection.recv(4096)))  # empty: the device closes, too
        self.ended.set()


def _console_steps(recording: str) -> list[tuple[str, bytes]]:
    """`recv`, `send` and `close` in order; bytes received in several pieces are one step."""
    steps: list[tuple[str, bytes]] = []
    for line in recording.splitlines():
        text = line.split("]", 1)[1].strip()
        if text.startswith("recv "):
            data = ast.literal_eval(text.split(" ", 2)[2].rpartition(" first16=")[0])
            if steps and steps[-1][0] == "recv":
                data = steps.pop()[1] + data
            steps.append(("recv", data))
        elif text.startswith("send "):
            sent = text.removeprefix("send ")
            steps.append(("send", ast.literal_eval(sent) if sent.startswith("b'") else sent.encode()))
        elif text == "closing":
            steps.append(("close", b""))
    return steps


class HttpServer:
    """Answers each request with what `answers` holds next; `log` has the raw requests."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.answers: queue.Queue[bytes] = queue.Queue()
        self.listener = Listener(self._serve)

    def _serve(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        head, _, body = request.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.startswith(b"Content-Length: "):
                while len(body) < int(line[16:]):
                    body += connection.recv(4096)
        self.log.append(head + b"\r\n\r\n" + body)
        connection.sendall(self.answers.get(timeout=TIMEOUT))
        connection.shutdown(socket.SHUT_WR)
