"""Loss of power at any flash operation between task and installation: old or new firmware, never neither.

The cloud here lies in memory, the bootloader and the journal are the real ones.
"""

import random
from dataclasses import dataclass

import pytest
from device_rig import (
    IOT_BOARD,
    OLD_APP,
    Cloud,
    Device,
    Package,
    application,
    fork,
    make_pages,
    package,
    with_nor,
)

from cloudsdk.errors import FlashError
from cloudsdk.ota.header import HEADER_SIZE, Compression
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from flash_images import samples
from sim.board import Board, make_board
from sim.flash.layout import BoardLayout
from sim.flash.nor import NorFlash
from sim.flash.pages import MemoryPages
from sim.flash.power import CutMoment, FlashOperation, PowerCut, Trigger

NEW_APP = application("2.0.0")
FILES = samples.filesystem("1.0.0", size=16384)
APP_PACKAGE = package("app", "2.0.0", NEW_APP, aes=True)
FILES_PACKAGE = package("filesystem", "1.0.0", FILES, Compression.QUICKLZ)
SET = [APP_PACKAGE, FILES_PACKAGE]
#: Boots from power on: resume and reset, install and next package and reset, install and report.
MOST_BOOTS = 3
COARSE = with_nor(program_unit=8)
BIG_BLOCKS = with_nor(block_size=16384)
COARSE_BIG_BLOCKS = with_nor(block_size=8192, program_unit=8)
MOMENTS = tuple(CutMoment)


@dataclass(frozen=True)
class Cut:
    """One loss of power: the `index`-th operation since power on, at page and block level when `fine`."""

    index: int
    moment: CutMoment
    fine: bool = False

    def trigger(self, index: int, _operation: FlashOperation) -> CutMoment | None:
        return self.moment if index == self.index else None


class Scenario:
    """A board before its task, from which any number of runs begin."""

    def __init__(self, layout: BoardLayout, packages: list[Package], profile: Profile = MANUAL) -> None:
        self.layout = layout
        self.packages = packages
        self.profile = profile
        self._pages = make_pages(layout)

    def device(self, pages: dict[str, MemoryPages] | None = None) -> Device:
        board = make_board(self.layout, dict(pages or fork(self._pages)))
        device = Device(board, Cloud(self.packages), profile=self.profile)
        device.on_boot = lambda: check_application(device)
        device.cloud.is_complete = lambda: all(
            board.installed(each.header.name_text) == each.header for each in self.packages
        )
        return device

    def operations(self, *, fine: bool = False) -> list[FlashOperation]:
        """Those of a run that nothing disturbs."""
        device = self.device()
        with device.board.power.recording(fine=fine) as operations:
            device.power_on(MOST_BOOTS)
        check_upgraded(device)
        return operations


def image(board: Board, name: str, size: int) -> bytes:
    return board.partition(name).read(0, size)


def check_application(device: Device) -> None:
    """What was booted is one of the two applications, whole."""
    header = device.board.installed("app")
    assert header is not None
    old, new = header.version_text == "1.0.0", header.version_text == "2.0.0"
    assert old or new
    expected = OLD_APP if old else NEW_APP
    assert image(device.board, "app", len(expected)) == expected


def check_upgraded(device: Device) -> None:
    for each in device.cloud.packages.values():
        assert device.board.installed(each.header.name_text) == each.header
    assert image(device.board, "app", len(NEW_APP)) == NEW_APP
    if FILES_PACKAGE.url in device.cloud.packages:
        assert image(device.board, "filesystem", len(FILES)) == FILES
    assert device.cloud.reports[-1] == "1.1"
    assert all(nor.statistics.lost_programs == 0 for nor in devices(device))


def devices(device: Device) -> list[NorFlash]:
    return [partition.device for partition in device.board.partitions]


def step(layout: BoardLayout) -> int:
    """Bytes that may be asked for again: none on parts that can be programmed bytewise."""
    nor = layout.devices[1]
    return 1024 if nor.program_unit == 1 else max(4096, nor.block_size)


def lose_power(scenario: Scenario, cuts: list[Cut], *, torn: float = 0.5) -> Device:
    """Run with the given losses of power, one per power on, and then to the end."""
    device = scenario.device()
    cloud, power = device.cloud, device.board.power
    power.torn_fraction = torn
    floors: dict[str, int] = {}

    def power_on() -> None:
        asked = len(cloud.ranges)
        try:
            device.power_on(MOST_BOOTS)
        finally:
            for url, start in cloud.ranges[asked:]:
                assert start >= floors.get(url, 0) // step(scenario.layout) * step(scenario.layout)
            floors.update(cloud.arrived)

    for cut in cuts:
        power.arm(cut.trigger, fine=cut.fine)
        try:
            power_on()
        except PowerCut:
            continue
        break
    power.disarm()
    power_on()
    check_upgraded(device)
    return device


def sweep(scenario: Scenario, cuts: list[list[Cut]], *, torn: float = 0.5) -> None:
    for each in cuts:
        try:
            lose_power(scenario, each, torn=torn)
        except AssertionError as exc:
            raise AssertionError(f"after {each}, torn {torn}: {exc}") from exc


def test_undisturbed_upgrade_asks_for_every_package_once() -> None:
    device = Scenario(IOT_BOARD, SET).device()
    device.power_on(MOST_BOOTS)
    check_upgraded(device)
    assert device.boots == 3
    assert device.cloud.ranges == [(APP_PACKAGE.url, 0), (FILES_PACKAGE.url, 0)]
    assert list(dict.fromkeys(device.cloud.reports)) == ["0.0", "1.1"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_cut_at_every_driver_call(moment: CutMoment) -> None:
    scenario = Scenario(IOT_BOARD, SET)
    count = len(scenario.operations())
    assert count > 60
    sweep(scenario, [[Cut(index, moment)] for index in range(count)])


@pytest.mark.parametrize(
    "layout", [COARSE, BIG_BLOCKS, COARSE_BIG_BLOCKS], ids=["coarse", "big", "coarse-big"]
)
def test_cut_on_other_flash(layout: BoardLayout) -> None:
    scenario = Scenario(layout, SET)
    count = len(scenario.operations())
    source = random.Random(20181013)
    sweep(scenario, [[Cut(source.randrange(count), source.choice(MOMENTS))] for _ in range(25)])


def test_parts_with_error_correction_are_never_programmed_twice() -> None:
    scenario = Scenario(COARSE, SET)
    for index in range(0, len(scenario.operations()), 3):
        device = lose_power(scenario, [Cut(index, CutMoment.TORN)])
        assert all(nor.statistics.dirty_programs == 0 for nor in devices(device))


@pytest.mark.parametrize("torn", [0.1, 0.9])
def test_cut_inside_pages_and_blocks(torn: float) -> None:
    scenario = Scenario(IOT_BOARD, SET)
    count = len(scenario.operations(fine=True))
    source = random.Random(int(torn * 10))
    sweep(scenario, [[Cut(source.randrange(count), CutMoment.TORN, fine=True)] for _ in range(25)], torn=torn)


def test_second_cut_while_recovering_from_the_first() -> None:
    scenario = Scenario(IOT_BOARD, SET)
    count = len(scenario.operations())
    source = random.Random(2)
    pairs = [
        [
            Cut(source.randrange(count), source.choice(MOMENTS)),
            Cut(source.randrange(20), source.choice(MOMENTS)),
        ]
        for _ in range(50)
    ]
    sweep(scenario, pairs)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", [IOT_BOARD, COARSE, BIG_BLOCKS], ids=["iot-board", "coarse", "big"])
def test_full_sweep(layout: BoardLayout) -> None:
    both = [package("app", "2.0.0", NEW_APP, Compression.QUICKLZ, aes=True), FILES_PACKAGE]
    for packages in (SET, both):
        scenario = Scenario(layout, packages)
        calls, primitives = len(scenario.operations()), len(scenario.operations(fine=True))
        sweep(scenario, [[Cut(index, moment)] for index in range(calls) for moment in MOMENTS])
        sweep(scenario, [[Cut(index, CutMoment.TORN, fine=True)] for index in range(primitives)], torn=0.3)
        source = random.Random(3)
        sweep(
            scenario,
            [[Cut(source.randrange(calls), source.choice(MOMENTS)) for _ in range(4)] for _ in range(300)],
        )


def test_v2_0_0_starts_afresh_after_a_loss_of_power() -> None:
    scenario = Scenario(IOT_BOARD, SET, V2_0_0)
    writes = [index for index, operation in enumerate(scenario.operations()) if operation.length == 1024]
    device = scenario.device()
    device.board.power.arm(Cut(writes[5], CutMoment.BEFORE).trigger)
    with pytest.raises(PowerCut):
        device.power_on()
    device.board.power.disarm()
    assert device.cloud.arrived[APP_PACKAGE.url] == 5 * 1024
    device.power_on()
    assert device.cloud.ranges == [(APP_PACKAGE.url, 0), (APP_PACKAGE.url, 0), (FILES_PACKAGE.url, 0)]
    check_upgraded(device)


@pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)
def test_flash_failing_once_under_the_application_is_survived(profile: Profile) -> None:
    scenario = Scenario(IOT_BOARD, SET, profile)
    failed = 0
    for index in range(len(scenario.operations())):
        device = scenario.device()
        device.board.power.arm(failing(device, index))
        device.power_on()
        device.board.power.disarm()
        failed += device.cloud.reports[-1] != "1.1"
        device.power_on()
        check_upgraded(device)
    assert failed > 10


def failing(device: Device, at: int) -> Trigger:
    def trigger(index: int, _operation: FlashOperation) -> CutMoment | None:
        if index == at and device.in_application:
            raise FlashError("worn out")
        return None

    return trigger


@pytest.mark.parametrize(
    ("beyond", "resumed"), [(0, True), (16, False)], ids=["just fits", "reaches into the journal"]
)
def test_largest_package_with_a_journal_and_the_next_without(beyond: int, resumed: bool) -> None:
    area = IOT_BOARD.partitions[3].length
    size = area - 2 * 4096 - HEADER_SIZE + beyond
    wanted = package("filesystem", "1.0.0", bytes(index * 7 % 251 for index in range(size)))
    scenario = Scenario(IOT_BOARD, [wanted])
    device = scenario.device()
    device.board.power.arm(Cut(1000, CutMoment.TORN).trigger)
    with pytest.raises(PowerCut):
        device.power_on()
    device.board.power.disarm()
    device.power_on(MOST_BOOTS)
    assert device.board.installed("filesystem") == wanted.header
    assert image(device.board, "filesystem", size) == bytes(index * 7 % 251 for index in range(size))
    assert device.cloud.ranges == [(wanted.url, 0), (wanted.url, device.cloud.ranges[1][1])]
    assert (device.cloud.ranges[1][1] > 400 * 1024) == resumed
    assert resumed or device.cloud.ranges[1][1] == 0
