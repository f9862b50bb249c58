"""Web Shell and Web Log of a fleet device, over real sockets."""

import asyncio
import hashlib
import json
import socket
import struct
from collections.abc import Iterable
from contextlib import ExitStack, closing

from fleet_rig import (
    DEVICE_ID,
    DEVICE_KEY,
    PRODUCT_ID,
    ScriptedCloud,
    exactly,
    fleet_of,
    listen,
    publish,
    until,
)

KEY = (DEVICE_ID + hashlib.md5(DEVICE_KEY.encode(), usedforsecurity=False).hexdigest()).encode()


class Echo:
    """A shell that says what it was told."""

    def feed(self, data: bytes, /) -> Iterable[bytes]:
        return [b"<" + data.strip() + b">\n"]

    def switched(self, *, remote: bool) -> Iterable[bytes]:
        return [b"msh />"] if remote else []


class ConsoleCloud(ScriptedCloud):
    """Asks for the console once, when the device is online."""

    command = b""

    def _answer(self, connection: socket.socket, channel: bytes) -> None:
        if channel == b"system":
            connection.sendall(publish(f"/device/{PRODUCT_ID}/{DEVICE_ID}/x", self.command))


def run(dp: int, serve: object) -> tuple[ConsoleCloud, str]:
    """A device that is sent to a console server; what the cloud noted, and the device's serial port."""
    cloud, console = ConsoleCloud(), list[str]()
    with ExitStack() as stack:
        stack.enter_context(closing(cloud))
        listener = stack.enter_context(listen(serve))  # type: ignore[arg-type]
        address = {"host": "127.0.0.1", "port": listener.getsockname()[1]}
        cloud.command = json.dumps({"data": [{"DP": dp, "value": address}]}).encode()
        fleet = fleet_of(
            ("SN1",),
            cloud.http_url,
            cloud.mqtt_url,
            console=lambda _sn, text: console.append(text),
            make_shell=lambda _port: Echo(),
        )
        asyncio.run(until(fleet, lambda: "is closed. Console resume" in "".join(console)))
    return cloud, "".join(console)


def test_a_web_shell_answers_and_gives_the_console_back() -> None:
    seen: list[bytes] = []

    def shell(connection: socket.socket) -> None:
        seen.append(exactly(connection, 48 + len(b"msh />")))
        connection.sendall(b"hello\n")
        seen.append(exactly(connection, len(b"<hello>\r\n")))
        connection.shutdown(socket.SHUT_WR)
        seen.append(connection.recv(100))  # empty: the device closes, too

    _, console = run(1025, shell)
    assert seen == [KEY + b"msh />", b"<hello>\r\n", b""]
    assert "Web Shell : start up success." in console


def test_a_web_log_gets_frames_and_its_end_is_published() -> None:
    seen: list[bytes] = []

    def log(connection: socket.socket) -> None:
        kind, _, length = struct.unpack(">BBH", exactly(connection, 4))
        seen.append(bytes([kind]) + exactly(connection, length))
        connection.shutdown(socket.SHUT_WR)

    cloud, _ = run(1022, log)
    assert seen == [b"\x01" + KEY]
    assert any(b'{"DP":1021,"value":false}' in packet for packet in cloud.mqtt[0])
