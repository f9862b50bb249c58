"""Our own downloader, journal and ENV on every kind of board: no brick, no silent corruption, at any cut."""

from collections import Counter
from collections.abc import Mapping
from functools import cache

import pytest

from cloudsdk.ota.header import Compression, Encryption
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from flash_images import samples
from sim.board import furnish, make_board
from sim.faults.powercut.model import Point, Verdict
from sim.faults.powercut.sweep import Laboratory, SweepOptions
from sim.faults.powercut.upgrade import Upgrade
from sim.flash.layout import BoardLayout, load_board, with_bootloader
from sim.flash.pages import MemoryPages
from sim.flash.power import TornStyle

#: W25Q128 beside an STM32L4, W25Q64 beside another, sectors of three sizes.
BOARDS = ("iot-board", "manual-w25q64", "stm32f407")
BOOTLOADERS = ("rt_ota", "qboot")
TIMESTAMP = 1546300800
boards = pytest.mark.parametrize("board", BOARDS)
bootloaders = pytest.mark.parametrize("kind", BOOTLOADERS)
secrecy = pytest.mark.parametrize("secret", [False, True], ids=["plain", "aes-quicklz"])


@cache
def layout_of(board: str, kind: str) -> BoardLayout:
    return with_bootloader(load_board(board), kind)


@cache
def pages_of(board: str, kind: str) -> Mapping[str, MemoryPages]:
    layout = layout_of(board, kind)
    pages = {device.name: MemoryPages(device.size) for device in layout.devices}
    furnish(make_board(layout, dict(pages)), app_version="1.0.0")
    return pages


@cache
def package(board: str, kind: str, version: str, size: int, secret: bool) -> bytes:
    layout = layout_of(board, kind)
    return pack(
        samples.application(version, link_address=layout.app.link_address, size=size),
        name=layout.app.partition,
        version=version,
        timestamp=TIMESTAMP,
        flavour="qboot" if kind == "qboot" else "official",
        compression=Compression.QUICKLZ if secret else Compression.NONE,
        encryption=Encryption.AES256 if secret else Encryption.NONE,
        key=DEFAULT_KEY,
        iv=DEFAULT_IV,
    )


def upgrade(
    board: str, kind: str, size: int, secret: bool, *, profile: Profile = MANUAL, used: bool = False
) -> Upgrade:
    before = [package(board, kind, "1.5.0", size, secret)] if used else []
    new = package(board, kind, "2.0.0", size, secret)
    return Upgrade(layout_of(board, kind), pages_of(board, kind), [new], profile=profile, before=before)


def sweep(subject: Upgrade, options: SweepOptions) -> Counter[int]:
    """How many schedules of one and of two cuts were judged; all of them good."""
    laboratory = Laboratory(subject, options)
    sites, judgement = laboratory.dry_run()
    assert judgement.verdict is Verdict.RECOVERED_NEW, judgement.detail
    counts: Counter[int] = Counter()

    def report(point: Point) -> None:
        counts[len(point.schedule.cuts)] += 1
        assert point.judgement.verdict.good, f"{point.schedule}: {point.judgement}"

    plan = laboratory.plan(sites)
    laboratory.sweep(plan, report)
    assert counts[1] == len(plan.first)
    return counts


@boards
@bootloaders
@secrecy
def test_every_driver_call(board: str, kind: str, secret: bool) -> None:
    counts = sweep(upgrade(board, kind, 8000, secret), SweepOptions(nested=60))
    assert counts[1] > 90
    assert 50 < counts[2] <= 60  # behind the last operation there is nothing more to cut


@bootloaders
@pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)
def test_board_that_was_upgraded_before(kind: str, profile: Profile) -> None:
    sweep(upgrade("iot-board", kind, 9000, False, profile=profile, used=True), SweepOptions(nested=60))


@bootloaders
@pytest.mark.parametrize("style", TornStyle)
@pytest.mark.parametrize("torn", [0.1, 0.9])
def test_pages_and_blocks_torn_at_either_end(kind: str, style: TornStyle, torn: float) -> None:
    options = SweepOptions(fine=True, points=60, nested=20, torn=torn, torn_style=style)
    sweep(upgrade("iot-board", kind, 8000, True), options)


def test_package_that_ends_with_an_erase_block_is_never_installed_a_second_time_by_qboot() -> None:
    """QBoot takes the release sign of the package before for that of the new one (docs/bootloaders.md)."""
    size = 7 * 4096 - 96
    laboratory = Laboratory(upgrade("iot-board", "qboot", size, False, used=True))
    _, judgement = laboratory.dry_run()
    assert judgement.verdict is not Verdict.RECOVERED_NEW
    assert "app is old" in judgement.detail
    sweep(upgrade("iot-board", "rt_ota", size, False, used=True), SweepOptions(points=60))


@pytest.mark.full
@pytest.mark.timeout(1800)
@boards
@bootloaders
@secrecy
def test_everything_twice(board: str, kind: str, secret: bool) -> None:
    sweep(upgrade(board, kind, 5000, secret), SweepOptions(nested=None))
    sweep(upgrade(board, kind, 5000, secret), SweepOptions(fine=True, nested=2000))
    sweep(upgrade(board, kind, 100_000, secret), SweepOptions(nested=500))
