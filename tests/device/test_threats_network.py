"""Networks that lose, delay, repeat and break: docs/threats.md, network. One upgrade per task, no more."""

import itertools

import pytest
from threat_world import GREATER, HOUR, Threat, fault

from cloudsdk.limits import Limits
from cloudsdk.profile import V2_0_0
from sim.virtual.clock import SECOND
from sim.virtual.faults import Fault, Faults, FaultSchedule, Kind, Outage, Plan

K = Kind
MESSAGES = range(5)  # those of the first connection


def mqtt(*first: Faults, later: Faults = ()) -> FaultSchedule:
    return FaultSchedule(mqtt=Plan(first, later))


@pytest.mark.parametrize("number", MESSAGES)
@pytest.mark.parametrize(
    "kind", [K.LOSS, K.DUPLICATE, K.REORDER, K.RESET, K.LIMIT_DATA, K.TIMEOUT, K.HALF_OPEN]
)
def test_one_upgrade_per_task_whatever_happens_to_one_message(kind: Kind, number: int) -> None:
    threat = Threat(mqtt(fault(kind, number), fault(kind, number))).run()
    assert threat.is_upgraded()
    assert len(threat.requests) == 2


def test_every_message_twice_is_one_upgrade() -> None:
    threat = Threat(mqtt(later=tuple(Fault(K.DUPLICATE, number) for number in range(50)))).run()
    assert threat.is_upgraded()
    assert len(threat.requests) == 2


@pytest.mark.parametrize("kind", [K.LATENCY, K.JITTER])
def test_latency_and_jitter_change_nothing(kind: Kind) -> None:
    assert Threat(mqtt(later=fault(kind, 900_000))).run().is_upgraded()


def test_broker_restart_is_survived() -> None:
    for second in (1, 2, 3, 4):
        threat = Threat(FaultSchedule(broker=(Outage(second * SECOND, 90 * SECOND),))).run()
        assert threat.is_upgraded()


def test_reconnect_backs_off_boundedly() -> None:
    threat = Threat(FaultSchedule(broker=(Outage(0, HOUR),))).run()
    assert threat.is_upgraded()
    times = [float(line.split()[0]) for line in threat.lines if " mqtt     CONNECT" in line]
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
    assert pauses[:6] == [5, 10, 20, 40, 60, 60]
    assert max(pauses) == Limits().mqtt_reconnect_longest


def test_v2_0_0_reconnects_every_five_seconds() -> None:
    threat = Threat(FaultSchedule(broker=(Outage(0, 600 * SECOND),)), profile=V2_0_0)
    threat.world.device.power_on()
    threat.world.run_for(600 * SECOND)
    assert threat.world.network.connections == pytest.approx(120, abs=2)


def test_broker_that_accepts_and_drops_is_reconnected_to_at_the_first_distance() -> None:
    threat = Threat(mqtt(*[fault(K.RESET, 1)] * 20)).run()
    assert threat.is_upgraded()


def test_download_goes_on_while_the_broker_is_away() -> None:
    faults = FaultSchedule(
        broker=(Outage(2 * SECOND, 600 * SECOND),), http=Plan((fault(K.BANDWIDTH, 100), ()))
    )
    threat = Threat(faults).run()
    assert threat.is_upgraded()
    assert len(threat.requests) == 2


@pytest.mark.parametrize("kind", [K.UNREACHABLE, K.RESET, K.HALF_OPEN, K.TIMEOUT, K.TRUNCATED])
def test_activation_is_repeated_until_it_succeeds(kind: Kind) -> None:
    faults = FaultSchedule(activation=Plan((fault(kind, 10),) * 3))
    threat = Threat(faults).run()
    assert threat.is_upgraded()
    assert threat.reported == GREATER.version
