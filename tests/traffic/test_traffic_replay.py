"""A recording played as device against the cloud, and as cloud against the device."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from traffic_rig import PATIENCE, World, address

from cloudsdk.mqtt.packets import ConnAck, Connect, PingReq, encode
from cloudsdk.route import Address, Link
from sim.cloud.client import AdminClient
from sim.cloud.server import CloudConfig, CloudServer
from sim.faults.network.rules import Direction
from sim.traffic.bindings import Identity
from sim.traffic.errors import DeviationError
from sim.traffic.events import Closed, Data, Ended, Event, Header, Opened
from sim.traffic.mask import Mask
from sim.traffic.recording import Recording
from sim.traffic.replay import Replay
from sim.traffic.script import script


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("replay")
    with CloudServer(CloudConfig(folder / "cloud", http_port=0, mqtt_port=0)) as server:
        with contextlib.closing(AdminClient(server.http_url, server.admin_token)) as admin:
            yield World(admin, server, folder)


@pytest.fixture(scope="module")
def upgrade(world: World) -> Recording:
    return world.recorded_upgrade("SN0001", "upgrade.jsonl")


def as_device(world: World, recording: Recording, identity: Identity) -> int:
    replay = Replay(script(recording.events), Direction.UP, identity=identity, timeout=10)
    replay.connect_to(Link.HTTP, address(world.server.activation_url))
    replay.connect_to(Link.MQTT, address(world.server.mqtt_url))
    asyncio.run(replay.run())
    return replay.matched


def test_a_replayed_device_is_upgraded_by_the_live_cloud(world: World, upgrade: Recording) -> None:
    done = world.task("SN0100")
    matched = as_device(world, upgrade, Identity("SN0100", world.product_id, world.product_key))
    assert matched > 10
    assert done()
    assert world.admin.show_device("SN0100", product=world.product)["activated_at"]


def test_the_first_deviation_of_the_cloud_is_named(world: World, upgrade: Recording) -> None:
    with pytest.raises(DeviationError) as caught:
        as_device(world, upgrade, Identity("SN-UNKNOWN", world.product_id, world.product_key))
    assert "http connection 1 " in str(caught.value)
    assert '"status": 200' in str(caught.value)
    assert '"status": 400' in str(caught.value)


Device = Callable[[dict[Link, Address]], contextlib.AbstractContextManager[object]]


def as_cloud(recording: Recording, device: Device, timeout: float = 10) -> int:
    replay = Replay(script(recording.events), Direction.DOWN, timeout=timeout)

    async def play() -> None:
        places = await replay.listen()
        running = device(places)
        await asyncio.to_thread(running.__enter__)
        try:
            await replay.run()
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)

    asyncio.run(play())
    return replay.matched


@pytest.mark.parametrize("sn", ["SN0001", "SN0200"])
def test_a_replayed_cloud_upgrades_a_live_device(world: World, upgrade: Recording, sn: str) -> None:
    matched = as_cloud(upgrade, lambda places: world.device(sn, places[Link.HTTP], places[Link.MQTT]))
    assert matched > 10


def test_a_masked_recording_still_logs_a_device_in(world: World) -> None:
    masked = world.recorded_upgrade("SN0300", "masked.jsonl", Mask())
    first = tuple(event for event in masked.events if event.connection == 1)
    login = tuple(event for event in masked.events if event.connection == 2)[:3]
    events = sorted((*first, *login), key=lambda event: event.t)
    matched = as_cloud(
        Recording(masked.header, tuple(events)),
        lambda places: world.device("SN0301", places[Link.HTTP], places[Link.MQTT]),
    )
    assert matched == 2  # the activation, and a CONNECT with the password of the masked DeviceKey


# --- consoles, against a socket ----------------------------------------------------------------------

KEY = b"9017444f3bec4453d32a11a42d956d347d9863510e024f19"
TO = ("10.0.0.5", 23901)


def shell(*said: tuple[Direction, bytes]) -> Recording:
    events: list[Event] = [Opened(0.0, 1, Link.SHELL, TO)]
    events += [Data(0.1, 1, Link.SHELL, direction, data) for direction, data in said]
    events += [Ended(0.2, 1, Link.SHELL, Direction.DOWN), Ended(0.2, 1, Link.SHELL, Direction.UP)]
    events.append(Closed(0.3, 1, Link.SHELL, reset=False))
    return Recording(Header(0.0), tuple(events))


UP, DOWN = Direction.UP, Direction.DOWN
SHELL = shell(
    (UP, KEY[:20]),
    (UP, KEY[20:] + b"msh />"),
    (DOWN, b"free\n"),
    (UP, b"total memory: 12"),
    (UP, b"34\r\nmsh />"),
)


@contextlib.contextmanager
def console(place: Address, output: bytes) -> Iterator[None]:
    """A device with a console that answers the first command with `output`."""

    def run() -> None:
        with socket.create_connection(place) as connection:
            connection.sendall(b"0123456789abcdef" + KEY[16:] + b"msh />")
            while not connection.recv(100).endswith(b"\n"):
                pass
            for at in range(len(output)):
                connection.sendall(output[at : at + 1])
            while connection.recv(100):
                pass

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_numbers_on_a_console_may_be_others() -> None:
    output = b"total memory: 567890\r\nmsh />"
    assert as_cloud(SHELL, lambda places: console(places[Link.SHELL], output)) == 4


def test_other_words_on_a_console_are_a_deviation() -> None:
    with pytest.raises(DeviationError, match="total memory"):
        as_cloud(SHELL, lambda places: console(places[Link.SHELL], b"no memory\r\nmsh />"), timeout=0.5)


def test_pings_are_answered_and_not_compared() -> None:
    connect, accepted = encode(Connect("d", keepalive=30)), encode(ConnAck())
    events = (
        Opened(0.0, 1, Link.MQTT, TO),
        Data(0.1, 1, Link.MQTT, UP, connect),
        Data(0.2, 1, Link.MQTT, DOWN, accepted),
    )
    answers = bytearray()

    @contextlib.contextmanager
    def device(places: dict[Link, Address]) -> Iterator[None]:
        with socket.create_connection(places[Link.MQTT]) as connection:
            connection.sendall(connect + encode(PingReq()))
            connection.shutdown(socket.SHUT_WR)
            yield
            while data := connection.recv(100):
                answers.extend(data)

    assert as_cloud(Recording(Header(0.0), events), device) == 1
    assert bytes(answers) in (accepted + b"\xd0\x00", b"\xd0\x00" + accepted)
