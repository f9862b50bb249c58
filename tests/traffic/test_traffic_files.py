"""The format of recordings, and the parts a recorder is made of, without a network."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudsdk.activation import mqtt_password
from cloudsdk.errors import UsageError
from cloudsdk.mqtt.packets import Connect, Decoder, Publish, encode
from cloudsdk.route import Address, Link
from sim.faults.network.rules import Direction
from sim.traffic.addresses import MAX_TO_DEVICE, MAX_URL, lead_packet, lead_request, lead_response
from sim.traffic.errors import RecordingError, TranscriptError
from sim.traffic.events import (
    Closed,
    Data,
    Ended,
    Event,
    Header,
    Opened,
    Refused,
    event_line,
    header_line,
    parse_event,
    parse_header,
)
from sim.traffic.filters import HttpFilter, MqttFilter
from sim.traffic.http1 import MAX_HEAD, Body, Head, HttpFramer, Opaque, parse_head
from sim.traffic.mask import Mask, masked_key
from sim.traffic.messages import Frame, Greeting, Text, Unknown, stream
from sim.traffic.recorder import Recorder
from sim.traffic.recording import RecordingWriter, load_recording
from sim.traffic.transcript import import_console, import_http, import_mqtt

UP, DOWN = Direction.UP, Direction.DOWN
KEY = b"9017444f3bec4453d32a11a42d956d347d9863510e024f19"
DEVICE_KEY = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
EVENTS: list[Event] = [
    Opened(0.0, 1, Link.MQTT, ("127.0.0.1", 1883)),
    Data(0.25, 1, Link.MQTT, UP, bytes(range(256))),
    Data(0.5, 1, Link.MQTT, DOWN, "msh />\r\n\x1b[0m \u00e4".encode()),
    Ended(0.5, 1, Link.MQTT, UP),
    Closed(1.0, 1, Link.MQTT, reset=True),
    Refused(2.0, 2, Link.SHELL, "nobody"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    assert parse_event(event_line(event)) == event


def test_text_is_text_and_bytes_are_base64() -> None:
    assert json.loads(event_line(EVENTS[2]))["text"].startswith("msh />")
    assert "text" not in json.loads(event_line(EVENTS[1]))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"t":-1,"connection":1,"link":"mqtt","event":"ended","direction":"up"}',
        b'{"t":1e999,"connection":1,"link":"mqtt","event":"ended","direction":"up"}',
        b'{"t":1,"connection":true,"link":"mqtt","event":"ended","direction":"up"}',
        b'{"t":1,"connection":1,"link":[],"event":"ended","direction":"up"}',
        b'{"t":1,"connection":1,"link":"mqtt","event":"ended","direction":{}}',
        b'{"t":1,"connection":1,"link":"mqtt","event":"data","direction":"up"}',
        b'{"t":1,"connection":1,"link":"mqtt","event":"data","direction":"up","base64":"*"}',
        b'{"t":1,"connection":1,"link":"mqtt","event":"data","direction":"up","text":"\\ud800"}',
        b'{"t":1,"connection":1,"link":"mqtt","event":"opened","host":"h","port":70000}',
    ],
)
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(RecordingError):
        parse_event(line)


@pytest.mark.parametrize(
    "line", [b'{"format":"cloudsim-traffic","version":2,"started":0}', b"{}", b"PK\x03\x04"]
)
def test_another_format_or_version_is_refused(line: bytes) -> None:
    with pytest.raises(RecordingError):
        parse_header(line)


def write(path: Path, *events: Event) -> None:
    path.write_bytes(header_line(Header(1.0)) + b"".join(map(event_line, events)))


def test_a_recording_cut_anywhere_in_its_last_line_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    write(path, *EVENTS)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last + 1, len(whole)):
        path.write_bytes(whole[:end])
        found = load_recording(path)
        assert found.cut
        assert list(found.events) == EVENTS[:-1]


def test_damage_before_the_last_line_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "damaged.jsonl"
    write(path, *EVENTS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"{}\n", *lines[2:]]))
    with pytest.raises(RecordingError, match="line 3"):
        load_recording(path)


def test_a_recording_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "there.jsonl"
    path.write_text("mine")
    with pytest.raises(UsageError):
        RecordingWriter(path, Header(0.0))
    assert path.read_text() == "mine"


def test_a_full_recording_says_so_and_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "full.jsonl"
    with RecordingWriter(path, Header(0.0), max_size=600) as writer:
        for number in range(100):
            writer.write(Data(number, 1, Link.HTTP, UP, b"0123456789"))
        assert writer.stopped is not None
        assert "full" in str(writer.stopped)
    found = load_recording(path)
    assert not found.cut
    assert 0 < len(found.events) == writer.events < 100
    assert path.stat().st_size <= 600


def test_kill_9_loses_nothing_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "killed.jsonl"
    program = (
        "import sys, signal, os; from pathlib import Path; from cloudsdk.route import Link\n"
        "from sim.traffic.events import *; from sim.traffic.recording import RecordingWriter\n"
        "w = RecordingWriter(Path(sys.argv[1]), Header(0.0))\n"
        "for n in range(500): w.write(Data(n, 1, Link.HTTP, Direction.UP, b'x' * 100))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(load_recording(path).events) == 500


# --- streams -----------------------------------------------------------------------------------------

REQUEST = b"POST /devices/active HTTP/1.1\r\nContent-Length: 4\r\nHost: 127.0.0.1\r\n\r\nbody"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_http_is_framed_in_any_pieces(size: int) -> None:
    framer, data = HttpFramer(), REQUEST * 2
    pieces = [piece for at in range(0, len(data), size) for piece in framer.feed(data[at : at + size])]
    assert [piece.request for piece in pieces if isinstance(piece, Head)] == [("POST", "/devices/active")] * 2
    assert b"".join(piece.data for piece in pieces if isinstance(piece, Body)) == b"body" * 2
    assert framer.end() == []


def test_what_is_no_http_passes_as_it_is() -> None:
    framer = HttpFramer()
    assert framer.feed(b"\x16\x03\x01 TLS\r\n\r\n") == [Opaque(b"\x16\x03\x01 TLS\r\n\r\n")]
    assert framer.feed(b"more") == [Opaque(b"more")]
    endless = HttpFramer()
    assert endless.feed(b"G" * (MAX_HEAD + 1)) == [Opaque(b"G" * (MAX_HEAD + 1))]


def test_filters_pass_what_they_do_not_change() -> None:
    changes_nothing = MqttFilter(lambda packet: packet)
    odd = b"\x30\x81\x00\x00"  # a length in more bytes than it needs, then what is no packet
    data = encode(Publish("/a", b"{}")) + odd + b"\xff\xff"
    delivered = b"".join(changes_nothing.feed(data[at : at + 1]) for at in range(len(data)))
    assert delivered + changes_nothing.rest() == data
    body = HttpFilter(lambda head: head.raw, lambda body: body.upper())
    assert body.feed(REQUEST[:-2]) + body.feed(REQUEST[-2:]) == REQUEST[:-4] + b"BODY"


def test_console_streams_by_lines_and_frames() -> None:
    shell = stream(Link.SHELL, UP)
    assert shell.feed(KEY[:9]) == []
    assert shell.feed(KEY[9:] + b"a\r\nms") == [
        Greeting("9017444f3bec4453", KEY[16:].decode()),
        Text(b"a\r\n"),
    ]
    assert shell.end() == [Text(b"ms")]
    log = stream(Link.LOG, UP)
    frames = b"\x01\x00\x00\x30" + KEY + b"\x01\x00\x00\x05hello"
    assert [type(each) for at in range(len(frames)) for each in log.feed(frames[at : at + 1])] == [
        Greeting,
        Frame,
    ]
    assert log.feed(b"\x07\x00\x00\x01") == [Unknown(b"\x07\x00\x00\x01")]


# --- addresses ---------------------------------------------------------------------------------------


def lead(link: Link, host: str, port: int) -> Address | None:
    return "127.0.0.1", 40000 + len(link)


def led(payload: bytes) -> bytes:
    (packet,) = Decoder(4096).feed(encode(lead_packet(Publish("/device/p/d/x", payload), lead)))
    assert isinstance(packet, Publish)
    return packet.payload


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (
            b'{"data":[{"DP":1025,"value":{"host":"10.0.0.5","port":23901}}]}',
            b'{"data":[{"DP":1025,"value":{"host":"127.0.0.1","port":40005}}]}',
        ),
        (
            b'{ "Data": [{"dp":1022},{"VALUE":{"Port":1,"HOST":"10.0.0.6"}}]} trailing',
            b'{"Data":[{"dp":1022},{"VALUE":{"Port":40003,"HOST":"127.0.0.1"}}]}',
        ),
        (
            b'{"data":[{"DP":1012,"value":{"firmwares":[{"file_url":"http:\\/\\/h:81\\/fw\\/a.rbl?k=1"}]}}]}',
            b'{"data":[{"DP":1012,"value":{"firmwares":[{"file_url":"http://127.0.0.1:40004/fw/a.rbl?k=1"}]}}]}',
        ),
    ],
)
def test_addresses_are_led_where_the_device_reads_them(payload: bytes, wanted: bytes) -> None:
    assert led(payload) == wanted


@pytest.mark.parametrize(
    "payload",
    [
        b'{"data": [{"DP": 1010}]}',
        b"not json",
        b'{"data":[{"DP":1025,"value":{"host":"shell.example","port":1}}]}',
        b'{"data":[{"DP":1025,"value":{"host":"10.0.0.5","port":99999}}]}',
        b'{"data":[{"DP":1012,"value":{"firmwares":[{"file_url":"https://h/a"},7]}},7]}',
        b'{"data":[{"DP":1012,"value":{"firmwares":[{"file_url":"http://[/a"}]}}]}',
        b'{"data":[{"DP":1012,"value":{"firmwares":[{"file_url":"http://h/%s"}]}}]}' % (b"x" * (MAX_URL - 9)),
        b'{"data":[{"DP":1025,"value":{"host":"10.0.0.5","port":1}}],"x":"%s"}'
        % (b"x" * (MAX_TO_DEVICE - 86)),
    ],
)
def test_what_cannot_be_led_stays_as_it_is(payload: bytes) -> None:
    assert led(payload) == payload


def test_heads_name_the_real_places() -> None:
    request = parse_head(b"GET /fw/a HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n")
    assert request is not None
    assert b"\r\nHost: 10.0.0.5\r\nAccept" in lead_request(request, ("10.0.0.5", 8090))
    redirect = parse_head(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.5:8090/b\r\n\r\n")
    assert redirect is not None
    assert b"Location: http://127.0.0.1:40004/b\r\n" in lead_response(redirect, lead)


# --- masks -------------------------------------------------------------------------------------------


def test_a_password_and_its_key_are_masked_alike_in_any_order() -> None:
    password = mqtt_password(DEVICE_KEY)
    first, second = Mask(), Mask()
    assert first.password(password) == mqtt_password(masked_key(1))
    assert first.device_key(DEVICE_KEY) == masked_key(1)
    assert second.device_key(DEVICE_KEY) == masked_key(1)
    assert second.device_key("f" * 32) == masked_key(2)
    assert len(masked_key(1)) == len(DEVICE_KEY)


@pytest.mark.parametrize("size", [1, 7, 500])
def test_a_secret_printed_on_a_console_is_masked_across_pieces(size: int) -> None:
    mask = Mask()
    mask.device_key(DEVICE_KEY)
    console = mask.filter(Link.SHELL, UP)
    said = KEY + f"cld_dkey={DEVICE_KEY}\r\ncld_dkey={DEVICE_KEY[:-1]}".encode()
    found = b"".join(console.feed(said[at : at + size]) for at in range(0, len(said), size)) + console.rest()
    assert DEVICE_KEY.encode() not in found
    assert KEY[16:] not in found
    assert masked_key(1).encode() in found
    assert len(found) == len(said)


def test_a_cut_greeting_leaves_no_password() -> None:
    console = Mask().filter(Link.LOG, UP)
    assert console.feed(b"\x01\x00\x00\x30" + KEY[:-1]) == b""
    assert console.rest() == b"\x01\x00\x00\x30" + KEY[:16]


def test_a_login_is_masked_and_nothing_else_of_it() -> None:
    login = Connect("9017444f3bec4453", keepalive=30, username="9017444f3bec4453", password=KEY[16:])
    found = Mask().filter(Link.MQTT, UP).feed(encode(login))
    (packet,) = Decoder(1000).feed(found)
    assert isinstance(packet, Connect)
    assert packet.password == mqtt_password(masked_key(1)).encode()
    assert len(found) == len(encode(login))


# --- the recorder on plain sockets -------------------------------------------------------------------


def test_bytes_and_ends_pass_and_are_recorded_in_order(tmp_path: Path) -> None:
    path = tmp_path / "shell.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as server, RecordingWriter(path, Header(0.0)) as writer:
        with Recorder(writer) as recorder:
            place = recorder.listen(Link.SHELL, server.getsockname()[:2])
            with socket.create_connection(place) as device:
                device.sendall(KEY)
                cloud, _ = server.accept()
                with cloud:
                    assert cloud.recv(48, socket.MSG_WAITALL) == KEY
                    cloud.sendall(b"ps\n")
                    assert device.recv(3, socket.MSG_WAITALL) == b"ps\n"
                    cloud.shutdown(socket.SHUT_WR)
                    assert device.recv(1) == b""
                device.shutdown(socket.SHUT_WR)
                assert device.recv(1) == b""
    kinds = [type(event).__name__ for event in load_recording(path).events]
    assert kinds[:4] == ["Opened", "Data", "Data", "Ended"]


def test_a_place_nobody_listens_at_is_recorded_and_the_device_gets_no_reset(tmp_path: Path) -> None:
    path = tmp_path / "refused.jsonl"
    with (
        socket.socket() as nobody,
        RecordingWriter(path, Header(0.0)) as writer,
        Recorder(writer) as recorder,
    ):
        nobody.bind(("127.0.0.1", 0))
        with socket.create_connection(recorder.listen(Link.LOG, nobody.getsockname())) as device:
            device.settimeout(10)
            assert device.recv(1) == b""
    (event,) = load_recording(path).events
    assert isinstance(event, Refused)


def test_a_recorder_that_stops_closes_without_reset(tmp_path: Path) -> None:
    path = tmp_path / "stopped.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as server, RecordingWriter(path, Header(0.0)) as writer:
        with Recorder(writer) as recorder:
            place = recorder.listen(Link.SHELL, server.getsockname()[:2])
            device = socket.create_connection(place, timeout=10)
            device.sendall(KEY)
            cloud, _ = server.accept()
            cloud.settimeout(10)
            assert cloud.recv(48, socket.MSG_WAITALL) == KEY
        with device, cloud:
            assert (device.recv(1), cloud.recv(1)) == (b"", b"")
    assert load_recording(path).events[-1] == Closed(pytest.approx(0, abs=60), 1, Link.SHELL, reset=False)


def test_a_place_of_the_recorder_itself_is_not_led_again(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "own.jsonl", Header(0.0)) as writer, Recorder(writer) as recorder:
        own = recorder.listen(Link.HTTP, ("127.0.0.1", 9))
        assert recorder.lead(Link.HTTP, *own) is None
        led = recorder.lead(Link.HTTP, "127.0.0.1", 9)
        assert led not in (None, own)
        assert recorder.lead(Link.HTTP, "127.0.0.1", 9) == led


def test_a_long_packet_becomes_lines_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    packet = encode(Publish("/cloud/p/d/log", b"\x1b" * 900_000))
    with socket.create_server(("127.0.0.1", 0)) as server, RecordingWriter(path, Header(0.0)) as writer:
        with Recorder(writer, mask=Mask()) as recorder:
            with socket.create_connection(recorder.listen(Link.MQTT, server.getsockname()[:2])) as device:
                cloud, _ = server.accept()
                with cloud:
                    device.sendall(packet)
                    assert cloud.recv(len(packet), socket.MSG_WAITALL) == packet
    events = load_recording(path).events
    assert b"".join(event.data for event in events if isinstance(event, Data)) == packet


def shell_of(text: str) -> list[Event]:
    return import_console(text, Link.SHELL)


@pytest.mark.parametrize(
    ("text", "importer"),
    [
        ("dev> CONNECT flags=0", import_mqtt),
        ("dev> PUBLISH flags=2 topic=b'/a' qos=x payload=b''", import_mqtt),
        ("nothing", import_mqtt),
        ("nothing", import_http),
        ("[ 1.0] recv", shell_of),
        ("[ 1.0] recv 3 print() first16= 00", shell_of),
        ("[ 1.2.3] recv 3 b'a' first16= 00", shell_of),
        ("hello", shell_of),
    ],
)
def test_a_transcript_that_is_none_is_refused(text: str, importer: Callable[[str], list[Event]]) -> None:
    with pytest.raises(TranscriptError):
        importer(text)
