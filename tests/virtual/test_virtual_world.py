"""The virtual world itself: order, equal logs, and that hours of silence take no real time."""

import json
import random
import time
from dataclasses import replace

import pytest

from cloudsdk.profile import MANUAL, V2_0_0, Profile
from cloudsdk.shell.web_log import frame
from sim.virtual import upgrades
from sim.virtual.clock import SECOND, VirtualClock
from sim.virtual.faults import Fault, FaultSchedule, Kind, Plan
from sim.virtual.network import Link
from sim.virtual.world import Order, World

LOG_SERVER = ("10.0.0.6", 23902)
SHELL_SERVER = ("10.0.0.5", 23901)
KEY = b"9017444f3bec4453d32a11a42d956d347d9863510e024f19"


def upgrade(
    seed: int = 1, *, faults: FaultSchedule | None = None, **options: object
) -> tuple[World, list[str]]:
    lines: list[str] = []
    world = World(
        upgrades.board(),
        upgrades.new_board(),
        source=random.Random(seed),
        orders=(Order(SECOND, upgrades.greater()),),
        faults=faults,
        write=lines.append,
        **options,  # type: ignore[arg-type]
    )
    return world, lines


def test_what_is_due_at_once_happens_in_the_order_it_was_asked_for() -> None:
    clock, seen = VirtualClock(), []
    for name, when in (("b", 2), ("a", 1), ("c", 2)):
        clock.at(when, lambda name=name: seen.append((clock.now, name)))  # type: ignore[misc]
    cancelled = clock.at(1, lambda: seen.append((0, "cancelled")))
    cancelled.cancel()
    clock.run_until(5)
    assert (seen, clock.now, clock.next_due) == ([(1, "a"), (2, "b"), (2, "c")], 5, None)


@pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)
def test_activation_and_two_firmwares_take_a_moment(profile: Profile) -> None:
    world, _ = upgrade(profile=profile)
    began = time.perf_counter()
    assert world.run()
    assert time.perf_counter() - began < 1.0
    assert world.cloud.reports[-1] == "1.1"
    assert (world.device.boots, world.network.downloads) == (3, 2)
    board = world.device.board
    for release in upgrades.greater().releases:
        assert board.installed(release.header.name_text) == release.header


def test_equal_seeds_give_equal_logs() -> None:
    link = Link(jitter=30_000)
    logs = []
    for seed in (1, 1, 2):
        world, lines = upgrade(seed, link=link)
        assert world.run()
        logs.append("\n".join(lines).encode())
    assert logs[0] == logs[1] != logs[2]
    assert b"GET http://127.0.0.1:8090/fw/app-2.0.0.rbl" in logs[0]


def test_a_day_of_keepalives_takes_no_time() -> None:
    world, _ = upgrade()
    assert world.run()
    asked = world.network.connections
    began = time.perf_counter()
    world.run_for(24 * 3600 * SECOND)
    assert time.perf_counter() - began < 2.0
    assert world.network.connections == asked
    assert world.cloud.online


def test_retries_take_no_time() -> None:
    faults = FaultSchedule(http=Plan(((Fault(Kind.UNAVAILABLE),),) * 3))
    world, _ = upgrade(faults=faults)
    assert world.run()
    assert world.clock.now > 30 * SECOND
    assert (world.cloud.reports[-1], world.network.downloads) == ("1.1", 5)


def test_log_server_closes_after_five_minutes_of_silence() -> None:
    world, _ = upgrade()
    assert world.run()
    server = world.cloud.open_log(LOG_SERVER)
    world.run_for(SECOND)
    began = world.clock.now
    assert server.greetings == [frame(KEY)]
    assert server.peer is not None
    assert world.run_until(lambda: server.peer is None, began + 400 * SECOND)
    assert 299 * SECOND < world.clock.now - began < 301 * SECOND
    world.run_for(SECOND)
    assert world.device.session is not None
    assert world.device.session.threads == ("MQTT",)


def test_shell_server_gets_the_key_and_loses_power_with_the_board() -> None:
    world, _ = upgrade()
    assert world.run()
    server = world.cloud.open_shell(SHELL_SERVER)
    world.run_for(SECOND)
    assert server.greetings == [KEY]
    world.device.power_off()
    assert server.peer is None
    assert world.run_until(lambda: world.cloud.online, world.clock.now + 60 * SECOND)


def test_shell_server_that_closes_after_some_bytes_ends_the_session() -> None:
    faults = FaultSchedule(shell=Plan(((Fault(Kind.LIMIT_DATA, 3), Fault(Kind.SLICER, 1)),)))
    world, _ = upgrade(faults=faults)
    assert world.run()
    server = world.cloud.open_shell(SHELL_SERVER)
    world.run_for(SECOND)
    assert server.peer is not None
    server.peer.send(b"hello\n")
    world.run_for(SECOND)
    assert server.peer is None


def test_half_open_connection_is_found_by_the_keepalive() -> None:
    faults = FaultSchedule(mqtt=Plan(((Fault(Kind.HALF_OPEN, 0),),)))
    world, lines = upgrade(faults=faults)
    assert world.run()
    assert world.network.connections > 1
    assert any("MQTT connection is disconnect!" in line for line in lines)


def test_an_unplugged_device_is_offline_and_gets_nothing() -> None:
    world, _ = upgrade()
    assert world.run()
    reports = len(world.cloud.reports)
    world.device.power_off()
    assert not world.cloud.online
    world.cloud.offer(replace(upgrades.following(), version="1.2"))
    assert len(world.cloud.reports) == reports
    assert world.run_until(lambda: world.is_settled)
    assert world.cloud.reports[-1] == "1.2"


def test_log_lines_carry_their_virtual_time() -> None:
    world, lines = upgrade()
    assert world.run()
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    published = [line.split("> ")[1] for line in lines if "mqtt     > " in line]
    assert json.loads(published[0])["data"] == [{"DP": 1000, "value": True}]
