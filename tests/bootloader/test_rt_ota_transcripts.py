"""The bootloader against recordings of the original: console, jump, flash operations in order."""

import ast
import contextlib
import json
import re
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cloudsdk.ota.header import HEADER_SIZE, Compression, Encryption, RblHeader
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY
from sim.board import Board, install, make_board
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.flash.layout import load_board
from sim.flash.power import CutMoment, FlashOperation, PowerCut

DATA = Path(__file__).parent.parent / "data"
TRANSCRIPTS = DATA / "transcripts" / "bootloader"
STACK_POINTER, ENTRY = 536928824, 134284445
DEVICES = {"onchip_flash": "onchip", "nor_flash": "nor"}
LAST_LINE = "The Bootloader will go to user application now.\r\n"


@dataclass(frozen=True)
class Recording:
    console: str
    jump: object
    operations: list[tuple[str, str, int, int]]


def recording(name: str) -> Recording:
    text = (TRANSCRIPTS / f"{name}.txt").read_bytes().decode().replace("\\e", "\x1b")
    console, _, rest = text.partition("\n--- jump=")
    jump, *rows = rest.strip().splitlines()
    operations = [
        (device, op, int(offset, 0), length) for device, op, offset, length in map(ast.literal_eval, rows)
    ]
    return Recording(console, jump if jump == "HALT" else ast.literal_eval(jump), operations)


def app_image(size: int, seed: int = 1) -> bytes:
    head = struct.pack("<4I", STACK_POINTER, ENTRY, 0x080101A1, 0x080101A3)
    return head + bytes((index * seed + index // 251) & 0xFF for index in range(size - len(head)))


@pytest.fixture
def board() -> Board:
    board = make_board(load_board("iot-board"))
    install(board, "bootloader", bytes(range(256)) * 64, version="1.3", timestamp=1545134551)
    install(board, "app", app_image(455140), version="v1.2.1", timestamp=1554881934)
    return board


def download(board: Board, package: bytes) -> None:
    board.partition("download").write(0, package)


def with_header(package: bytes, **fields: object) -> bytes:
    header = replace(RblHeader.unpack(package), **fields)
    if "header_crc32" not in fields:
        header = header.with_crc()
    return header.pack() + package[HEADER_SIZE:]


def run(board: Board) -> tuple[str, BootResult | None, list[tuple[str, str, int, int]]]:
    console: list[str] = []
    result = None
    with board.power.recording() as operations, contextlib.suppress(PowerCut):
        result = board.boot(console.append)
    rows = [(DEVICES[op.device], op.op, op.offset, op.length) for op in operations]
    return "".join(console), result, rows


def masked(console: str) -> str:
    """Checksums of content that the recordings do not hold."""
    return re.sub(
        r"calc\.(crc|hash): [0-9a-f]{8} != hdr\.(info_crc32|crc|hash): [0-9a-f]{8}",
        r"calc.\1 hdr.\2",
        console,
    )


def check(board: Board, name: str, *, mask: bool = False) -> None:
    wanted = recording(name)
    console, result, operations = run(board)
    if isinstance(wanted.jump, tuple):
        # The recorder stopped at the jump, before this line (rbl-format 3.2 step 9 has it).
        assert console.endswith(LAST_LINE)
        console = console.removesuffix(LAST_LINE)
        assert result == BootResult(BootOutcome.JUMP, *wanted.jump)
    elif wanted.jump == "HALT":
        assert result is not None
        assert result.outcome is BootOutcome.HALT
    else:
        assert result is None
    if mask:
        assert masked(console) == masked(wanted.console)
    else:
        assert console == wanted.console
    assert operations == wanted.operations


def small_app(version: str = "9.9", size: int = 20000, **options: object) -> bytes:
    return pack(app_image(size, 3), name="app", version=version, timestamp=1600000000, **options)  # type: ignore[arg-type]


AES = {"encryption": Encryption.AES256, "key": DEFAULT_KEY, "iv": DEFAULT_IV}


def test_plain_upgrade(board: Board) -> None:
    download(board, small_app("v2.0.0", 100000))
    check(board, "01_upgrade_none")
    assert board.installed("app") == RblHeader.unpack(small_app("v2.0.0", 100000))


def test_bad_body_crc_is_refused_and_thrown_away(board: Board) -> None:
    package = with_header(small_app(), body_crc32=0x12345678)
    download(board, package)
    calculated = zlib.crc32(package[HEADER_SIZE:])
    check(board, "04_bad_body_crc", mask=True)
    assert board.partition("download").read(0, 4096) == b"\xff" * 4096
    download(board, package)
    assert f"calc.crc: {calculated:08x} != hdr.crc: 12345678" in run(board)[0]


def test_bad_header_crc_is_reported_twice(board: Board) -> None:
    download(board, with_header(small_app(), header_crc32=0x12345678))
    check(board, "05_bad_hdr_crc", mask=True)


def test_bootloader_is_never_upgraded(board: Board) -> None:
    download(board, with_header(small_app(), name=b"bootloader".ljust(16, b"\0")))
    check(board, "07_name_bootloader")


def test_padded_wifi_image_is_written_with_its_padding(board: Board) -> None:
    raw = bytes(index * 7 & 0xFF for index in range(212500))
    package = pack(raw, name="wifi_image", version="1.0", timestamp=1529386280)
    body = package[HEADER_SIZE:] + b"\x0c" * 12
    package = with_header(package + b"\x0c" * 12, body_size=len(body), body_crc32=zlib.crc32(body))
    download(board, package)
    check(board, "09_name_wifi_image")
    assert board.partition("wifi_image").read(0, len(raw) + 16) == raw + b"\x0c" * 12 + b"\xff" * 4


def test_one_byte_too_large(board: Board) -> None:
    download(board, with_header(small_app(), raw_size=458657))
    check(board, "10_too_big")


def test_xor_is_not_supported(board: Board) -> None:
    download(board, with_header(small_app(), algo=1))
    check(board, "12_xor")


def test_aes(board: Board) -> None:
    download(board, small_app(**AES))
    check(board, "16_aes_ok")
    assert board.partition("app").read(0, 20000) == app_image(20000, 3)


def test_aes_with_the_wrong_key(board: Board) -> None:
    download(board, small_app(**{**AES, "key": b"F" * 32}))
    check(board, "17_aes_wrongkey")
    assert board.installed("app") is not None


def test_power_lost_after_the_third_write(board: Board) -> None:
    download(board, small_app("v3"))
    writes = 0

    def trigger(_index: int, operation: FlashOperation) -> CutMoment | None:
        nonlocal writes
        writes += operation.op == "write"
        return CutMoment.BEFORE if writes > 3 else None

    board.power.arm(trigger)
    check(board, "18_powerloss_3_first")
    board.power.disarm()
    console, result, _ = run(board)
    assert result is not None
    assert result.outcome is BootOutcome.JUMP
    assert "This partition will be forced to upgrade." in console
    assert board.installed("app") == RblHeader.unpack(small_app("v3"))


def test_blank_board(board: Board) -> None:
    for name in ("app", "download"):
        partition = board.partition(name)
        partition.erase(0, partition.size)
    check(board, "19_blank_board")


def test_corrupt_application_is_started_all_the_same(board: Board) -> None:
    board.partition("app").write(0x4000, bytes(64))
    check(board, "22_app_corrupt", mask=True)


def test_quicklz_and_aes_into_the_filesystem(board: Board) -> None:
    package = (DATA / "rbl/official/d_100k_fw__quicklz__aes.rbl").read_bytes()
    download(board, with_header(package, name=b"filesystem".ljust(16, b"\0")))
    check(board, "vec_d_100k_fw__quicklz__aes")
    raw = (DATA / "rbl/raw/d_100k_fw.bin").read_bytes()
    assert board.partition("filesystem").read(0, len(raw)) == raw


@pytest.mark.parametrize("compression", ["none", "quicklz", "fastlz"])
@pytest.mark.parametrize("encryption", ["plain", "aes"])
def test_official_app_packages_install(board: Board, compression: str, encryption: str) -> None:
    download(board, (DATA / f"rbl/official/d_100k_fw__{compression}__{encryption}.rbl").read_bytes())
    console, result, _ = run(board)
    assert result is not None
    assert result.outcome is BootOutcome.JUMP
    assert "Verify 'app' partition(fw ver: 1.0.3, timestamp: 1529386283) success." in console
    raw = (DATA / "rbl/raw/d_100k_fw.bin").read_bytes()
    assert board.partition("app").read(0, len(raw)) == raw


def test_gzip_is_not_supported(board: Board) -> None:
    download(board, (DATA / "rbl/official/d_100k_fw__gzip__aes.rbl").read_bytes())
    console, _, _ = run(board)
    assert "(fw_algo_support_check:299) Not supported GZip compress firmware" in console
    assert board.installed("app") is not None


def test_raw_that_is_not_linked_for_the_app_partition_is_refused(board: Board) -> None:
    download(board, (DATA / "rbl/official/b_4096__quicklz__plain.rbl").read_bytes())
    console, _, _ = run(board)
    assert "(rt_ota_custom_verify:170) The application must link to the flash 64KB location!" in console
    assert "(decrypt_dcmprs_fw_from_dl_part:1181) Custom verify RAW firmware failed!" in console


@pytest.mark.parametrize(
    ("package", "outcome", "text"),
    [
        (
            pack(app_image(20), name="app", version="1", timestamp=1),
            BootOutcome.HANG,
            "20 bytes is shorter than 32",
        ),
        (
            with_header(small_app(), raw_size=4096),
            BootOutcome.CRASH,
            "more than a chunk beyond the raw size of 4096 bytes",
        ),
    ],
    ids=["short body", "raw size too small"],
)
def test_hazards_are_diagnosed(board: Board, package: bytes, outcome: BootOutcome, text: str) -> None:
    download(board, package)
    _, result, _ = run(board)
    assert result is not None
    assert result.outcome is outcome
    assert text in result.diagnosis


def test_every_official_filesystem_package_is_accepted_as_recorded(board: Board) -> None:
    for case in json.loads((DATA / "rbl/index.json").read_text()):
        accepted = case.get("real_bootloader_accepts_as_filesystem")
        if not isinstance(accepted, bool):
            continue
        package = (DATA / "rbl" / case["rbl"]).read_bytes()
        partition = board.partition("download")
        partition.erase(0, len(package))
        download(board, with_header(package, name=b"filesystem".ljust(16, b"\0")))
        run(board)
        header = board.installed("filesystem")
        installed = header is not None and header.body_crc32 == RblHeader.unpack(package).body_crc32
        assert installed == accepted, case["case"]


def test_padding_of_a_compressed_body_ends_the_bar_as_recorded(board: Board) -> None:
    raw = app_image(20000, 3)
    options = {
        "name": "filesystem",
        "version": "1",
        "timestamp": 1,
        "compression": Compression.QUICKLZ,
        **AES,
    }
    for flavour, last in (("official", "100%"), ("qboot", "99%")):
        package = pack(raw, flavour=flavour, **options)  # type: ignore[arg-type]
        header = RblHeader.unpack(package)
        if flavour == "qboot":
            official = RblHeader.unpack(pack(raw, **options))  # type: ignore[arg-type]
            package = with_header(package, raw_hash=official.raw_hash, algo2=0)
        assert header.body_size % 16 == 0
        partition = board.partition("download")
        partition.erase(0, len(package))
        download(board, package)
        console, _, _ = run(board)
        bars = re.findall(r"OTA Write: \[[=> ]*\] (\d+%)", console)
        assert bars[-1] == last
