"""Forced, optional and silent: when a download begins, and what becomes of an offer that waits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

import pytest
from device_rig import PIECE, Bench, Package, TestPort, application, bench, package, task

from cloudsdk import events as ev
from cloudsdk.errors import UsageError
from cloudsdk.ota.task import UpgradeMode
from cloudsdk.profile import MANUAL, V2_0_0
from cloudsdk.upgrade_policy import (
    BEGIN,
    DECLINED,
    LONGEST_WAIT,
    SHORTEST_WAIT,
    Answer,
    DailyWindow,
    Rule,
    UpgradeOffer,
    UpgradePolicy,
    never,
    now,
    postponed,
)

APP = package("app", "2.0.0", application("2.0.0", 3000))
FILES = package("filesystem", "0.1", bytes(range(250)) * 8)
FORCED, OPTIONAL, SILENT = 1, 2, 3
ASK = "upgrade-ask"


@dataclass
class Clock:
    """A local time that a test moves."""

    now: datetime = datetime(2026, 3, 1, 12, 0)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Owner:
    """Whoever is asked; says what `answers` holds, the last one for ever."""

    answers: list[Answer]
    offers: list[UpgradeOffer] = field(default_factory=list)

    def __call__(self, offer: UpgradeOffer) -> Answer:
        self.offers.append(offer)
        return self.answers[min(len(self.offers), len(self.answers)) - 1]


def device(policy: UpgradePolicy, profile: object = MANUAL) -> Bench:
    port = TestPort()
    port.policy = policy
    found = bench(port=port, profile=profile)  # type: ignore[arg-type]
    found.driver.online()
    return found


def offer(mode: int, *packages: Package) -> bytes:
    return task(*(each.element(upgrade_mode=mode) for each in packages or (APP,)))


def begun(found: Bench) -> bool:
    return found.driver.has(ev.HttpRequest)


def finish(found: Bench) -> None:
    request = found.driver.request.request
    found.driver.handle(ev.HttpOpened(request, 200, {}))
    for offset in range(0, len(APP.body), PIECE):
        found.driver.handle(ev.HttpData(request, APP.body[offset : offset + PIECE]))


# Session


def test_forced_begins_whatever_the_rules_say() -> None:
    found = device(UpgradePolicy(never, never))
    found.driver.message(offer(FORCED))
    assert begun(found)
    assert found.port.hooks == ["start"]


@pytest.mark.parametrize("mode", [OPTIONAL, SILENT])
def test_without_rules_every_mode_begins_at_once(mode: int) -> None:
    found = device(UpgradePolicy())
    found.driver.message(offer(mode))
    assert begun(found)
    assert not any("Upgrade app" in line for line in found.driver.lines())


def test_unknown_mode_begins_as_forced_does() -> None:
    found = device(UpgradePolicy(never, never))
    found.driver.message(offer(7))
    assert begun(found)


def test_2_0_0_does_not_ask() -> None:
    owner = Owner([DECLINED])
    found = device(UpgradePolicy(owner, owner), V2_0_0)
    for mode in (OPTIONAL, SILENT):
        found.driver.message(offer(mode))
    assert owner.offers == []
    assert found.port.hooks == ["start"]


def test_declined_offer_is_put_again_when_the_cloud_sends_it_again() -> None:
    owner = Owner([DECLINED, DECLINED, BEGIN])
    found = device(UpgradePolicy(optional=owner))
    found.driver.message(offer(OPTIONAL))
    assert not begun(found)
    assert found.driver.lines() == ["[I/cld.ota] Upgrade app 2.0.0 is optional: declined"]
    assert ASK not in found.driver.timers
    assert found.port.hooks == []
    found.driver.message(offer(OPTIONAL))
    assert not begun(found)
    assert found.driver.lines() == []  # it was said already
    found.driver.message(offer(OPTIONAL))
    assert begun(found)
    assert owner.offers == [UpgradeOffer("1.1", "app", "2.0.0", UpgradeMode.OPTIONAL)] * 3


def test_postponed_offer_is_put_again_after_its_time() -> None:
    found = device(UpgradePolicy(optional=Owner([postponed(90), BEGIN])))
    found.driver.message(offer(OPTIONAL))
    assert not begun(found)
    assert found.driver.timers[ASK] == 90
    assert found.driver.lines() == ["[I/cld.ota] Upgrade app 2.0.0 is optional: postponed for 90 s"]
    found.driver.fire(ASK)
    assert begun(found)
    assert found.port.hooks == ["start"]


def test_answer_that_wants_to_be_asked_at_once_has_to_wait_a_little() -> None:
    found = device(UpgradePolicy(optional=Owner([postponed(-5)])))
    found.driver.message(offer(OPTIONAL))
    assert found.driver.timers[ASK] == SHORTEST_WAIT


def test_silent_waits_without_a_line() -> None:
    found = device(UpgradePolicy(silent=Owner([postponed(90), BEGIN])))
    found.driver.message(offer(SILENT))
    assert not begun(found)
    assert found.driver.lines() == []
    found.driver.fire(ASK)
    assert begun(found)


def test_new_task_takes_the_place_of_one_that_waits() -> None:
    found = device(UpgradePolicy(optional=Owner([postponed(90)])))
    found.driver.message(offer(OPTIONAL))
    found.driver.message(offer(FORCED, FILES))
    assert found.driver.request.url == FILES.url
    assert ASK not in found.driver.timers


def test_task_that_is_installed_ends_the_waiting() -> None:
    found = device(UpgradePolicy(optional=Owner([postponed(90)])))
    found.driver.message(offer(OPTIONAL))
    found.driver.message(task(APP.element(file_version="1.0.0"), version="1.0"))
    assert ASK not in found.driver.timers
    assert found.env.saved["cld_dev_mver"] == "1.0"


def test_waiting_survives_a_lost_connection_and_stays_one_download() -> None:
    found = device(UpgradePolicy(optional=Owner([postponed(90), postponed(30), BEGIN])))
    driver = found.driver
    driver.message(offer(OPTIONAL))
    driver.handle(ev.MqttLost("gone"))
    driver.fire("mqtt-reconnect")
    driver.handle(ev.MqttConnected())
    driver.handle(ev.MqttSubscribed())
    driver.message(offer(OPTIONAL))
    assert driver.timers[ASK] == 30
    driver.fire(ASK)
    assert begun(found)
    driver.message(offer(OPTIONAL))  # of a third connection, while the download runs
    assert not begun(found)
    assert found.port.hooks == ["start"]


def test_postponed_upgrade_ends_as_any_other() -> None:
    found = device(UpgradePolicy(optional=Owner([postponed(90), BEGIN])))
    found.driver.message(offer(OPTIONAL))
    found.driver.fire(ASK)
    finish(found)
    assert found.driver.has(ev.Reset)
    assert found.port.hooks == ["start", "end 0"]
    assert found.env.saved["cld_ota_mver"] == "1.1"


def test_subclass_of_the_port_decides_by_itself() -> None:
    class Careful(TestPort):
        def may_upgrade(self, offer: UpgradeOffer) -> Answer:
            return DECLINED if offer.mode is UpgradeMode.FORCED else BEGIN

    found = bench(port=Careful())
    found.driver.online()
    found.driver.message(offer(FORCED))
    assert not begun(found)
    found.driver.message(offer(OPTIONAL))
    assert begun(found)


def test_window_is_asked_in_virtual_time() -> None:
    clock = Clock()
    window = DailyWindow(time(2), time(4), clock)
    found = device(UpgradePolicy(optional=window))
    driver = found.driver
    driver.message(offer(OPTIONAL))
    waited = timedelta()
    while not begun(found):
        wait = timedelta(seconds=driver.timers[ASK])
        assert wait <= timedelta(seconds=LONGEST_WAIT)
        clock.now += wait
        waited += wait
        driver.fire(ASK)
    assert clock.now == datetime(2026, 3, 2, 2, 0)
    assert waited == timedelta(hours=14)
    assert [line for line in driver.lines() if "Upgrade" in line] == [
        "[I/cld.ota] Upgrade app 2.0.0 is optional: waits for 02:00-04:00"
    ]


# Rules

ANY = UpgradeOffer("1.1", "app", "2.0.0", UpgradeMode.OPTIONAL)


@pytest.mark.parametrize(
    ("window", "moment", "wait"),
    [
        ("02:00-04:00", "01:59:30", 30.0),
        ("02:00-04:00", "02:00:00", None),
        ("02:00-04:00", "03:59:59", None),
        ("02:00-04:00", "04:00:00", LONGEST_WAIT),
        ("22:00-04:00", "21:59:59", 1.0),
        ("22:00-04:00", "22:00:00", None),
        ("22:00-04:00", "00:00:00", None),
        ("22:00-04:00", "04:00:00", LONGEST_WAIT),
        ("00:00-23:59", "23:59:00", 60.0),
    ],
)
def test_daily_window(window: str, moment: str, wait: float | None) -> None:
    start, end = (time.fromisoformat(text) for text in window.split("-"))
    clock = Clock(datetime.combine(datetime(2026, 3, 1), time.fromisoformat(moment)))
    answer = DailyWindow(start, end, clock)(ANY)
    assert answer == (BEGIN if wait is None else Answer(False, f"waits for {window}", wait))


def test_empty_window_is_refused() -> None:
    with pytest.raises(UsageError, match="02:00-02:00 is empty"):
        DailyWindow(time(2), time(2), Clock())


@pytest.mark.parametrize(("rule", "answer"), [(now, BEGIN), (never, DECLINED)])
def test_rules_without_a_clock(rule: Rule, answer: Answer) -> None:
    assert rule(ANY) is answer


def test_policy_looks_only_at_the_rule_of_the_mode() -> None:
    owner: Callable[[UpgradeOffer], Answer] = Owner([DECLINED])
    policy = UpgradePolicy(optional=now, silent=owner)
    assert policy.answer(ANY) is BEGIN
    assert policy.answer(UpgradeOffer("1.1", "app", "2.0.0", UpgradeMode.SILENT)) is DECLINED
