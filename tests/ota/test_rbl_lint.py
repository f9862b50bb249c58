import io
import random
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from rbl_vectors import IV, KEY, RAW_16, VECTORS, Vector, rebuild, vector, with_header

from cloudsdk.ota.codecs import quicklz
from cloudsdk.ota.codecs.fnv import fnv1a32
from cloudsdk.ota.header import HEADER_SIZE, Compression, Encryption
from cloudsdk.ota.lint import FACTS, BoardFacts, Finding, Severity, has_errors, lint
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import read_package
from flash_images import samples
from sim.board import Board, furnish, make_board
from sim.bootloader.outcome import BootOutcome
from sim.cli.rbl_lint import board_facts
from sim.flash.layout import load_board

LAYOUT = load_board("iot-board")
RT_OTA = board_facts(LAYOUT)
QBOOT = board_facts(LAYOUT, "qboot")
APP = samples.application("2.0.0", link_address=0x08010000, size=20_000)
NOISE = random.Random(1).randbytes(9000)


def packed(raw: bytes = APP, **options: object) -> bytes:
    values = {"name": "app", "version": "2.0.0", "timestamp": 0, "key": KEY[::-1], "iv": IV} | options
    return pack(raw, **values)  # type: ignore[arg-type]


def findings(package: bytes, board: BoardFacts = RT_OTA, key: bytes = KEY[::-1]) -> list[Finding]:
    return lint(read_package(io.BytesIO(package)), board, key, IV)


def found(package: bytes, board: BoardFacts = RT_OTA, key: bytes = KEY[::-1]) -> dict[str, str]:
    return {finding.id: finding.severity.value for finding in findings(package, board, key)}


def framed(raw: bytes, blocks: list[bytes], algo: int = Compression.QUICKLZ) -> bytes:
    """An `app` package with these blocks, whoever made them."""
    body = b"".join(len(block).to_bytes(4, "big") + block for block in blocks)
    return rebuild(packed(raw), body, algo=algo)


def literals_only(piece: bytes) -> bytes:
    """A compressed QuickLZ block without a match, as encoders must not write it."""
    groups = b"".join(struct.pack("<I", 1 << 31) + piece[at : at + 31] for at in range(0, len(piece), 31))
    return struct.pack("<BII", 0x4F, 9 + len(groups), len(piece)) + groups


def vectors(stack: int, reset: int, hard_fault: int) -> bytes:
    return struct.pack("<4I", stack, reset, reset, hard_fault) + APP[16:]


PLANTED: list[tuple[bytes, BoardFacts, dict[str, str]]] = [
    (with_header(packed(), magic=b"ZIP\0"), RT_OTA, {"magic": "warning"}),
    (with_header(packed(flavour="qboot"), magic=b"ZIP\0"), QBOOT, {"magic": "error"}),
    (packed()[:20] + b"!" + packed()[21:], RT_OTA, {"header-crc": "error"}),
    (packed()[:-1], RT_OTA, dict.fromkeys(("length", "body-crc", "raw-size", "raw-hash"), "error")),
    (packed() + b"\n", RT_OTA, {"trailing-bytes": "warning"}),
    (packed()[:-1] + b"!", RT_OTA, {"body-crc": "error", "raw-hash": "error"}),
    (with_header(packed(), raw_hash=1), RT_OTA, {"raw-hash": "error"}),
    (with_header(packed(), algo=0x0500), RT_OTA, {"algorithm-unknown": "error"}),
    (with_header(packed(), algo=0x0003), RT_OTA, {"algorithm-unknown": "error"}),
    (packed(compression=Compression.GZIP), RT_OTA, {"gzip": "error"}),
    (packed(compression=Compression.GZIP, flavour="qboot"), QBOOT, {}),
    (with_header(packed(), algo=Encryption.XOR), RT_OTA, {"xor": "error"}),
    (with_header(packed(), algo=Compression.HPATCHLITE), RT_OTA, {"hpatchlite": "error"}),
    (with_header(packed(), algo=Compression.HPATCHLITE), QBOOT, {"hpatchlite": "warning"}),
    (packed(flavour="qboot"), RT_OTA, {"flavour": "error"}),
    (packed(), QBOOT, {"no-raw-verification": "warning"}),
    (with_header(packed(), version=b"2.0\xe9".ljust(24, b"\0")), RT_OTA, {"text-not-ascii": "warning"}),
    (packed(version="2.?"), RT_OTA, {"text-question-mark": "note"}),
    (packed(name="a" * 16), RT_OTA, {"name-unterminated": "warning", "partition-unknown": "error"}),
    (packed(version="2" * 24), RT_OTA, {"version-unterminated": "warning"}),
    (packed(name="nosuch"), RT_OTA, {"partition-unknown": "error"}),
    (packed(name="bootloader"), RT_OTA, {"partition-bootloader": "error"}),
    (packed(name="bootloader2"), RT_OTA, {"partition-bootloader": "error"}),
    (packed(name="easyflash"), RT_OTA, {"partition-environment": "error"}),
    (packed(name="download"), RT_OTA, {"partition-download": "error"}),
    (packed(APP.ljust(0x70000 - 95, b"\xff")), RT_OTA, {"raw-too-large": "error"}),
    (packed(APP.ljust(0x70000 - 96, b"\xff")), RT_OTA, {}),
    (packed(bytes(0x100000), name="font", flavour="qboot"), QBOOT, {"package-too-large": "error"}),
    (packed(bytes(0x100000 - 96), name="font", flavour="qboot"), QBOOT, {"journal-overlap": "warning"}),
    (packed(bytes(0xF0000), name="font", flavour="qboot"), QBOOT, {}),
    (packed(bytes(0x7000 - 96), name="font", flavour="qboot"), QBOOT, {"sign-not-erased": "warning"}),
    (packed(bytes(0x7000 - 97), name="font", flavour="qboot"), QBOOT, {"sign-not-erased": "warning"}),
    (packed(bytes(0x7000 - 128), name="font", flavour="qboot"), QBOOT, {}),
    (packed(bytes(0x7000 - 95), name="font", flavour="qboot"), QBOOT, {}),
    (packed(bytes(0x7000 - 96), name="font"), RT_OTA, {}),
    (packed(bytes(31), name="font"), RT_OTA, {"raw-too-small": "error", "body-too-small": "error"}),
    (packed(bytes(32), name="font"), RT_OTA, {}),
    (packed(bytes(31), name="font", flavour="qboot"), QBOOT, {}),
    (packed(bytes(64), name="font", compression=Compression.QUICKLZ), RT_OTA, {"body-too-small": "error"}),
    (
        rebuild(packed(), APP + bytes(4097)),
        RT_OTA,
        {"body-too-long": "error", "padding-odd": "warning"},
    ),
    (packed(vectors(0x20018000, 0x08010101, 0x08000101)), RT_OTA, {"link-address": "error"}),
    (packed(vectors(0x20018000, 0x08010101, 0x08080101)), RT_OTA, {}),
    (packed(vectors(0x20018000, 0x08010101, 0x08090101)), RT_OTA, {"link-address": "error"}),
    (packed(vectors(0x20000000, 0x08010101, 0x08010101)), RT_OTA, {"stack-pointer": "error"}),
    (packed(vectors(0x10008000, 0x08010101, 0), flavour="qboot"), QBOOT, {"stack-pointer": "error"}),
    (packed(vectors(0x20018000, 0x08080001, 0x08010101)), RT_OTA, {"reset-vector": "error"}),
    (packed(vectors(0x20018000, 0x0800FFFF, 0), flavour="qboot"), QBOOT, {"reset-vector": "error"}),
    (framed(APP[:40], [b"\x45\x2b\x28" + bytes(40)]), RT_OTA, {"quicklz-level": "error"}),
    (
        framed(APP[:16384], [quicklz.compress(APP[:8192]), quicklz.compress(APP[8192:16384])]),
        RT_OTA,
        {"block-raw-size": "error", "block-buffer": "error"},
    ),
    (
        framed(APP[:6144], [quicklz.compress(APP[at : at + 2048]) for at in (0, 2048, 4096)]),
        RT_OTA,
        {"block-small": "note"},
    ),
    (framed(APP[:4096], [literals_only(APP[:4096])]), RT_OTA, {"block-buffer": "error"}),
    (
        packed(NOISE, name="font", compression=Compression.FASTLZ, flavour="qboot"),
        QBOOT,
        {"fastlz-growth": "warning"},
    ),
    (rebuild(packed(APP[:-4]), APP[:-4] + b"\x0c" * 12), RT_OTA, {"padding-plain": "note"}),
    (rebuild(packed(), APP + b"\x01\x02"), RT_OTA, {"padding-odd": "warning"}),
    (
        with_header(
            packed(APP[:-1], flavour="qboot", encryption=Encryption.AES256),
            algo2=0,
            raw_hash=fnv1a32(APP[:-1]),
        ),
        RT_OTA,
        {"padding-foreign": "note"},
    ),
]


@pytest.mark.parametrize(("package", "board", "expected"), PLANTED)
def test_planted_faults_are_found_and_nothing_else(
    package: bytes, board: BoardFacts, expected: dict[str, str]
) -> None:
    assert found(package, board) == expected


def test_padding_behind_a_gzip_member() -> None:
    package = packed(compression=Compression.GZIP, flavour="qboot")
    assert found(rebuild(package, package[HEADER_SIZE:] + b"more"), QBOOT) == {"padding-odd": "warning"}
    longer = with_header(package, raw_size=len(APP) - 1, raw_hash=0)
    assert "raw-hash" in found(longer, QBOOT)


def test_wrong_key_gives_no_findings_about_noise() -> None:
    package = packed(encryption=Encryption.AES256, compression=Compression.QUICKLZ)
    assert set(found(package, key=KEY)) <= {"decode", "raw-size", "raw-hash"}
    assert found(package) == {}


def test_public_key_is_noted() -> None:
    package = packed(encryption=Encryption.AES256, key=KEY)
    assert found(package, key=KEY) == {"default-key": "note"}


def test_every_finding_is_planted_somewhere() -> None:
    planted = {identity for _, _, expected in PLANTED for identity in expected}
    assert planted | {"decode", "default-key"} == set(FACTS)
    assert "decode" in found(framed(APP, [b"\x4f\0"]))


def test_every_finding_is_documented_with_its_fact() -> None:
    text = (Path(__file__).parent.parent.parent / "docs/packages.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE))
    assert rows == dict(FACTS)


def test_findings_carry_message_and_fact() -> None:
    for package, board, _ in PLANTED:
        for finding in findings(package, board):
            assert finding.message
            assert "\n" not in finding.message
            assert finding.fact == FACTS[finding.id]


@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v.id)
def test_recorded_packages(v: Vector) -> None:
    """`index.json` says which of them the original bootloader took once they were renamed."""
    package = with_header(v.package, name=b"filesystem".ljust(16, b"\0"))
    errors = [finding.id for finding in findings(package, key=KEY) if finding.severity is Severity.ERROR]
    verdict = v.facts.get("real_bootloader_accepts_as_filesystem")
    small = {"raw-too-small", "body-too-small"}
    if not v.official:
        assert "flavour" in errors
    elif verdict is True:
        assert errors == []
    elif verdict == "device hangs (size_raw<32)":
        assert errors == ["raw-too-small"]
    elif "gzip" in str(verdict):
        assert set(errors) - small == {"gzip"}
    else:
        # Not run below 128 bytes of file: the sizes decide.
        expected = {
            name
            for name, size in (("raw-too-small", "size_raw"), ("body-too-small", "size_package"))
            if v.facts[size] < 32
        }
        assert set(errors) == expected
    # QBoot takes all of them, official ones without a look at the firmware.
    qboot = findings(package, QBOOT, KEY)
    assert v.facts["qboot_1_0_5_host_accepts"] is True
    assert not has_errors(qboot)
    assert ("no-raw-verification" in {finding.id for finding in qboot}) is v.official


def booted(package: bytes) -> tuple[Board, BootOutcome]:
    board = make_board(LAYOUT)
    board.keys = replace(board.keys, key=KEY[::-1])
    furnish(board, app_version="1.0.0")
    board.partition("download").write(0, package)
    return board, board.boot(lambda _: None).outcome


#: What rt_ota installs without looking; the harm comes later.
INSTALLED_BLINDLY = {"partition-download", "partition-environment", "reset-vector"}


@pytest.mark.parametrize(
    "package",
    [
        *(
            package
            for package, board, faults in PLANTED
            if board is RT_OTA and not INSTALLED_BLINDLY & set(faults)
        ),
        packed(compression=Compression.QUICKLZ, encryption=Encryption.AES256),
        packed(compression=Compression.FASTLZ, encryption=Encryption.AES256),
    ],
)
def test_errors_are_what_the_simulated_bootloader_does(package: bytes) -> None:
    board, outcome = booted(package)
    header = read_package(io.BytesIO(package)).header
    partition = board.partitions.find(header.name_text)
    works = outcome is BootOutcome.JUMP and partition is not None
    works = works and board.installed(header.name_text) == header
    assert works is not has_errors(findings(package))


def test_raw_of_the_smallest_vector_is_too_small() -> None:
    assert len(RAW_16) < 32
    assert found(vector("official-h_16byte__none__plain").package)["raw-too-small"] == "error"
