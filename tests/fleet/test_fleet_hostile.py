"""What a broken or hostile cloud does to some devices does not reach the others."""

import asyncio
import json
import socket
import threading

import pytest
from fleet_rig import DEVICE_KEY, exactly, fleet_of, listen, until

from cloudsdk.limits import Limits
from sim.fleet.events import Phase

LIMITS = Limits(http_timeout=0.3, activation_retry=0.1, mqtt_answer=0.3, mqtt_reconnect=0.1)
GOOD = tuple(f"GOOD{number}" for number in range(5))
HEAD = b"HTTP/1.1 200 OK\r\n"
#: What answers an activation, by serial number.
HTTP = {
    "SILENT": b"",
    "GARBAGE": b"\x00\xff" * 300 + b"\r\n\r\n",
    "ENDLESS-HEAD": HEAD + b"X: " + b"y" * 50_000,
    "LYING-LENGTH": HEAD + b"Content-Length: -7\r\n\r\n{}",
    "HUGE-BODY": HEAD + b"Content-Length: 999999999\r\n\r\n" + b" " * 300_000,
    "BAD-CHUNK": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "NO-JSON": HEAD + b'Content-Length: 9\r\n\r\n{"Device"',
    "LOOP": b"HTTP/1.1 301 Moved\r\nLocation: /devices/active\r\nContent-Length: 0\r\n\r\n",
    "ELSEWHERE": b"HTTP/1.1 302 Found\r\nLocation: ftp://x\r\n\r\n",
}
#: What answers CONNECT, by serial number.
MQTT = {
    "MQTT-SILENT": b"",
    "MQTT-GARBAGE": b"\xff" * 100,
    "MQTT-REFUSES": b"\x20\x02\x00\x05",
    "MQTT-TOO-LARGE": b"\x30\xff\xff\xff\x7f",
    "MQTT-BAD-TOPIC": b"\x20\x02\x00\x00\x30\x05\x00\x03\xff\xfe\xfd",
}


class HostileCloud:
    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self._closing = threading.Event()
        self.listeners = [listen(self._http), listen(self._mqtt)]
        ports = [listener.getsockname()[1] for listener in self.listeners]
        self.urls = f"http://127.0.0.1:{ports[0]}", f"mqtt://127.0.0.1:{ports[1]}"

    def close(self) -> None:
        self._closing.set()
        for listener in self.listeners:
            listener.close()

    def _http(self, connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"}"):
            request += connection.recv(4096) or exactly(connection, 1)
        sn = json.loads(request.partition(b"\r\n\r\n")[2])["SN"]
        answer = HTTP.get(sn)
        if answer is None:
            device_id = f"{len(self._names):016x}"
            self._names[device_id.encode()] = sn
            body = json.dumps({"DeviceId": device_id, "DeviceKey": DEVICE_KEY}).encode()
            answer = HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        connection.sendall(answer)
        if not answer:
            self._closing.wait(20)

    def _mqtt(self, connection: socket.socket) -> None:
        connect = connection.recv(4096)
        sn = next(sn for device_id, sn in self._names.items() if device_id in connect for sn in [sn])
        connection.sendall(MQTT.get(sn, b"\x20\x02\x00\x00"))
        if sn in MQTT:
            if sn == "MQTT-SILENT":
                self._closing.wait(20)
            return
        subscribe = connection.recv(4096)
        connection.sendall(b"\x90\x03" + subscribe[2:4] + b"\x00")
        self._closing.wait(20)


@pytest.fixture
def hostile() -> "HostileCloud":  # closed by the test, whose threads wait for it
    return HostileCloud()


def test_every_good_device_comes_and_stays_online(
    hostile: HostileCloud, caplog: pytest.LogCaptureFixture
) -> None:
    bad = (*HTTP, *MQTT)
    fleet = fleet_of((*bad, *GOOD), *hostile.urls, limits=LIMITS, boot_time=0.01)

    def told_of_all() -> bool:
        states = {state.sn: state for state in fleet.states()}
        return all(states.get(sn) and states[sn].phase is Phase.ONLINE for sn in GOOD) and all(
            states[sn].cause for sn in bad
        )

    asyncio.run(until(fleet, told_of_all))
    hostile.close()
    causes = {sn: fleet.state(sn).cause for sn in bad}
    assert "core" not in " ".join(causes.values())
    assert causes["SILENT"] == "activation: timeout"
    assert causes["LOOP"] == "activation: no connection"
    assert "no HTTP status line" in causes["GARBAGE"]
    assert "headers of more than" in causes["ENDLESS-HEAD"]
    assert "return code 5" in causes["MQTT-REFUSES"]
    assert "malformed packet" in causes["MQTT-TOO-LARGE"]
    assert causes["MQTT-SILENT"] == "MQTT gave no answer"
    assert not fleet.metrics.causes.keys() - set(causes.values()) - {"MQTT lost: connection closed"}
    assert not [record for record in caplog.records if record.exc_info]


def test_a_broker_that_does_not_read_is_left() -> None:
    """A 1010 without end must not pile up answers in the device."""
    question = b'\x30\x1d\x00\x05/a/bc{"data":[{"DP":1010}]}'
    question = b"\x30" + bytes([len(question) - 2]) + question[2:]
    closing = threading.Event()

    def http(connection: socket.socket) -> None:
        connection.recv(4096)
        body = json.dumps({"DeviceId": "0" * 16, "DeviceKey": DEVICE_KEY}).encode()
        connection.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def mqtt(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.recv(4096)
        connection.sendall(b"\x20\x02\x00\x00\x90\x03\x00\x01\x00")
        while not closing.is_set():
            connection.sendall(question * 100)

    listeners = [listen(http), listen(mqtt)]
    ports = [listener.getsockname()[1] for listener in listeners]
    fleet = fleet_of(("SN1",), f"http://127.0.0.1:{ports[0]}", f"mqtt://127.0.0.1:{ports[1]}", limits=LIMITS)
    asyncio.run(until(fleet, lambda: "MQTT lost: the broker does not read" in fleet.metrics.causes))
    closing.set()
    for listener in listeners:
        listener.close()
