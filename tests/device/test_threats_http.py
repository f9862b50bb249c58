"""Servers and networks that lie about a package: docs/threats.md, HTTP."""

import itertools

import pytest
from threat_world import APP, GREATER, HOUR, Threat, fault, http

from cloudsdk.limits import Limits
from cloudsdk.profile import V2_0_0
from sim.virtual.clock import SECOND
from sim.virtual.faults import Faults, Kind
from sim.virtual.releases import Task

K = Kind
BODY = len(APP.body)
RETRY = "Open URL or receive data error, wait to connect again !"
GIVEN_UP = "Given up after"
HALF = 2049  # bytes: two blocks and a byte
LIES = [
    fault(K.OTHER_OFFSET, 1024),
    fault(K.OTHER_OFFSET, 1),
    fault(K.UNTOLD_OFFSET, 1024),
    fault(K.WHOLE),
    fault(K.CHANGED_ETAG),
    fault(K.OTHER_BODY),
    fault(K.NO_ETAG),
    (*fault(K.OTHER_BODY), *fault(K.NO_ETAG)),
    fault(K.NOT_SATISFIABLE),
    fault(K.NOT_FOUND),
    fault(K.UNAVAILABLE),
    fault(K.REDIRECT),
    fault(K.UNREACHABLE),
]
NAMES = ["+".join(each.kind for each in lie) for lie in LIES]


@pytest.mark.parametrize("kind", [K.ENDLESS, K.LONGER])
def test_body_longer_than_declared_is_cut_at_the_declared_size(kind: Kind) -> None:
    threat = Threat(http(later=fault(kind, 5000))).run()
    assert threat.is_upgraded()
    assert threat.starts == [0, 0]


@pytest.mark.parametrize("kind", [K.ENDLESS, K.LONGER])
def test_declared_size_beyond_the_partition_is_refused_before_anything_is_asked(kind: Kind) -> None:
    huge = Task("1.1", (APP,), changes=(("file_size", 0x100001),))
    threat = Threat(http(later=fault(kind, 5000)), tasks=(huge,)).run()
    assert threat.failed
    assert threat.requests == []
    assert threat.keeps_old_application()


def test_one_byte_per_second_is_dropped_and_resumed_later() -> None:
    threat = Threat(http(fault(K.RESET, HALF), fault(K.BANDWIDTH, 1))).run()
    assert threat.is_upgraded()
    assert threat.starts == [0, 2048, 2048, 0]
    assert threat.world.clock.now < 5 * 60 * SECOND


def test_one_byte_per_second_for_ever_ends_reported() -> None:
    threat = Threat(http(later=fault(K.BANDWIDTH, 1))).run()
    assert threat.failed
    assert threat.keeps_old_application()
    assert threat.console(GIVEN_UP)


def test_speed_above_the_limit_is_waited_for() -> None:
    threat = Threat(http(fault(K.BANDWIDTH, 20)), limits=Limits(download_lowest_speed=10)).run()
    assert threat.is_upgraded()
    assert threat.starts == [0, 0]
    dropped = Threat(http(fault(K.BANDWIDTH, 20)), limits=Limits(download_lowest_speed=40)).run()
    assert dropped.is_upgraded()
    assert len(dropped.starts) == 3


@pytest.mark.parametrize("less", [1, 16, 1000, BODY - 1, BODY])
def test_truncated_body_is_resumed(less: int) -> None:
    threat = Threat(http(fault(K.TRUNCATED, less))).run()
    assert threat.is_upgraded()
    assert threat.starts == [0, (BODY - less) // 1024 * 1024, 0]


@pytest.mark.parametrize("value", [0, 1, 1023, 1024, 1025, 4096, BODY - 1])
@pytest.mark.parametrize("kind", [K.RESET, K.LIMIT_DATA, K.TIMEOUT, K.HALF_OPEN])
def test_connection_that_ends_at_any_byte_is_resumed(kind: Kind, value: int) -> None:
    threat = Threat(http(fault(kind, value))).run()
    assert threat.is_upgraded()
    assert threat.starts == [0, value // 1024 * 1024, 0]


@pytest.mark.parametrize("kind", [K.LATENCY, K.JITTER, K.SLICER, K.SLOW_CLOSE])
def test_slow_or_sliced_connection_needs_no_second_attempt(kind: Kind) -> None:
    threat = Threat(http(later=fault(kind, 1 if kind is K.SLICER else SECOND))).run()
    assert threat.is_upgraded()
    assert threat.starts == [0, 0]


@pytest.mark.parametrize("lie", LIES, ids=NAMES)
def test_lie_on_resume_ends_right_without_a_spliced_image(lie: Faults) -> None:
    threat = Threat(http(fault(K.RESET, HALF), lie)).run()
    assert threat.reported == GREATER.version
    assert threat.holds([GREATER.releases[1]])
    app = threat.installed("app")
    assert app is not None
    assert app.version_text == "2.0.0"
    assert threat.world.device.boots == 3


@pytest.mark.parametrize("lie", LIES, ids=NAMES)
def test_lie_for_ever_ends_reported_or_right(lie: Faults) -> None:
    threat = Threat(http(fault(K.RESET, HALF), later=lie)).run()
    if threat.reported != GREATER.version:
        assert threat.failed
        assert threat.keeps_old_application()
    # Each time the cloud asks again the device tries again, never without end.
    assert threat.world.network.downloads <= Limits().download_attempts * (threat.world.cloud.patience + 1)


@pytest.mark.parametrize("kind", [K.NOT_FOUND, K.UNAVAILABLE, K.REDIRECT, K.UNREACHABLE, K.NOT_SATISFIABLE])
def test_refusal_for_ever_is_retried_visibly_and_boundedly_with_growing_pauses(kind: Kind) -> None:
    threat = Threat(http(later=fault(kind)))
    threat.world.device.power_on()
    assert threat.world.run_until(lambda: threat.failed, HOUR)
    attempts = Limits().download_attempts
    assert threat.world.network.downloads == attempts
    assert threat.console(RETRY) == attempts
    assert threat.console(f"{GIVEN_UP} {attempts} attempts !") == 1
    times = [float(line.split()[0]) for line in threat.lines if " http     GET" in line]
    pauses = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
    assert pauses == [10, 20, 40, 80, 160, 300, 300]


def test_v2_0_0_retries_every_ten_seconds_for_ever() -> None:
    threat = Threat(http(later=fault(K.NOT_FOUND)), profile=V2_0_0)
    threat.world.device.power_on()
    assert not threat.world.run_until(lambda: threat.failed, HOUR)
    assert threat.world.network.downloads == pytest.approx(HOUR / (10 * SECOND), abs=3)


def test_progress_begins_the_count_of_attempts_again() -> None:
    resets = [fault(K.RESET, 1024)] * 20
    threat = Threat(http(*resets), limits=Limits(download_attempts=2)).run()
    assert threat.is_upgraded()
    assert threat.starts[:4] == [0, 1024, 2048, 3072]
    assert not threat.failed


@pytest.mark.parametrize("beside", [1, 16, 1024])
def test_206_at_another_offset_is_never_appended(beside: int) -> None:
    threat = Threat(http(fault(K.RESET, HALF), fault(K.OTHER_OFFSET, beside))).run()
    assert threat.starts == [0, 2048, 0, 0]
    assert threat.console("Verify firmware CRC32") == 0
    assert threat.is_upgraded()


def test_changed_entity_tag_starts_over_and_no_byte_of_the_old_body_stays() -> None:
    threat = Threat(http(fault(K.RESET, HALF), fault(K.CHANGED_ETAG))).run()
    assert threat.starts == [0, 2048, 0]
    app = threat.installed("app")
    assert app is not None
    assert app != APP.header  # the other build, whole: the boot checks its hash
    assert threat.reported == GREATER.version
    assert not threat.failed


def test_resume_without_an_entity_tag_is_trusted_only_after_verification() -> None:
    other = (*fault(K.OTHER_BODY), *fault(K.NO_ETAG))
    threat = Threat(http((*fault(K.RESET, HALF), *fault(K.NO_ETAG)), other)).run()
    assert threat.starts[:3] == [0, 2048, 0]
    assert threat.console("Verify firmware CRC32") == 1
    assert threat.failed
    assert threat.is_upgraded()


def test_entity_tag_that_a_206_leaves_out_is_not_trusted() -> None:
    threat = Threat(http(fault(K.RESET, HALF), fault(K.NO_ETAG))).run()
    assert threat.starts == [0, 2048, 0, 0]
    assert threat.is_upgraded()
