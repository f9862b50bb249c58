"""What QBoot does with packages, losses of power, options and faults (rbl-format 5.1)."""

import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from boot_bench import (
    ENTRY,
    STACK_POINTER,
    app_image,
    board_of,
    booted,
    cut_at,
    layout,
    put,
    wipe,
    with_header,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsdk.errors import FlashError
from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.header import HEADER_SIZE, Compression, Encryption, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY
from sim.board import Board, make_board
from sim.bootloader.outcome import BootOutcome
from sim.bootloader.qboot import sign_offset
from sim.bootloader.qboot_body import MAX_IDLE_ROUNDS
from sim.flash.facts import QbootFacts
from sim.flash.power import CutMoment, FlashOperation

DATA = Path(__file__).parent.parent / "data" / "rbl"
AES = {"encryption": Encryption.AES256, "key": DEFAULT_KEY, "iv": DEFAULT_IV}
CODECS = [Compression.NONE, Compression.GZIP, Compression.QUICKLZ, Compression.FASTLZ]
RELEASED = "Release firmware success from download to app."


def app(
    size: int = 20001, version: str = "2.0.0", name: str = "app", raw: bytes = b"", **options: object
) -> bytes:
    content = raw or app_image(size, 3)
    return pack(content, name=name, version=version, timestamp=7, flavour="qboot", **options)  # type: ignore[arg-type]


@pytest.fixture
def board() -> Board:
    return board_of("qboot")


def sign(board: Board, package: bytes, facts: QbootFacts | None = None) -> int:
    offset = sign_offset(RblHeader.unpack(package), facts or QbootFacts())
    (value,) = struct.unpack("<I", board.partition("download").read(offset, 4))
    return int(value)


# --- packages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 31, 32, 1024, 4096, 20001, 65536])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("compression", CODECS)
def test_every_algorithm_is_installed_once(
    board: Board, compression: Compression, encrypted: bool, size: int
) -> None:
    package = app(size, name="wifi_image", compression=compression, **(AES if encrypted else {}))
    put(board, package)
    console, _ = booted(board)
    assert "Release firmware success from download to wifi_image." in console
    assert board.partition("wifi_image").read(0, size) == app_image(size, 3)
    assert board.installed("wifi_image") == RblHeader.unpack(package)
    assert sign(board, package) == 0
    again, result = booted(board)
    assert "erase" not in again
    assert result.diagnosis == ""


@pytest.mark.parametrize("path", sorted((DATA / "qboot").glob("d_100k*.rbl")), ids=lambda path: path.stem)
def test_recorded_packages_install(board: Board, path: Path) -> None:
    put(board, path.read_bytes())
    console, result = booted(board)
    assert RELEASED in console
    assert result.outcome is BootOutcome.JUMP
    raw = (DATA / "raw" / "d_100k_fw.bin").read_bytes()
    assert board.partition("app").read(0, len(raw)) == raw


def test_zlib_wrapper_is_taken_for_gzip(board: Board) -> None:
    body = zlib.compress(app_image(20001, 3))
    put(board, with_header(app()[:HEADER_SIZE] + body, algo=Compression.GZIP))
    assert RELEASED in booted(board)[0]
    assert board.partition("app").read(0, 20001) == app_image(20001, 3)


def test_gzip_is_written_in_units_of_32_bytes(board: Board) -> None:
    put(board, app(20001, compression=Compression.GZIP))
    with board.power.recording() as operations:
        board.boot(lambda _text: None)
    app_start = board.partition("app").offset
    writes = [each for each in operations if each.op == "write" and each.device == "onchip_flash"]
    *content, header = writes
    assert all((each.offset - app_start) % 32 == each.length % 32 == 0 for each in content)
    assert sum(each.length for each in content) == 20032
    assert board.partition("app").read(20001, 31) == b"\xff" * 31
    assert header.length == HEADER_SIZE


def test_downgrade_and_same_version_install(board: Board) -> None:
    for version in ("2.0.0", "1.0.0", "1.0.0"):
        put(board, app(version=version))
        assert RELEASED in booted(board)[0]


def test_padding_is_written_behind_the_firmware(board: Board) -> None:
    put(board, app(20001, **AES))
    board.boot(lambda _text: None)
    assert board.partition("app").read(20001, 16) == bytes(15) + b"\xff"


def test_percentage_is_not_clamped(board: Board) -> None:
    put(board, app(1, **AES))
    assert "\b\b\b1600%" in booted(board)[0]


def test_unknown_destination(board: Board) -> None:
    put(board, app(name="nosuch"))
    console, result = booted(board)
    assert "Qboot firmware update fail. destination partition nosuch is not exist." in console
    assert result.outcome is BootOutcome.JUMP


def test_other_partition_is_updated_but_never_resumed(board: Board) -> None:
    put(board, app(name="wifi_image"))
    assert "Release firmware success from download to wifi_image." in booted(board)[0]
    assert board.installed("wifi_image") is not None
    wipe(board, "app", "factory")
    console, result = booted(board)
    assert "Qboot resume fail from download." in console
    assert "is not application. fw_info.part_name(wifi_image) != app" in console
    assert result.outcome is BootOutcome.RESET


def test_raw_crc_is_checked_before_anything_is_erased(board: Board) -> None:
    before = board.installed("app")
    put(board, with_header(app(), raw_hash=0x12345678))
    console, _ = booted(board)
    calculated = zlib.crc32(app_image(20001, 3))
    assert f"Qboot app crc check fail. cal.crc: {calculated:08X} != raw.crc: 12345678" in console
    assert 'partition "download" app check fail.' in console
    assert board.installed("app") == before


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"algo": Encryption.XOR}, "Qboot app crc check fail. nonsupport encrypt type."),
        ({"algo": Compression.HPATCHLITE}, "Qboot app crc check fail. nonsupport compress type."),
        (
            {"algo": Compression.HPATCHLITE, "algo2": 0},
            "Qboot release firmware fail. nonsupport compress type.",
        ),
    ],
    ids=["xor", "hpatchlite", "hpatchlite as packed"],
)
def test_unsupported_algorithms_are_refused(board: Board, fields: dict[str, int], line: str) -> None:
    before = board.installed("app")
    put(board, with_header(app(), **fields))
    for _ in range(2):  # nothing throws the package away
        console, result = booted(board)
        assert line in console
        assert result.outcome is BootOutcome.JUMP
        assert "does not support" in result.diagnosis
    assert board.installed("app") == before


def test_magic_is_checked(board: Board) -> None:
    put(board, with_header(app(), magic=b"RBK\0"))
    assert 'partition "download" infomation check fail.' in booted(board)[0]


def test_package_larger_than_the_partition_is_refused_at_the_erase(board: Board) -> None:
    put(board, with_header(app(), raw_size=board.partition("app").size + 1, algo2=0))
    console, result = booted(board)
    assert "Qboot release firmware fail. erase app error." in console
    assert "Qboot firmware update fail. firmware release fail." in console
    assert result.outcome is BootOutcome.JUMP


def test_firmware_without_room_for_its_header_is_started_and_released_again(board: Board) -> None:
    put(board, app(board.partition("app").size - 50))
    for _ in range(2):
        console, result = booted(board)
        assert "Qboot verify fail. firmware infomation check fail." in console
        assert "Qboot firmware update fail. destination partition verify fail." in console
        assert result.outcome is BootOutcome.JUMP


def test_body_beyond_the_partition_is_refused(board: Board) -> None:
    size = board.partition("download").size
    put(board, with_header(app(), body_size=size))
    console, _ = booted(board)
    assert (
        f"Qboot read firmware datas fail. part = download, addr = {size - 4096:08X}, length = 4096" in console
    )
    assert 'partition "download" body check fail.' in console


# --- power ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.QUICKLZ])
@pytest.mark.parametrize("moment", list(CutMoment))
def test_a_cut_anywhere_is_healed_by_the_next_boot(compression: Compression, moment: CutMoment) -> None:
    package = app(6001, compression=compression)
    board = board_of("qboot")
    put(board, package)
    with board.power.recording() as operations:
        board.boot(lambda _text: None)
    for index in range(len(operations)):
        board = board_of("qboot")
        put(board, package)
        cut_at(board, index, moment)
        assert booted(board)[1].outcome is BootOutcome.POWER_CUT
        board.power.disarm()
        _, result = booted(board)
        assert result.outcome is BootOutcome.JUMP
        assert board.installed("app") == RblHeader.unpack(package)
        assert sign(board, package) == 0


def test_cut_before_the_sign_releases_again(board: Board) -> None:
    put(board, app())
    signs = board.partition("download").device_name

    def before_sign(_index: int, operation: FlashOperation) -> CutMoment | None:
        return CutMoment.BEFORE if operation.device == signs else None

    board.power.arm(before_sign)
    assert "Qboot firmware update success." in booted(board)[0]
    board.power.disarm()
    assert RELEASED in booted(board)[0]


def test_half_written_application_is_started_when_the_download_is_lost(board: Board) -> None:
    put(board, app(60000))
    cut_at(board, 10)
    booted(board)
    board.power.disarm()
    board.power.restore()
    wipe(board, "download")
    console, result = booted(board)
    assert 'partition "download" infomation check fail.' in console
    assert (result.outcome, result.stack_pointer, result.entry) == (BootOutcome.JUMP, STACK_POINTER, ENTRY)
    assert board.installed("app") is None


def test_corrupt_application_is_started(board: Board) -> None:
    board.partition("app").write(0x4000, bytes(64))
    assert booted(board)[1].outcome is BootOutcome.JUMP


def test_application_is_restored_from_factory(board: Board) -> None:
    wipe(board, "app")
    console, result = booted(board)
    assert "Qboot resume success from factory." in console
    assert (result.outcome, result.diagnosis) == (BootOutcome.JUMP, "")
    assert board.installed("app") == board.installed("factory")


# --- release sign ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "align", "value"),
    [
        (QbootFacts(), 32, 0x00000000),
        (QbootFacts(sign="wdfk-1.1"), 8, 0x5555AAAA),
        (QbootFacts(sign="wdfk-1.1", sign_align=4), 4, 0x5555AAAA),
        (QbootFacts(sign="wdfk-1.1", sign_align=16), 16, 0x5555AAAA),
    ],
)
def test_sign_variants(facts: QbootFacts, align: int, value: int) -> None:
    board = board_of("qboot", qboot=facts)
    package = app(20001)
    put(board, package)
    assert RELEASED in booted(board)[0]
    offset = -(-len(package) // align) * align
    assert board.partition("download").read(offset, 4) == value.to_bytes(4, "little")
    assert sign(board, package, facts) == value
    assert "erase" not in booted(board)[0]


@pytest.mark.parametrize("rest", [0, 31])
def test_old_sign_survives_a_download_that_ends_on_an_erase_block(board: Board, rest: int) -> None:
    """Nobody erases the block behind the package, where the sign is: the next one counts as released."""
    size = 5 * 4096 - rest - HEADER_SIZE
    put(board, app(size, version="2.0.0"))
    assert RELEASED in booted(board)[0]
    put(board, app(size, version="3.0.0"))
    console, result = booted(board)
    assert "erase" not in console
    assert result.outcome is BootOutcome.JUMP
    assert "counts as released, but 'app' does not hold it" in result.diagnosis
    header = board.installed("app")
    assert header is not None
    assert header.version_text == "2.0.0"


def test_a_byte_less_and_the_old_sign_is_erased(board: Board) -> None:
    size = 5 * 4096 - 32 - HEADER_SIZE
    for version in ("2.0.0", "3.0.0"):
        put(board, app(size, version=version))
        assert RELEASED in booted(board)[0]


def test_zeros_of_an_older_package_count_as_sign(board: Board) -> None:
    put(board, app(raw=app_image(16).ljust(40000, b"\0")))
    assert RELEASED in booted(board)[0]
    put(board, app(5 * 4096 - HEADER_SIZE))
    assert "erase" not in booted(board)[0]


def test_package_that_leaves_no_room_for_the_sign_is_released_at_every_boot(board: Board) -> None:
    package = app(1000, name="wifi_image")
    download = board.partition("download")
    padded = with_header(package + bytes(download.size - len(package)), algo2=0, raw_size=1000)
    put(board, padded)
    for _ in range(2):
        console, result = booted(board)
        assert "Qboot read release sign fail from download partition." in console
        assert "Qboot write release sign fail from download partition." in console
        assert "Release firmware success from download to wifi_image." in console
        assert result.outcome is BootOutcome.JUMP
        assert "every boot releases it again" in result.diagnosis


def test_sign_over_old_bytes_cannot_be_kept() -> None:
    board = board_of("qboot", qboot=QbootFacts(sign="wdfk-1.1"))
    put(board, app(raw=app_image(16).ljust(40000, b"\0")))
    booted(board)
    put(board, app(5 * 4096 - HEADER_SIZE))
    for _ in range(2):
        console, result = booted(board)
        assert RELEASED in console
        assert "every boot releases it again" in result.diagnosis


# --- options --------------------------------------------------------------------------------------------


def test_product_code() -> None:
    board = board_of("qboot", qboot=QbootFacts(product_code="thermostat"))
    put(board, app(product_code="thermostat"))
    assert RELEASED in booted(board)[0]
    put(board, app(product_code="thermostat 2"))
    console, result = booted(board)
    assert "[E/Qboot] The product code error.\x1b" in console
    assert result.outcome is BootOutcome.JUMP
    wipe(board, "app")
    console, result = booted(board)
    assert "Qboot resume fail from download." in console
    assert "Qboot resume fail from factory." in console
    assert result.outcome is BootOutcome.RESET


def test_factory_key(board: Board) -> None:
    put(board, app())
    booted(board)
    console, result = booted(board, factory_key=True)
    assert console.endswith("Qboot resume success from factory.\x1b[0m\nJump to application running ... \n")
    assert result.outcome is BootOutcome.JUMP
    header = board.installed("app")
    assert header is not None
    assert header.version_text == "1.0.0"


def test_shell_build_waits_for_a_key_and_ends_in_its_shell() -> None:
    board = board_of("qboot", qboot=QbootFacts(shell_seconds=5))
    console, result = booted(board)
    assert "V1.0.5 2020.10.05 \nPress [Enter] key into shell in 5 s : \n\x1b[31m[E/Qboot] Qboot" in console
    assert result.outcome is BootOutcome.JUMP
    wipe(board, "app", "factory")
    console, result = booted(board)
    assert console.endswith("Qboot>")
    assert result.outcome is BootOutcome.HALT


def test_no_factory_partition() -> None:
    facts = layout("qboot")
    bare = replace(facts, partitions=tuple(each for each in facts.partitions if each.name != "factory"))
    console, result = booted(make_board(bare))
    assert (console, result.outcome) == ("", BootOutcome.HALT)  # no bootloader either
    board = make_board(bare)
    board.partition("bootloader").write(0, bytes(8))
    console, result = booted(board)
    assert 'Qboot firmware check fail. partition "factory" is not exist.' in console
    assert result.outcome is BootOutcome.RESET


def test_keys_of_the_board() -> None:
    keys = PackageKeys(b"K" * 32, b"I" * 16)
    board = board_of("qboot", keys=keys)
    put(board, app(encryption=Encryption.AES256, key=keys.key, iv=keys.iv, compression=Compression.QUICKLZ))
    assert RELEASED in booted(board)[0]


@pytest.mark.parametrize(
    ("stack_pointer", "entry", "starts"),
    [
        (0x20000000, 0x08000001, True),
        (0x200FFFFF, 0x08FFFFFF, True),
        (0x30018000, 0x08010189, True),  # bit 28 is not compared
        (0x20100000, 0x08010189, False),
        (0x24018000, 0x08010189, False),
        (0x20018000, 0x09010189, False),
        (0xFFFFFFFF, 0xFFFFFFFF, False),
    ],
)
def test_jump_test(stack_pointer: int, entry: int, starts: bool) -> None:
    board = board_of("qboot", app_version=None)
    board.partition("app").write(0, struct.pack("<2I", stack_pointer, entry))
    _, result = booted(board)
    assert (result.outcome is BootOutcome.JUMP) == starts
    assert (result.stack_pointer == stack_pointer) == starts


def test_regions_of_the_jump_test() -> None:
    facts = QbootFacts(code_region=0x90000000, ram_region=0x24000000)
    board = board_of("qboot", qboot=facts, app_version=None)
    board.partition("app").write(0, struct.pack("<2I", 0x24080000, 0x90000101))
    assert booted(board)[1].outcome is BootOutcome.JUMP


def test_application_at_another_address_than_qboot_was_built_for() -> None:
    board = board_of("qboot", qboot=QbootFacts(app_address=0x08020000))
    _, result = booted(board)
    assert result.outcome is BootOutcome.RESET  # code, not vectors, lies there
    board = board_of("qboot", qboot=QbootFacts(app_address=0x0807FFFC))
    _, result = booted(board)
    assert result.outcome is BootOutcome.CRASH
    assert "0x0807fffc: a bus fault" in result.diagnosis


# --- hazards --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("algo2", [0, 1])
def test_raw_size_beyond_the_body_hangs(board: Board, compression: Compression, algo2: int) -> None:
    # 20032 raw bytes leave no gzip tail that would be repeated.
    put(board, with_header(app(20032, compression=compression), raw_size=20033, algo2=algo2))
    for _ in range(2):  # and at every boot again
        _, result = booted(board)
        assert result.outcome is BootOutcome.HANG
        assert "after 20032 of 20033 raw bytes" in result.diagnosis


def test_gzip_tail_is_repeated_up_to_the_raw_size(board: Board) -> None:
    put(board, with_header(app(20001, compression=Compression.GZIP), raw_size=20100, algo2=0))
    console, result = booted(board)
    assert RELEASED in console
    assert result.outcome is BootOutcome.JUMP
    tail = app_image(20001, 3)[20000:].ljust(32, b"\xff")
    assert board.partition("app").read(20000, 128) == tail * 4


def test_gzip_tail_is_not_repeated_for_ever(board: Board) -> None:
    size = 20001 + 32 * (MAX_IDLE_ROUNDS + 2)
    put(board, with_header(app(20001, compression=Compression.GZIP), raw_size=0xFFFFFFFF))
    assert booted(board)[1].outcome is BootOutcome.HANG
    put(board, with_header(app(20001, compression=Compression.GZIP), raw_size=size, algo2=0))
    assert booted(board)[1].outcome is BootOutcome.HANG


@pytest.mark.parametrize(
    ("compression", "size"), [(Compression.FASTLZ, 300_000), (Compression.QUICKLZ, 400_000)]
)
def test_incompressible_blocks_overflow_the_work_buffer(
    board: Board, compression: Compression, size: int
) -> None:
    raw = app_image(16) + random.Random(1).randbytes(size)
    put(board, app(raw=raw, compression=compression))
    _, result = booted(board)
    assert result.outcome is BootOutcome.CRASH
    assert "work buffer of 5120 bytes" in result.diagnosis


def test_a_few_incompressible_blocks_do_no_harm(board: Board) -> None:
    raw = app_image(16) + random.Random(1).randbytes(20_000)
    for compression in (Compression.FASTLZ, Compression.QUICKLZ):
        put(board, app(raw=raw, compression=compression))
        assert RELEASED in booted(board)[0]


@pytest.mark.parametrize("compression", [Compression.QUICKLZ, Compression.FASTLZ])
def test_wrong_key_crashes_at_every_boot(board: Board, compression: Compression) -> None:
    wrong = {**AES, "key": b"F" * 32}
    put(board, app(raw=app_image(16) + random.Random(2).randbytes(40_000), compression=compression, **wrong))
    before = board.installed("app")
    for _ in range(2):
        assert booted(board)[1].outcome is BootOutcome.CRASH
    assert board.installed("app") == before


def test_wrong_key_without_compression_is_refused_only_with_a_crc(board: Board) -> None:
    package = app(**{**AES, "key": b"F" * 32})
    put(board, package)
    console, result = booted(board)
    assert "Qboot app crc check fail. cal.crc" in console
    assert result.outcome is BootOutcome.JUMP
    put(board, with_header(package, algo2=0))
    console, result = booted(board)
    assert RELEASED in console
    assert "Qboot resume success from factory." in console  # the garbage has no vectors
    assert result.outcome is BootOutcome.JUMP


def test_blocks_of_more_than_4096_bytes(board: Board) -> None:
    raw = app_image(8192)
    for algo, codec, outcome in (
        (Compression.QUICKLZ, quicklz, BootOutcome.CRASH),
        (Compression.FASTLZ, fastlz, BootOutcome.JUMP),  # the decoder is told the size of its buffer
    ):
        block = codec.compress(raw)
        body = BLOCK_LENGTH.pack(len(block)) + block
        put(board, with_header(app(raw=raw)[:HEADER_SIZE] + body, algo=algo))
        console, result = booted(board)
        assert result.outcome is outcome
        if outcome is BootOutcome.JUMP:
            assert "Qboot app crc check fail. decompress error." in console


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.QUICKLZ, Compression.FASTLZ])
def test_damaged_body_without_raw_crc_fails_halfway_and_is_resumed(
    board: Board, compression: Compression
) -> None:
    raw = app_image(16) + random.Random(3).randbytes(60) * 400
    package = bytearray(app(raw=raw, compression=compression))
    package[HEADER_SIZE + 2 : HEADER_SIZE + 8] = (
        b"\0" * 6 if compression is Compression.GZIP else b"\0\x10\xe0\xff\xff\xff"
    )
    put(board, with_header(bytes(package), algo2=0))
    console, result = booted(board)
    assert "Qboot release firmware fail. write destination error, part = app, addr = 00000000" in console
    assert "Qboot resume success from factory." in console
    assert result.outcome is BootOutcome.JUMP


def test_package_for_the_bootloader_kills_the_board(board: Board) -> None:
    put(board, app(name="bootloader"))
    console, result = booted(board)
    assert console.endswith("Start erase partition bootloader ...\n")
    assert result.outcome is BootOutcome.CRASH
    console, result = booted(board)
    assert (console, result.outcome) == ("", BootOutcome.HALT)


def test_package_for_factory_takes_its_package_away(board: Board) -> None:
    put(board, app(name="factory"))
    assert "Release firmware success from download to factory." in booted(board)[0]
    wipe(board, "app")
    assert booted(board)[1].outcome is BootOutcome.RESET


def test_package_for_download_erases_itself(board: Board) -> None:
    put(board, app(name="download"))
    console, result = booted(board)
    assert "Start erase partition download ..." in console
    assert result.outcome is BootOutcome.JUMP


def test_failing_flash_is_reported(board: Board) -> None:
    for op, line in (("erase", "erase app error."), ("write", "write destination error, part = app")):

        def fail(_index: int, operation: FlashOperation, op: str = op) -> None:
            if operation.op == op:
                raise FlashError("worn out")

        put(board, app())
        board.power.arm(fail)
        console, _ = booted(board)
        board.power.disarm()
        assert f"Qboot release firmware fail. {line}" in console


# --- malformed packages ---------------------------------------------------------------------------------

SEEDS = [
    app(9001, compression=compression, **options)
    for compression in CODECS
    for options in ({}, AES)  # type: ignore[attr-defined]
]
EDITS = st.lists(st.tuples(st.integers(0, 12000), st.integers(0, 255)), max_size=4)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "algo": st.one_of(st.integers(0, 0x0F0F), st.integers(0, 0xFFFF)),
        "algo2": st.integers(0, 0xFFFF),
        "raw_size": st.one_of(st.sampled_from([0, 1, 9000, 9002, 0x10000]), st.integers(0, 2**32 - 1)),
        "raw_hash": st.integers(0, 2**32 - 1),
        "name": st.sampled_from([b"", b"a" * 16, b"\xff\x1b%s", b"easyflash", b"download", b"factory"]),
    },
)


@given(
    package=st.sampled_from(SEEDS),
    fields=FIELDS,
    edits=EDITS,
    length=st.one_of(st.none(), st.integers(0, 9200)),
    honest=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_package_ends_in_an_outcome(
    package: bytes, fields: dict[str, Any], edits: list[tuple[int, int]], length: int | None, honest: bool
) -> None:
    """Cut short or edited, body and header, with right CRCs or wrong ones: the boot ends and says how."""
    damaged = bytearray(package if length is None else package[: HEADER_SIZE + length])
    body = len(damaged) - HEADER_SIZE
    for offset, value in edits:
        if body:
            damaged[HEADER_SIZE + offset % body] = value
    if "name" in fields:
        fields = {**fields, "name": fields["name"].ljust(16, b"\0")}
    if not honest:
        original = RblHeader.unpack(package)
        fields = {**fields, "body_size": original.body_size, "body_crc32": original.body_crc32}
    board = board_of("qboot")
    put(board, with_header(bytes(damaged), **fields))
    for _ in range(2):
        console, result = booted(board)
        assert console
        assert (result.outcome is BootOutcome.JUMP) == (result.entry is not None)
        assert result.diagnosis or result.outcome is BootOutcome.JUMP
