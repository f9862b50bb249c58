"""The kind rt_ota+factory: an application that does not verify is replaced by the factory firmware."""

from collections.abc import Callable

import pytest
from boot_bench import app_image, board_of, booted, cut_at, put, wipe, with_header

from cloudsdk.errors import FlashError
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.pack import pack
from sim.board import Board, install
from sim.bootloader.outcome import BootOutcome
from sim.flash.power import CutMoment

FAILED = "App verify failed! Need to recovery factory firmware."
BAR = "[I/OTA] OTA Write: [" + "=" * 100 + "] 100%"


@pytest.fixture
def board() -> Board:
    return board_of("rt_ota+factory")


def damage(board: Board) -> None:
    board.partition("app").write(0x4000, bytes(64))


def test_good_application_boots_as_with_rt_ota(board: Board) -> None:
    twin = board_of("rt_ota")
    package = pack(app_image(20000, 3), name="app", version="2.0.0", timestamp=1)
    for each in (board, twin):
        put(each, package)
    first, second = booted(board), booted(twin)
    assert first == second
    assert board.installed("app") == RblHeader.unpack(package)


def test_damaged_application_is_recovered(board: Board) -> None:
    original = board.partition("app").read(0, 100_000)
    damage(board)
    put(board, b"left over")
    console, result = booted(board)
    assert result.outcome is BootOutcome.JUMP
    lines = [line for line in console.splitlines() if "OTA Write" not in line and "\x1b[2A" not in line]
    start = next(index for index, line in enumerate(lines) if FAILED in line)
    texts = (
        "Verify 'factory' partition(fw ver: 1.0.0",
        "Factory firmware(1.0.0) recovery startup.",
        "The partition 'app' is erasing.",
        "The partition 'app' erase success.",
        "Verify 'app' partition(",
    )
    for line, text in zip(lines[start + 1 :], texts, strict=False):
        assert text in line
    assert BAR in console
    assert console.endswith("The Bootloader will go to user application now.\r\n")
    assert board.partition("app").read(0, 100_000) == original
    assert board.installed("app") == board.installed("factory")
    assert board.partition("download").read(0, 9) == b"\xff" * 9  # as after any boot with a good application


def test_a_package_in_download_goes_first(board: Board) -> None:
    wipe(board, "app")
    put(board, pack(app_image(20000, 3), name="app", version="2.0.0", timestamp=1))
    console, _ = booted(board)
    assert FAILED not in console
    header = board.installed("app")
    assert header is not None
    assert header.version_text == "2.0.0"


@pytest.mark.parametrize("moment", list(CutMoment))
def test_recovery_survives_a_cut_anywhere(moment: CutMoment) -> None:
    board = board_of("rt_ota+factory")
    damage(board)
    with board.power.recording() as operations:
        board.boot(lambda _text: None)
    for index in range(len(operations)):
        board = board_of("rt_ota+factory")
        damage(board)
        cut_at(board, index, moment)
        assert booted(board)[1].outcome is BootOutcome.POWER_CUT
        board.power.disarm()
        assert booted(board)[1].outcome is BootOutcome.JUMP
        assert board.installed("app") == board.installed("factory")
        assert FAILED not in booted(board)[0]


def spoil_header(board: Board) -> None:
    wipe(board, "factory")


def spoil_content(board: Board) -> None:
    board.partition("factory").write(0x4000, bytes(64))


def too_large(board: Board) -> None:
    install(board, "factory", app_image(board.partition("app").size), version="9", timestamp=1)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (spoil_header, "Recovery failed! No valid firmware in partition 'factory'."),
        (spoil_content, "Recovery failed! No valid firmware in partition 'factory'."),
        (too_large, "Recovery failed! The partition (onchip_flash) has no space (unless 458848)."),
    ],
)
def test_without_good_factory_firmware_the_bootloader_stays(
    board: Board, spoil: Callable[[Board], None], line: str
) -> None:
    damage(board)
    spoil(board)
    before = board.partition("app").read(0, board.partition("app").size)
    console, result = booted(board)
    assert line in console
    assert console.endswith("msh />")
    assert result.outcome is BootOutcome.HALT
    assert "neither 'app' nor 'factory'" in result.diagnosis
    assert board.partition("app").read(0, len(before)) == before


def test_failing_flash_ends_in_the_command_line(board: Board) -> None:
    damage(board)

    def fail(_index: int, _operation: object) -> None:
        raise FlashError("worn out")

    board.power.arm(fail)
    console, result = booted(board)
    assert "Recovery failed! Factory firmware copy to partition(app) error!" in console
    assert result.outcome is BootOutcome.HALT


def test_tiny_factory_firmware_hangs(board: Board) -> None:
    damage(board)
    factory = board.partition("factory")
    wipe(board, "factory")
    package = with_header(pack(app_image(64), name="factory", version="1", timestamp=1), raw_size=16)
    factory.write(factory.size - HEADER_SIZE, package[:HEADER_SIZE])
    assert booted(board)[1].outcome is BootOutcome.HANG
