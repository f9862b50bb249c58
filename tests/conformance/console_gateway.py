"""A small Web Shell and Web Log beside the reference cloud, with mistakes that can be planted."""

import asyncio
import contextlib
import json
import queue
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from sim.cloud.links import EmbeddedLink
from sim.cloud.messages import Outgoing
from sim.cloud.service import Service
from sim.conformance.cloud.reference import ReferenceHook

KEY_LENGTH = 48
IDLE = 0.4  # seconds


class View:
    """The engineer's end of a shell."""

    def __init__(self, faults: frozenset[str]) -> None:
        self.output: queue.Queue[bytes] = queue.Queue()
        self.faults = faults
        self.connection: socket.socket | None = None

    def type(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(data.replace(b"\n", b"\r\n") if "crlf" in self.faults else data)

    def read(self, seconds: float) -> bytes:
        with contextlib.suppress(queue.Empty):
            return self.output.get(timeout=seconds)
        return b""

    def close(self) -> None:
        assert self.connection is not None
        finish(self.connection, self.faults)


def finish(connection: socket.socket, faults: frozenset[str]) -> None:
    if "reset" in faults:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
    elif "stays-open" not in faults:
        connection.shutdown(socket.SHUT_WR)


class Gateway(ReferenceHook):
    """The hook of a cloud whose consoles this is. `faults` are the planted mistakes."""

    def __init__(self, admin: Any, link: "Link", faults: frozenset[str]) -> None:
        super().__init__(admin)
        self._client = admin
        self._link = link
        self.faults = faults
        self.view = View(faults)
        self.lines: list[str] = []
        self.log: socket.socket | None = None
        self.logging = False
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self._connections: list[socket.socket] = []
        for listener, serve in zip(self.listeners, (self._serve_shell, self._serve_log), strict=True):
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()

    def close(self) -> None:
        for each in (*self.listeners, *self._connections):
            each.close()

    def _accept(self, listener: socket.socket, serve: Any) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(10)
                self._connections.append(connection)
                threading.Thread(target=self._guard, args=(serve, connection), daemon=True).start()

    @staticmethod
    def _guard(serve: Any, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            serve(connection)

    # Shell

    def ask_for_shell(self, product_id: str, sn: str) -> View:
        if self.logging and "both" not in self.faults:
            raise RuntimeError("the log is on")
        self.view = View(self.faults)
        self._device = self._client.show_device(sn, product=product_id, keys=True)
        for _ in range(2 if "twice" in self.faults else 1):
            self._send(1025, self._address(0))
        return self.view

    def _address(self, number: int) -> dict[str, object]:
        port = self.listeners[number].getsockname()[1]
        if "late" in self.faults:
            with socket.create_server(("127.0.0.1", 0)) as later:  # nobody listens there
                port = later.getsockname()[1]
        return {"host": "localhost" if "name" in self.faults else "127.0.0.1", "port": port}

    def _send(self, dp: int, value: object) -> None:
        topic = f"/device/{self._device['product_id']}/{self._device['device_id']}/x"
        self._link.publish(topic, json.dumps({"data": [{"DP": dp, "value": value}]}).encode())

    def _serve_shell(self, connection: socket.socket) -> None:
        key = b""
        while len(key) < KEY_LENGTH:
            key += connection.recv(KEY_LENGTH - len(key))
        if not key.startswith(self._device["device_id"].encode()) and "anyone" not in self.faults:
            connection.shutdown(socket.SHUT_WR)
            return
        if "key-shown" in self.faults:
            self.view.output.put(key)
        self.view.connection = connection
        while data := connection.recv(1024):
            self.view.output.put(data)

    # Log

    def switch_log(self, product_id: str, sn: str, *, on: bool) -> None:
        self._device = self._client.show_device(sn, product=product_id, keys=True)
        self.logging = on
        self._send(1020, on)
        if on and "hasty" in self.faults:
            self._send(1022, self._address(1))

    def heard(self, dp: int, value: object) -> None:
        if dp == 1021 and value is True:
            self._send(1022, self._address(1))
        elif dp == 1021 and self.log is not None:
            finish(self.log, self.faults)

    def log_lines(self, product_id: str, sn: str) -> Sequence[str]:
        return self.lines

    def log_idle_limit(self) -> float:
        return IDLE

    def _serve_log(self, connection: socket.socket) -> None:
        self.log, self.lines = connection, []
        data = b""
        connection.settimeout(0.05)
        last = time.monotonic()
        told = False
        while True:
            try:
                piece = connection.recv(1024)
            except TimeoutError:
                if time.monotonic() - last > IDLE and not told and "tireless" not in self.faults:
                    told = True
                    self._send(1020, False)
                continue
            if not piece:
                return
            last = time.monotonic()
            data = self._frames(piece if "one-frame-per-segment" in self.faults else data + piece)

    def _frames(self, data: bytes) -> bytes:
        while len(data) >= 4 and len(data) >= 4 + (length := int.from_bytes(data[2:4], "big")):
            if length != KEY_LENGTH:
                self.lines.append(data[4 : 4 + length].decode(errors="replace"))
            data = data[4 + length :]
        return data


class Link:
    """A way to publish through the cloud's broker, and to hear what devices say about their log."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.gateway: Gateway | None = None
        self._links: list[tuple[EmbeddedLink, asyncio.AbstractEventLoop]] = []
        start, message = EmbeddedLink.start, Service.device_message

        async def started(link: EmbeddedLink, *args: Any, **more: Any) -> None:
            await start(link, *args, **more)
            self._links.append((link, asyncio.get_running_loop()))

        def heard(service: Service, device_id: str, topic: str, payload: bytes, **more: Any) -> Any:
            if self.gateway is not None:
                with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
                    point = json.loads(payload)["data"][0]
                    # Publishing waits for the loop, which waits for this thread.
                    threading.Thread(
                        target=self.gateway.heard, args=(point["DP"], point["value"]), daemon=True
                    ).start()
            return message(service, device_id, topic, payload, **more)

        patch.setattr(EmbeddedLink, "start", started)
        patch.setattr(Service, "device_message", heard)

    def publish(self, topic: str, payload: bytes) -> None:
        link, loop = self._links[-1]
        asyncio.run_coroutine_threadsafe(link.publish(Outgoing(topic, payload)), loop).result(5)
