"""The device in profile v2.0.0 against recordings of the original CloudSDK, over real sockets: t2, t3, t4."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_stand_in import StandInShell
from recorded_cloud import Broker, ConsoleServer, HttpServer

from cloudsdk import console
from cloudsdk.client import CloudClient, Exit
from cloudsdk.fal import PartitionTable
from cloudsdk.limits import Limits
from cloudsdk.ota.rt_ota import RtOta
from cloudsdk.ota.transport import cipher, rounded
from cloudsdk.port import OtaStatus, Port
from cloudsdk.profile import V2_0_0
from cloudsdk.session import Session, Storage

RECORDINGS = Path(__file__).parent.parent / "data" / "transcripts" / "cloudsdk"
PRODUCT_ID, DEVICE_ID = "8fa1b2c3d4e5f607", "9017444f3bec4453"
DEVICE_KEY = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PRODUCT_KEY, SN = "d1234567-89ab-4cde-9f01-23456789abcd", "EF4016D6658466CA3E3610"
LIMITS = Limits(download_retry=0.01, mqtt_reconnect=0.01)
PACKAGE = bytes(index * 11 & 0xFF for index in range(10003))


class RecordedEnv:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.calls: list[str] = []

    def get(self, key: str) -> str | None:
        return self.values.get(key)

    def set(self, key: str, value: str) -> None:
        self.calls.append(f"{key},{value}")
        self.values[key] = value

    def delete(self, key: str) -> None:
        del self.values[key]

    def save(self) -> None:
        pass


class RecordedPartition:
    name, size, block_size, program_unit = "download", 1 << 20, 4096, 1

    def __init__(self) -> None:
        self.content = bytearray(b"\xff" * self.size)
        self.writes: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.content[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self.writes.append((offset, len(data)))
        self.content[offset : offset + len(data)] = data

    def erase(self, offset: int, length: int) -> None:
        self.content[offset : offset + length] = b"\xff" * length


class RecordersBoard(Port):
    """What the recorder put under the library: partitions, versions, and an rt_ota that says little."""

    def __init__(self, http: int, mqtt: int) -> None:
        super().__init__(SN, PRODUCT_ID, PRODUCT_KEY, f"http://127.0.0.1:{http}", f"mqtt://127.0.0.1:{mqtt}")
        self.env = RecordedEnv()
        self.download = RecordedPartition()
        self.versions = {"app": "1.0.0"}
        self.hooks: list[str] = []

    def find(self, name: str) -> RecordedPartition | None:
        return self.download if name == "download" else None

    def ota_start(self) -> None:
        self.hooks.append("ota_start")

    def ota_end(self, status: OtaStatus) -> bool:
        self.hooks.append(f"ota_end {int(status)}")
        return super().ota_end(status)

    def make_ota(self, partitions: PartitionTable, write: object) -> RtOta:
        board = self

        class RecordersOta(RtOta):
            def firmware_version(self, name: str) -> str | None:
                return board.versions.get(name)

            def erase(self, name: str, size: int) -> None:
                self._write(console.ota_info(f"The partition '{name}' is erasing."))
                board.download.erase(0, size)

            def verify(self, name: str) -> bool:
                return True

        return RecordersOta(partitions, write, version="0.1.3")  # type: ignore[arg-type]


class Recorder:
    """One device under test with the scripted cloud it talks to."""

    def __init__(self) -> None:
        self.broker, self.http = Broker(), HttpServer()
        self.board = RecordersBoard(self.http.listener.port, self.broker.listener.port)
        self.console: list[str] = []
        self.shell = StandInShell()
        self._client: CloudClient | None = None
        self._thread: threading.Thread | None = None
        self._exit: Exit | None = None

    def boot(self) -> None:
        session = Session(
            self.board,
            Storage(self.board, self.board.env),  # type: ignore[arg-type]
            profile=V2_0_0,
            limits=LIMITS,
            make_ota=self.board.make_ota,
            shell=self.shell,
        )
        client = CloudClient(session, profile=V2_0_0, limits=LIMITS, console=self.console.append)

        def run() -> None:
            self._exit = client.run()

        self._client, self._thread = client, threading.Thread(target=run, daemon=True)
        self._thread.start()

    def type(self, data: bytes) -> None:
        assert self._client is not None
        self._client.type(data)

    def ended(self) -> Exit | None:
        assert self._thread is not None
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self._exit

    def stop(self) -> None:
        if self._client is not None:
            self._client.stop()
            self.ended()

    def wait_for_text(self, text: str) -> None:
        deadline = threading.Event()
        for _ in range(1000):
            if text in "".join(self.console):
                return
            deadline.wait(0.01)
        raise AssertionError(f"the console never said {text!r}")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.stop()
    recorder.broker.listener.close()
    recorder.http.listener.close()


def recorded_console(name: str) -> list[str]:
    """The device's own lines: without the recorder's notes and the OS calls it logged in between."""
    text = re.sub(r" {6}<os> [^\n\x1b]*", "", (RECORDINGS / f"dev.{name}.log").read_text())
    notes = re.compile(r">>>|=====|exit=|fw\d content OK|cld_\w+=")
    return [line for line in text.splitlines() if line and not notes.match(line)]


def recorded_tap(name: str) -> list[str]:
    """What the device sent. In one place the recorder's two writers shared a line."""
    text = re.sub(r"(?<=')  <br [^\n]*", "", (RECORDINGS / f"tap.{name}.log").read_text())
    lines = [
        line for line in text.splitlines() if line.strip() and not line.startswith(("  <br", "dev> closed"))
    ]
    return re.split(r"\n(?=dev> )", "\n".join(lines))


def recorded_requests(name: str) -> list[bytes]:
    text = (RECORDINGS / f"http.{name}.log").read_text()
    requests = re.split(r"--- HTTP request\n", text)[1:]
    raw = [re.sub(r"--- cutting.*\n", "", request).rstrip("\n") for request in requests]
    return [request.replace("\\r\\n\n", "\r\n").replace("\\r\\n", "\r\n").encode() for request in raw]


def requests_to(recorder: Recorder) -> list[bytes]:
    """Requests as they came, with the loopback address in the place of the recorded ones."""
    return recorder.http.log


def with_hosts(requests: list[bytes]) -> list[bytes]:
    return [re.sub(rb"Host: [\d.]+\r\n", b"Host: 127.0.0.1\r\n", request) for request in requests]


def recorded_env(name: str) -> list[str]:
    return re.findall(r"<os> ef_set_env\((.*)\)", (RECORDINGS / f"dev.{name}.log").read_text())


def activation_answer() -> bytes:
    body = json.dumps({"DeviceId": DEVICE_ID, "DeviceKey": DEVICE_KEY}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def lines(recorder: Recorder) -> list[str]:
    return "".join(recorder.console).splitlines()


def test_t2_first_boot_data_points_and_reconnect(recorder: Recorder) -> None:
    broker = recorder.broker
    recorder.http.answers.put(activation_answer())
    recorder.boot()
    for packet in ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH"):
        broker.expect(packet)
    published = re.findall(
        r"<br PUBLISH flags=0 topic=b'(.*?)' qos=0 payload=b'(.*)'\n", (RECORDINGS / "tap.t2.log").read_text()
    )
    assert len(published) == 10
    answered = {'{"data":[{"DP":1010}]}', '{"data":[{"dp":1010}]}'}
    for topic, payload in published:
        broker.publish(topic, payload.encode())
        if payload in answered or ('DP":1020' in payload and "value" in payload):
            broker.expect("dev> PUBLISH")
    # One query more than recorded: its answer shows that everything before was handled.
    broker.publish(published[0][0], published[0][1].encode())
    broker.expect("dev> PUBLISH")
    assert broker.tap[:-1] == recorded_tap("t2")

    broker.drop()
    for packet in ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH"):
        broker.expect(packet)
    broker.drop()
    broker.expect("dev> CONNECT")
    broker.expect("dev> SUBSCRIBE")
    recorder.stop()

    wanted = recorded_console("t2")
    assert lines(recorder)[: len(wanted)] == wanted
    assert requests_to(recorder) == with_hosts(recorded_requests("t2"))
    assert recorder.board.env.calls == recorded_env("t2")


def test_t3_download_cut_and_resumed_then_a_second_firmware(recorder: Recorder) -> None:
    broker, http, board = recorder.broker, recorder.http, recorder.board
    padded = PACKAGE.ljust(rounded(len(PACKAGE)), b"\0")
    encrypted = cipher(DEVICE_KEY).encryptor().update(padded)
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(encrypted)
    part = b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\n\r\n" % (len(encrypted) - 4096)
    topic, payload = re.search(
        r"<br PUBLISH flags=0 topic=b'(\S+)' qos=0 payload=b'(\S+1012\S+)'\n",
        (RECORDINGS / "tap.t3.log").read_text(),
    ).groups()
    task = payload.replace("10.0.0.5:8090", f"127.0.0.1:{http.listener.port}").encode()
    query = b'{"data":[{"DP":1010}]}'

    http.answers.put(activation_answer())
    http.answers.put(whole + encrypted[:5000])
    http.answers.put(part + encrypted[4096:])
    recorder.boot()
    for packet in ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH"):
        broker.expect(packet)
    broker.publish(topic, task)
    assert recorder.ended() is Exit.RESET
    assert bytes(board.download.content[: len(padded)]) == padded

    board.versions["app"] = "2.0.0"
    http.answers.put(whole + encrypted)
    recorder.boot()
    for packet in ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH"):
        broker.expect(packet)
    broker.publish(topic, query)
    broker.expect("dev> PUBLISH")
    broker.publish(topic, task)
    assert recorder.ended() is Exit.RESET

    board.versions["filesystem"] = "0.1"
    recorder.boot()
    for packet in ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH"):
        broker.expect(packet)
    broker.publish(topic, query)
    broker.expect("dev> PUBLISH")
    broker.publish(topic, task)
    broker.publish(topic, query)
    broker.expect("dev> PUBLISH")
    recorder.stop()

    # The recording begins with a connection of an earlier start, which its console does not show.
    assert broker.tap == recorded_tap("t3")[3:]
    assert lines(recorder) == recorded_console("t3")
    assert requests_to(recorder) == with_hosts(recorded_requests("t3"))
    assert board.env.calls == recorded_env("t3")
    log = (RECORDINGS / "dev.t3.log").read_text()
    writes = re.findall(r"fal_partition_write\(download, off=(\d+), len=(\d+)\)", log)
    assert board.download.writes == [(int(offset), int(length)) for offset, length in writes]
    assert board.hooks == ["ota_start", "ota_end 0"] * 2


ACTIVATED = {
    "cld_act": "true",
    "cld_sn": SN,
    "cld_usr": DEVICE_ID,
    "cld_did": DEVICE_ID,
    "cld_dkey": DEVICE_KEY,
    "cld_pwd": "d32a11a42d956d347d9863510e024f19",
    "cld_dev_mver": "1.1",
}


def test_t4_shell_then_log_then_an_unreachable_log_server(recorder: Recorder) -> None:
    broker = recorder.broker
    shell = ConsoleServer((RECORDINGS / "shell.t4.log").read_text())
    log = ConsoleServer((RECORDINGS / "log.t4.log").read_text())
    recorder.board.env.values.update(ACTIVATED)
    to_shell, log_on, to_log, without_value, to_nobody, to_log_again = re.findall(
        r"<br PUBLISH flags=0 topic=b'(.*?)' qos=0 payload=b'(.*)'\n", (RECORDINGS / "tap.t4.log").read_text()
    )
    with socket.socket() as nobody, contextlib.closing(shell.listener), contextlib.closing(log.listener):
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        servers = {
            '10.0.0.5","port":23901': shell.listener.port,
            '10.0.0.6","port":23902': log.listener.port,
            '10.0.0.6","port":23903': nobody.getsockname()[1],
        }

        def publish(message: tuple[str, str]) -> None:
            topic, payload = message
            for recorded, port in servers.items():
                payload = payload.replace(recorded, f'127.0.0.1","port":{port}')
            broker.publish(topic, payload.encode())

        recorder.boot()
        for packet in ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH"):
            broker.expect(packet)
        publish(to_shell)
        for _ in range(4):
            shell.may_send.release()
        recorder.wait_for_text("Web Shell is closed.")
        assert shell.ended.wait(10)
        assert shell.seen == shell.steps

        publish(log_on)
        broker.expect("dev> PUBLISH")
        publish(to_log)
        log.may_send.release()
        recorder.wait_for_text("Web Log : start up success.")
        recorder.type(b"he")
        recorder.wait_for_text("\nhe")
        log.may_send.release()
        recorder.wait_for_text("Web Log is closed.")
        assert log.ended.wait(10)
        assert log.seen == log.steps
        broker.expect("dev> PUBLISH")

        recorder.type(b"l")
        recorder.wait_for_text("\nl")
        publish(without_value)
        publish(to_nobody)
        recorder.wait_for_text("connect error, return : -1!")
        publish(to_log_again)
        # One query more than recorded: its answer shows that everything before was handled.
        publish((to_log[0], '{"data":[{"DP":1010}]}'))
        broker.expect("dev> PUBLISH")
        recorder.stop()
        assert log.connections == shell.connections == 1

    # The PINGREQ at the end of the recording comes after 20 s of silence.
    assert broker.tap[:-1] == recorded_tap("t4")[:-1]
    raw = (RECORDINGS / "dev.t4.log").read_text()
    assert "".join(recorder.console) == re.sub(r" {6}<os> [^\n]*\n|>>> [^\n]*\n|exit=\d+\n", "", raw)
    assert recorder.shell.commands == re.findall(r'<os> msh_exec\("(.*)"\)', raw)
    assert recorder.shell.echoes == [int(each) for each in re.findall(r"<os> finsh_set_echo\((.)\)", raw)]
