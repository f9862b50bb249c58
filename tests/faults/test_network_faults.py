"""What each fault does to real connections: bytes, order, kind of end, time."""

import contextlib
import gc
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from network_bench import PATIENCE, bench, faults, is_quiet, read, read_to_end

from cloudsdk.mqtt.packets import Connect, PubAck, Publish, encode
from cloudsdk.route import Link
from sim.faults.network import Closed, Direction, FaultProxy, FaultSet, Opened, Refused, Struck
from sim.faults.network.errors import NotLoopbackError, ProxyListenError
from sim.faults.network.rules import Ending, draw

pytestmark = pytest.mark.filterwarnings("error")

BODY = bytes(range(256)) * 80  # 20 KiB
RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: close with RST


def descriptors_open() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Every test ends with the threads and descriptors it began with."""
    threads, descriptors = threading.active_count(), descriptors_open()
    yield
    gc.collect()
    assert threading.active_count() == threads
    assert descriptors_open() == descriptors


def test_without_faults_bytes_and_half_closes_pass_both_ways() -> None:
    with bench() as own:
        device, cloud = own.connect()
        device.sendall(BODY)
        device.shutdown(socket.SHUT_WR)
        assert read_to_end(cloud) == (BODY, "FIN")
        cloud.sendall(BODY[::-1])
        cloud.close()
        assert read_to_end(device) == (BODY[::-1], "FIN")
        assert own.event(Opened) == Opened(Link.HTTP, 1, ())
        assert own.event(Closed) == Closed(Link.HTTP, 1, len(BODY), len(BODY), reset=False)


@pytest.mark.parametrize("reversed_", [False, True])
def test_reset_of_one_side_reaches_the_other_as_reset_after_the_data(reversed_: bool) -> None:
    with bench("latency=50ms") as own:
        near, far = own.connect()
        if reversed_:
            near, far = far, near
        near.sendall(b"last words")
        assert read(far, 4) == b"last"
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        near.close()
        assert read_to_end(far) == (b" words", "RST")


def test_latency_delays_but_does_not_slow_down() -> None:
    with bench("down,latency=400ms") as own:
        device, cloud = own.connect()
        started = time.monotonic()
        for number in range(20):
            cloud.sendall(bytes([number]) * 500)
        assert read(device, 10_000) == b"".join(bytes([number]) * 500 for number in range(20))
        assert 0.4 <= time.monotonic() - started < 4.0  # one after the other would take eight seconds
        started = time.monotonic()
        device.sendall(b"up")
        assert read(cloud, 2) == b"up"
        assert time.monotonic() - started < 0.4


def test_jitter_varies_and_keeps_the_order() -> None:
    gaps = []
    with bench("up,latency=60ms,jitter=60ms", seed=3) as own:
        device, cloud = own.connect()
        for number in range(8):
            started = time.monotonic()
            device.sendall(bytes([number]))
            assert read(cloud, 1) == bytes([number])
            gaps.append(time.monotonic() - started)
        device.sendall(BODY)
        assert read(cloud, len(BODY)) == BODY
    assert max(gaps) - min(gaps) > 0.03


def test_bandwidth_spreads_the_bytes_over_time() -> None:
    with bench("bandwidth=50KB/s") as own:
        device, cloud = own.connect()
        started = time.monotonic()
        cloud.sendall(BODY)
        assert read(device, 1000) == BODY[:1000]
        begun = time.monotonic()
        assert read(device, len(BODY) - 1000) == BODY[1000:]
        assert 0.35 <= time.monotonic() - started < 3.0  # 20 KiB at 50 kB/s: 0.41 s
        assert time.monotonic() - begun > 0.2  # it did not come in one piece


def test_slices_arrive_one_by_one() -> None:
    with bench("down,slice=1..7,pause=10ms") as own:
        device, cloud = own.connect()
        cloud.sendall(BODY[:100])
        pieces = []
        while sum(map(len, pieces)) < 100:
            pieces.append(device.recv(100))
        assert b"".join(pieces) == BODY[:100]
        assert len(pieces) > 10  # 25 on average; a loaded machine joins a few
        assert len(set(map(len, pieces))) > 2


@pytest.mark.parametrize("spec", ["reset@5000", "http:down,reset@4999..5001"])
def test_reset_comes_as_rst_to_both_after_exactly_so_many_bytes(spec: str) -> None:
    with bench(spec) as own:
        device, cloud = own.connect()
        drawn = draw(faults(spec), Link.HTTP, 1).down.cuts[0].at
        cloud.sendall(BODY)
        assert read_to_end(device) == (BODY[:drawn], "RST")
        assert read_to_end(cloud)[1] == "RST"
        assert own.event(Struck) == Struck(Link.HTTP, 1, Ending.RESET, Direction.DOWN, drawn)
        assert own.event(Closed) == Closed(Link.HTTP, 1, 0, drawn, reset=True)


def test_reset_at_once_needs_no_data() -> None:
    with bench("reset") as own:
        address = own.proxy.address(Link.HTTP, *own.listener.getsockname())
        with socket.socket() as device, contextlib.suppress(ConnectionResetError):
            device.connect(address)  # which may be told already
            assert read_to_end(device) == (b"", "RST")
        cloud, _ = own.listener.accept()
        with cloud:
            assert read_to_end(cloud) == (b"", "RST")


def test_limit_comes_as_fin_to_both() -> None:
    with bench("limit=5KB") as own:
        device, cloud = own.connect()
        cloud.sendall(BODY)
        assert read_to_end(device) == (BODY[:5000], "FIN")
        assert read_to_end(cloud) == (b"", "FIN")


def test_half_open_swallows_everything_and_never_closes() -> None:
    with bench("half-open@100") as own:
        device, cloud = own.connect()
        device.sendall(BODY)
        assert read(cloud, 100) == BODY[:100]
        assert own.event(Struck) == Struck(Link.HTTP, 1, Ending.HALF_OPEN, Direction.UP, 100)
        for _ in range(50):  # far more than any buffer on the way
            cloud.sendall(bytes(65536))
        cloud.close()
        assert is_quiet(device)
        own.proxy.set(FaultSet())
        device.sendall(b"anybody there?")
        assert is_quiet(device)
        device.close()
        assert own.event(Closed) == Closed(Link.HTTP, 1, 100, 0, reset=False)


def test_half_open_in_one_direction() -> None:
    with bench("up,half-open") as own:
        device, cloud = own.connect()
        device.sendall(b"lost")
        assert is_quiet(cloud)
        cloud.sendall(b"heard")
        assert read(device, 5) == b"heard"


def test_timeout_passes_nothing_and_closes_later() -> None:
    with bench("timeout=300ms@10") as own:
        device, cloud = own.connect()
        started = time.monotonic()
        cloud.sendall(BODY)
        assert read_to_end(device) == (BODY[:10], "FIN")
        assert 0.3 <= time.monotonic() - started < 3.0
        assert read_to_end(cloud) == (b"", "FIN")


def test_slow_close_holds_the_end_back_but_not_the_data() -> None:
    with bench("slow-close=300ms") as own:
        device, cloud = own.connect()
        started = time.monotonic()
        cloud.sendall(BODY)
        cloud.shutdown(socket.SHUT_WR)
        assert read(device, len(BODY)) == BODY
        data_came = time.monotonic()
        assert read_to_end(device) == (b"", "FIN")
        assert 0.3 <= time.monotonic() - started < 3.0
        assert time.monotonic() - data_came > 0.1


def test_share_hits_the_same_connections_for_the_same_seed() -> None:
    def hits(seed: int) -> list[bool]:
        found = []
        with bench("reset@1,share=0.3", seed=seed) as own:
            for _ in range(20):
                device, cloud = own.connect()
                cloud.sendall(b"xy")
                cloud.close()
                found.append(read_to_end(device)[1] == "RST")
        return found

    first = hits(1)
    assert 1 <= sum(first) <= 12
    assert (
        first
        == hits(1)
        == [bool(draw(faults("reset@1,share=0.3", seed=1), Link.HTTP, n + 1).hits) for n in range(20)]
    )
    assert first != hits(2)


def test_links_are_counted_and_hit_on_their_own() -> None:
    with bench("mqtt:reset@1") as own:
        for link in (Link.HTTP, Link.SHELL, Link.LOG):
            device, cloud = own.connect(link)
            device.sendall(b"x")
            assert read(cloud, 1) == b"x"
            assert own.event(Opened) == Opened(link, 1, ())
        device, cloud = own.connect(Link.MQTT)
        cloud.sendall(b"xy")
        assert read_to_end(device) == (b"x", "RST")
        assert own.event(Opened) == Opened(Link.MQTT, 1, ("mqtt:reset=1",))


def test_change_while_running_reaches_living_connections() -> None:
    with bench("latency=60s") as own:
        device, cloud = own.connect()
        cloud.sendall(b"late")
        assert is_quiet(device)
        own.proxy.set(FaultSet())
        assert read(device, 4) == b"late"
        own.proxy.set(faults("bandwidth=1B/s"))
        cloud.sendall(BODY)
        assert read(device, 1) == BODY[:1]
        own.proxy.set(FaultSet())
        assert read(device, len(BODY) - 1) == BODY[1:]
        own.proxy.set(faults("reset@1KB"))
        assert read_to_end(device) == read_to_end(cloud) == (b"", "RST")


def test_slow_reader_is_not_read_ahead_for() -> None:
    with bench() as own:
        device, cloud = own.connect()
        sent = 0
        while select.select([], [cloud], [], 0.2)[1]:
            sent += cloud.send(bytes(65536), socket.MSG_DONTWAIT)
        assert sent < 64 * 1024 * 1024  # kernel buffers and the proxy's own
        cloud.close()
        assert read_to_end(device) == (bytes(sent), "FIN")


def test_nobody_behind_the_proxy_is_a_reset() -> None:
    with bench() as own:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            place = nobody.getsockname()
        address = own.proxy.address(Link.LOG, *place)
        with socket.socket() as device, contextlib.suppress(ConnectionResetError):
            device.settimeout(PATIENCE)
            device.connect(address)  # which may be told already
            assert read_to_end(device) == (b"", "RST")
        event = own.event(Refused)
        assert isinstance(event, Refused)
        assert (event.link, event.connection) == (Link.LOG, 1)


def test_stop_resets_what_is_open_however_it_is_stuck() -> None:
    with bench("up,half-open", "down,latency=60s") as own:
        pairs = [own.connect() for _ in range(5)]
        for device, cloud in pairs:
            cloud.sendall(BODY)
            device.sendall(BODY)
        own.proxy.__exit__()
        assert {read_to_end(device)[1] for device, _ in pairs} == {"RST"}
        own.proxy.set(FaultSet())
        with pytest.raises(OSError, match="does not run"):
            own.proxy.route(Link.MQTT, "127.0.0.1", 1883)


@pytest.mark.parametrize(
    "host", ["10.0.0.5", "169.254.1.1", "example.com", "127.0.0.1.example.com", "", "::"]
)
def test_other_machines_are_refused(host: str) -> None:
    with FaultProxy() as proxy:
        with pytest.raises(NotLoopbackError):
            proxy.listen((host, 80))
        with pytest.raises(NotLoopbackError):
            proxy.listen(("127.0.0.1", 80), host=host)
        with pytest.raises(OSError, match="this machine"):
            proxy.route(Link.HTTP, host, 80)


def test_port_in_use_and_port_that_cannot_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, FaultProxy() as proxy:
        for port in (taken.getsockname()[1], 70_000):
            with pytest.raises(ProxyListenError):
                proxy.listen(("127.0.0.1", 80), port=port)


def test_qos1_publish_to_the_device_comes_twice_and_the_cloud_hears_one_acknowledgement() -> None:
    publish = Publish("/device/p/d/ota", b"task", qos=1, packet_id=7)
    again = Publish("/device/p/d/ota", b"task", qos=1, packet_id=7, dup=True)
    at_most_once = encode(Publish("/device/p/d/ota", b"log"))
    connect, after = encode(Connect("d")), encode(PubAck(8))
    with bench("mqtt:duplicate,down", "slice=1") as own:
        device, cloud = own.connect(Link.MQTT)
        device.sendall(connect)
        assert read(cloud, len(connect)) == connect
        cloud.sendall(encode(publish) + at_most_once)
        expected = encode(publish) + encode(again) + at_most_once
        assert read(device, len(expected)) == expected
        device.sendall(encode(PubAck(7)) * 2 + after)
        assert read(cloud, 8) == encode(PubAck(7)) + after
