"""Our device in profile v2.0.0, recorded, says what the transcripts of the original CloudSDK say."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from recorded_cloud import ConsoleServer
from test_recorded_runs import ACTIVATED, RECORDINGS, RecordersBoard, activation_answer
from test_recorded_runs import Recorder as Rig

from cloudsdk.route import Link
from sim.faults.network.rules import Direction
from sim.traffic.compare import Comparison, compare
from sim.traffic.events import Header
from sim.traffic.recorder import Recorder
from sim.traffic.recording import Recording, RecordingWriter, load_recording
from sim.traffic.transcript import import_console, import_http, import_mqtt, merge

PUBLISHED = r"<br PUBLISH flags=0 topic=b'(.*?)' qos=0 payload=b'(.*)'\n"
BOOT = ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH")
UP = Comparison(directions=frozenset({Direction.UP}))


def transcript(name: str) -> str:
    return (RECORDINGS / name).read_text()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.stop()
    rig.broker.listener.close()
    rig.http.listener.close()


@contextlib.contextmanager
def recorded(rig: Rig, path: Path) -> Iterator[None]:
    """The device of `rig` connects through a recorder."""
    http, mqtt = rig.http.listener.port, rig.broker.listener.port
    with RecordingWriter(path, Header(time.time())) as writer, Recorder(writer) as recorder:
        ports = [
            recorder.listen(link, ("127.0.0.1", port))[1]
            for link, port in ((Link.HTTP, http), (Link.MQTT, mqtt))
        ]
        values = rig.board.env.values
        rig.board = RecordersBoard(*ports)
        rig.board.env.values.update(values)
        yield
        rig.stop()


def test_t2_activation_and_data_points(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "t2.jsonl"
    with recorded(rig, path):
        rig.http.answers.put(activation_answer())
        rig.boot()
        for packet in BOOT:
            rig.broker.expect(packet)
        answered = {'{"data":[{"DP":1010}]}', '{"data":[{"dp":1010}]}'}
        published = re.findall(PUBLISHED, transcript("tap.t2.log"))
        for topic, payload in published:
            rig.broker.publish(topic, payload.encode())
            if payload in answered or ('DP":1020' in payload and "value" in payload):
                rig.broker.expect("dev> PUBLISH")
        # One query more than recorded: its answer shows that everything before was handled.
        rig.broker.publish(published[0][0], b'{"data":[{"DP":1010}]}')
        rig.broker.expect("dev> PUBLISH")
    golden = merge(import_mqtt(transcript("tap.t2.log")), import_http(transcript("http.t2.log"), 100))
    found = compare(Recording(Header(0.0), tuple(golden)), load_recording(path), UP)
    first = [each for each in found if each.connection == 1]
    assert [(each.link, each.a) for each in first] == [(Link.MQTT, None)]
    assert first[0].b is not None
    assert first[0].b["payload"]["data"][0]["dp"] == 1011


def test_t4_shell_and_log(rig: Rig, tmp_path: Path) -> None:
    shell, log = (ConsoleServer(transcript(f"{name}.t4.log")) for name in ("shell", "log"))
    to_shell, log_on, to_log, without_value, to_nobody, to_log_again = re.findall(
        PUBLISHED, transcript("tap.t4.log")
    )
    servers = {
        '10.0.0.5","port":23901': f'127.0.0.1","port":{shell.listener.port}',
        '10.0.0.6","port":23902': f'127.0.0.1","port":{log.listener.port}',
        # No address, so the recorder leaves it alone: it could not refuse a connection as nobody does.
        '10.0.0.6","port":23903': 'nobody","port":23903',
    }

    def publish(message: tuple[str, str]) -> None:
        topic, payload = message
        for old, new in servers.items():
            payload = payload.replace(old, new)
        rig.broker.publish(topic, payload.encode())

    rig.board.env.values.update(ACTIVATED)
    path = tmp_path / "t4.jsonl"
    with recorded(rig, path), contextlib.closing(shell.listener), contextlib.closing(log.listener):
        rig.boot()
        for packet in BOOT:
            rig.broker.expect(packet)
        publish(to_shell)
        for _ in range(4):
            shell.may_send.release()
        rig.wait_for_text("Web Shell is closed.")
        publish(log_on)
        rig.broker.expect("dev> PUBLISH")
        publish(to_log)
        log.may_send.release()
        rig.wait_for_text("Web Log : start up success.")
        log.may_send.release()
        rig.wait_for_text("Web Log is closed.")
        rig.broker.expect("dev> PUBLISH")
        publish(without_value)
        publish(to_nobody)
        rig.wait_for_text("connect error, return : -1!")
        publish(to_log_again)
        publish((to_log[0], '{"data":[{"DP":1010}]}'))
        rig.broker.expect("dev> PUBLISH")
    golden = merge(
        import_mqtt(transcript("tap.t4.log")),
        import_console(transcript("shell.t4.log"), Link.SHELL, 100),
        import_console(transcript("log.t4.log"), Link.LOG, 200),
    )
    found = compare(Recording(Header(0.0), tuple(golden)), load_recording(path))
    # The query that ends the test, its answer, and the acknowledgement of that are all there is more.
    assert {each.link for each in found} == {Link.MQTT}
    assert {each.a is None for each in found} == {True}
    assert sorted(json.dumps(each.b)[:25] for each in found) == [
        '{"message": "PUBACK"}',
        '{"message": "PUBLISH", "t',
        '{"message": "PUBLISH", "t',
    ]


def test_a_difference_from_the_original_is_seen() -> None:
    text = transcript("tap.t4.log")
    changed = text.replace('"DP":1025', '"DP":1026').replace("0xce", "0xcc")
    recordings = [Recording(Header(0.0), tuple(import_mqtt(each))) for each in (text, changed)]
    members = {member for each in compare(*recordings) for member in each.members}
    assert members == {
        "clean_session",
        "payload.data.0.dp",
        "payload.data.0.value.host",
        "payload.data.0.value.port",
    }
    assert compare(recordings[0], recordings[0]) == []


def test_every_transcript_can_be_imported() -> None:
    assert [event.connection for event in import_mqtt(transcript("tap.t3.log"))][-1] == 4
    assert len({event.connection for event in import_http(transcript("http.t3.log"))}) == 4
