"""QBoot against the recordings of the original: console, and in one of them every flash operation."""

import random
import re
from pathlib import Path

import pytest
from boot_bench import app_image, board_of, booted, put, traced, wipe, with_header

from cloudsdk.ota.codecs import quicklz
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.header import HEADER_SIZE, Compression, RblHeader
from cloudsdk.ota.pack import pack
from sim.board import Board
from sim.bootloader.outcome import BootOutcome

TRANSCRIPTS = Path(__file__).parent.parent / "data" / "transcripts" / "qboot"
RAW_SIZE = 102400
SIGN_OFFSET = 0x14000
READ, PIECE = 1024, 4096


def recording(name: str) -> str:
    return (TRANSCRIPTS / f"{name}.txt").read_bytes().decode().replace("\\e", "\x1b")


def block_ends() -> list[int]:
    """Where in the recorded package's body each block ended, give or take half a read.

    The firmware is not in the recording, but a percentage is printed after each read and a write follows the
    read that completes its block.
    """
    ends, reads = [], 0
    for token in re.findall(r"<W app \w+ 4096>|\d+%", recording("01_upgrade")):
        if token[0] == "<":
            ends.append(reads * READ + READ // 2)
        else:
            reads += 1
    return ends


def block_of(size: int, head: bytes, source: random.Random) -> tuple[bytes, bytes]:
    """4096 raw bytes that begin with `head`, and their QuickLZ block of about `size` bytes."""
    low, high = 0, PIECE - len(head)
    noise = source.randbytes(high)
    while high - low > 1:
        middle = (low + high) // 2
        raw = (head + noise[:middle]).ljust(PIECE, b"\0")
        low, high = (middle, high) if len(quicklz.compress(raw)) <= size else (low, middle)
    raw = (head + noise[:low]).ljust(PIECE, b"\0")
    return raw, quicklz.compress(raw)


@pytest.fixture(scope="module")
def package() -> bytes:
    """A package whose blocks end in the same reads as those of the recorded one."""
    source = random.Random("recorded package")
    raw, body = bytearray(), bytearray()
    for end in block_ends():
        piece, block = block_of(end - len(body) - BLOCK_LENGTH.size, b"" if raw else app_image(16), source)
        raw += piece
        body += BLOCK_LENGTH.pack(len(block)) + block
    assert len(raw) == RAW_SIZE
    plain = pack(bytes(raw), name="app", version="v1.00", timestamp=1, flavour="qboot")
    size = SIGN_OFFSET - HEADER_SIZE - 8
    return with_header(plain[:HEADER_SIZE] + body.ljust(size, b"\0"), algo=Compression.QUICKLZ)


@pytest.fixture
def board() -> Board:
    return board_of("qboot")


def without_marks(text: str) -> str:
    return re.sub(r"<[EW] [^>]*>", "", text)


def test_upgrade(board: Board, package: bytes) -> None:
    put(board, package)
    console, result = traced(board)
    assert console + "<JUMP>\n" == recording("01_upgrade")
    assert result.outcome is BootOutcome.JUMP
    assert board.installed("app") == RblHeader.unpack(package)


def test_blank_board_resets_itself(board: Board) -> None:
    wipe(board, "app", "download", "factory")
    console, result = booted(board)
    assert console + "<RESET>\n" == recording("04_blank")
    assert result.outcome is BootOutcome.RESET
    assert "for ever" in result.diagnosis


def test_erased_application_is_resumed_from_a_released_package(board: Board, package: bytes) -> None:
    put(board, package)
    board.boot(lambda _text: None)
    wipe(board, "app")
    console, result = booted(board)
    assert console + "<JUMP>\n" == recording("06_app_erased_download_signed")
    assert result.outcome is BootOutcome.JUMP


def test_corrupt_body(board: Board, package: bytes) -> None:
    put(board, with_header(package, body_crc32=0xC98A2FAD))
    console, result = booted(board)
    crc = r"cal\.crc: [0-9A-F]{8}"
    assert re.sub(crc, "cal.crc", console) + "<JUMP>\n" == re.sub(
        crc, "cal.crc", recording("08_body_corrupt")
    )
    assert result.outcome is BootOutcome.JUMP
    assert board.installed("app") != RblHeader.unpack(package)


def test_unknown_compression(board: Board, package: bytes) -> None:
    put(board, with_header(package, algo=0x0500))
    console, result = booted(board)
    assert console + "<JUMP>\n" == recording("12_cmprs5")
    assert "compression 0x0500" in result.diagnosis


def test_official_package_is_installed_without_verification(board: Board, package: bytes) -> None:
    put(board, with_header(package, algo2=0, raw_hash=0x12345678))
    console, _ = booted(board)
    assert console + "<JUMP>\n" == recording("14_official_pkg")
    assert without_marks(recording("01_upgrade")) == recording("14_official_pkg")
