"""The subject the laboratory is made for: what it runs, and that it can reach every verdict."""

from collections.abc import Callable, Mapping
from functools import cache

import pytest

from cloudsdk import events as ev
from cloudsdk.datapoints import Received
from cloudsdk.ota.errors import PackageError
from cloudsdk.ota.header import Compression, Encryption
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from cloudsdk.ota.task import TaskFirmware
from cloudsdk.port import OtaStatus
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from cloudsdk.session import Session
from flash_images import samples
from sim.board import Board, PartitionNameError, install, make_board
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.faults.powercut.corpus.board import TRUSTING
from sim.faults.powercut.model import Judgement, Point, Verdict
from sim.faults.powercut.sweep import Laboratory, SweepOptions
from sim.faults.powercut.upgrade import Upgrade, UpgradeError
from sim.faults.powercut.world import Console
from sim.flash.layout import load_board
from sim.flash.pages import MemoryPages

LAYOUT = load_board("iot-board")
KEYS = PackageKeys(b"k" * 32, b"i" * 16)


def application(version: str) -> bytes:
    return samples.application(version, link_address=LAYOUT.app.link_address, size=4500)


def package(name: str, version: str, raw: bytes, compression: Compression = Compression.NONE) -> bytes:
    return pack(
        raw,
        name=name,
        version=version,
        timestamp=1600000000,
        compression=compression,
        encryption=Encryption.AES256,
        key=KEYS.key,
        iv=KEYS.iv,
    )


APP = package("app", "2.0.0", application("2.0.0"))
SMALL_APP = package("app", "2.0.0", application("2.0.0"), Compression.QUICKLZ)
FILES = package("filesystem", "1.0.0", samples.filesystem("1.0.0", size=8192), Compression.QUICKLZ)


@cache
def pages() -> Mapping[str, MemoryPages]:
    content = {device.name: MemoryPages(device.size) for device in LAYOUT.devices}
    board = make_board(LAYOUT, dict(content))
    install(board, "bootloader", bytes(range(256)), version="1.3", timestamp=1545134551)
    install(board, "app", application("1.0.0"), version="1.0.0", timestamp=1539410981)
    return content


def upgrade(
    *packages: bytes,
    profile: Profile = MANUAL,
    boot: Callable[[Board, Console], BootResult] = Board.boot,
    make_session: Callable[..., Session] = Session,
) -> Upgrade:
    return Upgrade(
        LAYOUT, pages(), packages or [APP], keys=KEYS, profile=profile, boot=boot, make_session=make_session
    )


def undisturbed(subject: Upgrade) -> Judgement:
    return Laboratory(subject).dry_run()[1]


@pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)
@pytest.mark.parametrize(
    ("packages", "starts"),
    [([APP], 2), ([SMALL_APP], 2), ([SMALL_APP, FILES], 3), ([FILES, APP], 3)],
    ids=["app", "app QuickLZ", "app and filesystem", "filesystem and app"],
)
def test_undisturbed_run_ends_with_the_new_set(packages: list[bytes], starts: int, profile: Profile) -> None:
    judgement = undisturbed(upgrade(*packages, profile=profile))
    assert judgement.verdict is Verdict.RECOVERED_NEW
    assert judgement.detail.startswith("reports 1.1, ")
    assert judgement.detail.count("is new") == len(packages)
    assert judgement.starts == starts


def test_content_given_is_not_changed() -> None:
    before = {name: store.snapshot() for name, store in pages().items()}
    assert undisturbed(upgrade()).verdict is Verdict.RECOVERED_NEW
    assert {name: store.snapshot() for name, store in pages().items()} == before


def test_sites_name_who_was_at_work_and_where() -> None:
    sites, _ = Laboratory(upgrade(APP, FILES)).dry_run()
    found = {(site.stage, site.partition) for site in sites}
    assert found == {
        ("bootloader", "app"),
        ("bootloader", "filesystem"),
        ("bootloader", "download"),
        ("application", "download"),
        ("application", "easyflash"),
    }


# --- every verdict by hand ------------------------------------------------------------------------------


class Deaf(Session):
    def _on_task(self, element: Received) -> bool:
        return True


class Forgetful(Session):
    def _set_is_complete(self, version: str) -> bool:
        return True

    def _store_result(self, firmware: TaskFirmware) -> bool:
        return True


class Boasting(Session):
    def _on_task(self, element: Received) -> bool:
        return self._set_is_complete("1.1")


class Restless(Session):
    def _on_task(self, element: Received) -> bool:
        self._end(OtaStatus.OK)
        return True


class Ticking(Session):
    def handle(self, event: ev.Event) -> list[ev.Effect]:
        return [ev.StartTimer("tick", 1.0)]


class Fragile(Session):
    def handle(self, event: ev.Event) -> list[ev.Effect]:
        raise RuntimeError("stack overflow")


def starting_anything(board: Board, console: Console) -> BootResult:
    board.partition("app").write(1024, bytes(64))
    return BootResult(BootOutcome.JUMP)


def spoiling_files(board: Board, console: Console) -> BootResult:
    result = board.boot(console)
    board.partition("filesystem").write(0, bytes(8))
    return result


def dead(board: Board, console: Console) -> BootResult:
    return BootResult(BootOutcome.HALT, diagnosis="no clock")


@pytest.mark.parametrize(
    ("subject", "verdict", "detail"),
    [
        (upgrade(make_session=Deaf), Verdict.RECOVERED_OLD, "reports 0.0, app is old"),
        (upgrade(make_session=Forgetful), Verdict.WRONG_IMAGE, "reports 0.0, app is new"),
        (upgrade(make_session=Boasting), Verdict.SILENT_CORRUPTION, "reports 1.1, app is old"),
        (upgrade(make_session=Restless), Verdict.NO_CONVERGENCE, "not at rest after 16 starts"),
        (upgrade(make_session=Ticking), Verdict.NO_CONVERGENCE, "not at rest after 20000 events"),
        (upgrade(make_session=Fragile), Verdict.BRICK, "RuntimeError: stack overflow"),
        (upgrade(boot=starting_anything), Verdict.SILENT_CORRUPTION, "neither the old nor the new"),
        (upgrade(FILES, boot=spoiling_files), Verdict.SILENT_CORRUPTION, "filesystem is damaged"),
        (upgrade(boot=dead), Verdict.BRICK, "halt: no clock"),
    ],
    ids=["deaf", "forgetful", "boasting", "restless", "ticking", "fragile", "damage", "files", "dead"],
)
def test_verdict(subject: Upgrade, verdict: Verdict, detail: str) -> None:
    judgement = undisturbed(subject)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


# --- the sweep's verdict is the replay's ----------------------------------------------------------------


class Hasty(Session):
    """Stores the task's version before the download, so that some cuts leave a bad state."""

    def _begin_download(self, firmware: TaskFirmware) -> None:
        self._store_result(firmware)
        super()._begin_download(firmware)


@pytest.mark.parametrize("fine", [False, True], ids=["calls", "fine"])
@pytest.mark.parametrize("make_session", [Session, Hasty], ids=["real", "hasty"])
def test_replay_gives_the_verdict_of_the_sweep(make_session: Callable[..., Session], fine: bool) -> None:
    subject = upgrade(SMALL_APP, FILES, profile=TRUSTING, make_session=make_session)
    laboratory = Laboratory(subject, SweepOptions(fine=fine, points=15, nested=15, seed=20181013))
    points: list[Point] = []
    laboratory.sweep(laboratory.plan(laboratory.dry_run()[0]), points.append)
    assert [len(point.schedule.cuts) for point in points].count(2) >= 10
    for point in points:
        replayed = laboratory.replay(point.schedule, lambda _text: None)
        assert replayed.judgement == point.judgement, str(point.schedule)
    verdicts = {point.judgement.verdict for point in points}
    assert (verdicts == {Verdict.RECOVERED_NEW}) == (make_session is Session)


# --- what makes no upgrade ------------------------------------------------------------------------------


def large_package(name: str, size: int) -> bytes:
    return package(name, "2.0.0", bytes(size))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (package("app", "1.0.0", application("x")), "holds version 1.0.0 already"),
        (package("filesystem", "0.0", application("x")), "holds version 0.0 already"),
        (large_package("app", 0x70000), "partition 'app', which has 458752"),
        (large_package("filesystem", 0x100000), "partition 'download', which has 1048576"),
    ],
    ids=["same version", "version of nothing", "too large for app", "too large for download"],
)
def test_package_that_is_no_upgrade_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UpgradeError, match=reason):
        upgrade(data)


def test_package_without_a_partition_is_refused() -> None:
    with pytest.raises(PartitionNameError):
        upgrade(package("nosuch", "1.0", application("x")))


@pytest.mark.parametrize("data", [b"", APP[:50], APP[:-1], APP[:-1] + b"\0"], ids=range(4))
def test_damaged_package_is_refused(data: bytes) -> None:
    with pytest.raises(PackageError):
        upgrade(data)
