import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rbl_vectors import EDGE, RAW_16, VECTORS, vector, with_header

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.ota.errors import BodyCrcError, HashError, HeaderShortError, PackageKeyError, VerifyError
from sim.cli.rbl import rbl

PLAIN = vector("official-h_16byte__none__plain")
FIRMWARE = vector("official-d_100k_fw__quicklz__aes")
WRONG_KEY = "FEDCBA9876543210FEDCBA9876543210"


def run(*args: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(rbl, [str(arg) for arg in args], env=env)


def error_of(result: Result) -> CloudSdkError:
    assert isinstance(result.exception, CloudSdkError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def saved(tmp_path: Path, package: bytes) -> Path:
    file = tmp_path / "app.rbl"
    file.write_bytes(package)
    return file


def test_info_shows_hex_and_utc() -> None:
    result = run("info", FIRMWARE.path)
    assert result.exit_code == 0
    lines = dict(line.split("  ", 1) for line in result.output.splitlines())
    shown = {name.strip(): value.strip() for name, value in lines.items()}
    assert shown["algo"] == "0x0202"
    assert shown["timestamp"] == "1529386283 (2018-06-19 05:31:23 UTC)"
    assert shown["raw hash"] == "0x2dd93fa2"
    assert shown["header crc ok"] == "yes"
    assert "\x1b" not in result.output


def test_info_json() -> None:
    result = run("info", vector("qboot-h_16byte__quicklz__aes").path, "--json")
    assert json.loads(result.output) == {
        "file": str(vector("qboot-h_16byte__quicklz__aes").path),
        "magic": "52 42 4c 00",
        "algo": "0x0202",
        "algo2": "0x0001",
        "flavour": "qboot",
        "compression": "quicklz",
        "encryption": "aes256",
        "timestamp": 1600000000,
        "name": "app",
        "version": "v1.00",
        "product_code": "00010203040506070809",
        "body_crc32": "0x4f0c1cf8",
        "raw_hash": "0xcecee288",
        "raw_size": 16,
        "body_size": 32,
        "header_crc32": "0x32a2f117",
        "header_crc_ok": True,
        "problems": [],
    }


def test_info_names_each_problem_and_succeeds(tmp_path: Path) -> None:
    damaged = with_header(PLAIN.package, algo=0x0503, magic=b"RBX\0")
    file = saved(tmp_path, damaged[:0x5C] + b"\0\0\0\0" + damaged[0x60:] + b"more")
    result = run("info", file)
    assert result.exit_code == 0
    problems = [line for line in result.output.splitlines() if line.startswith("problem:")]
    assert [next(w for w in ("52 42", "CRC", "follow", "0x0500") if w in p) for p in problems] == [
        "52 42",
        "CRC",
        "follow",
        "0x0500",
    ]
    shown = json.loads(run("info", file, "--json").output)
    assert (len(shown["problems"]), shown["header_crc_ok"], shown["compression"]) == (4, False, None)


def test_file_name_that_is_not_text(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"app\xff.rbl")
    file.write_bytes(PLAIN.package)
    assert run("info", file).exit_code == 0
    assert json.loads(run("info", file, "--json").output)["file"] == str(file)
    assert run("verify", file, "--json").exit_code == 0
    assert run("extract", file, "-o", tmp_path / os.fsdecode(b"fw\xff")).exit_code == 0


def test_info_of_something_too_short(tmp_path: Path) -> None:
    assert isinstance(error_of(run("info", saved(tmp_path, b"RBL"))), HeaderShortError)


@pytest.mark.parametrize("command", ["info", "verify", "extract"])
def test_missing_file(command: str, tmp_path: Path) -> None:
    error = error_of(run(command, tmp_path / "absent.rbl"))
    assert isinstance(error, UsageError)
    assert str(error) == f"cannot read {tmp_path / 'absent.rbl'}: No such file or directory"
    assert list(tmp_path.iterdir()) == []


def test_verify_names_every_check() -> None:
    result = run("verify", FIRMWARE.path)
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.output.splitlines()] == [
        ["ok", name]
        for name in [
            "magic",
            "header-crc",
            "length",
            "algorithm",
            "body-crc",
            "decode",
            "raw-size",
            "raw-hash",
        ]
    ]


def test_verify_fails_with_the_names_of_the_checks(tmp_path: Path) -> None:
    file = saved(tmp_path, PLAIN.package[:-1] + b"\xff")
    result = run("verify", file, "--json")
    error = error_of(result)
    assert isinstance(error, VerifyError)
    assert error.exit_status == 1
    assert str(error) == f"{file}: 2 of 8 checks failed: body-crc, raw-hash"
    shown = json.loads(result.output)
    assert shown["ok"] is False
    assert [check["name"] for check in shown["checks"] if not check["ok"]] == ["body-crc", "raw-hash"]
    assert all(check["detail"] for check in shown["checks"])
    assert "FAIL body-crc" in run("verify", file).output


def test_key_and_iv_come_from_option_or_environment() -> None:
    file = EDGE / "edge_key_nonascii.rbl"
    key = "?123456789ABCDEF0123456789ABCDEF"
    assert isinstance(error_of(run("verify", file)), VerifyError)
    assert run("verify", file, "--key", key).exit_code == 0
    assert run("verify", file, env={"CLOUDSIM_KEY": key}).exit_code == 0
    assert isinstance(error_of(run("verify", file, "--key", key, env={"CLOUDSIM_IV": "F" * 16})), VerifyError)


@pytest.mark.parametrize(
    "options",
    [["--key", "secret-but-short"], ["--iv", "secret"], ["--key", "é" * 32], ["--iv", "固" * 16]],
)
def test_unusable_key_is_refused_and_not_shown(options: list[str]) -> None:
    result = run("verify", FIRMWARE.path, *options)
    error = error_of(result)
    assert isinstance(error, PackageKeyError)
    assert options[1] not in str(error) + result.output


def test_help_does_not_show_the_default_key() -> None:
    result = run("verify", "--help")
    assert "CLOUDSIM_KEY" in result.output
    assert "0123456789ABCDEF" not in result.output


def test_extract_writes_the_firmware(tmp_path: Path) -> None:
    target = tmp_path / "fw.bin"
    target.write_bytes(b"old")
    result = run("extract", FIRMWARE.path, "-o", target, "--json")
    assert json.loads(result.output) == {
        "file": str(FIRMWARE.path),
        "output": str(target),
        "size": 102400,
        "raw_hash": "0x2dd93fa2",
    }
    assert target.read_bytes() == FIRMWARE.raw
    assert list(tmp_path.iterdir()) == [target]


def test_extract_names_the_output_itself(tmp_path: Path) -> None:
    assert run("extract", saved(tmp_path, PLAIN.package)).exit_code == 0
    assert (tmp_path / "app-1.0.7.bin").read_bytes() == RAW_16


def test_extract_is_not_led_elsewhere_by_a_name(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    file = saved(inside, with_header(PLAIN.package, name=b"../../x".ljust(16, b"\0")))
    assert run("extract", file).exit_code == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["_.._x-1.0.7.bin", "app.rbl", "in"]


@pytest.mark.parametrize(
    ("package", "error"),
    [
        (PLAIN.package[:-1] + b"\xff", BodyCrcError),
        (with_header(PLAIN.package, raw_hash=1), HashError),
    ],
)
@pytest.mark.parametrize("before", [None, b"old"])
def test_extract_of_a_bad_package_leaves_everything_as_it_was(
    tmp_path: Path, package: bytes, error: type[CloudSdkError], before: bytes | None
) -> None:
    file = saved(tmp_path, package)
    target = tmp_path / "fw.bin"
    if before is not None:
        target.write_bytes(before)
    assert isinstance(error_of(run("extract", file, "-o", target)), error)
    assert {path.name for path in tmp_path.iterdir()} == {"app.rbl"} | ({"fw.bin"} if before else set())
    assert before is None or target.read_bytes() == before


def test_extract_keeps_a_link_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"old")
    link = tmp_path / "link.bin"
    link.symlink_to("real.bin")
    assert run("extract", PLAIN.path, "-o", link).exit_code == 0
    assert link.is_symlink()
    assert (tmp_path / "real.bin").read_bytes() == RAW_16


def test_extract_does_not_replace_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    error = error_of(run("extract", PLAIN.path, "-o", pipe))
    assert str(error) == f"cannot write {pipe}: not a regular file"
    assert pipe.is_fifo()


@pytest.mark.parametrize("target", ["", "no/such/folder/fw.bin", "loop", "x" * 300])
def test_unwritable_output_is_a_usage_error(tmp_path: Path, target: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    error = error_of(run("extract", PLAIN.path, "-o", tmp_path / target))
    assert isinstance(error, UsageError)
    assert str(error).startswith("cannot write ")
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def test_extract_to_standard_output_is_all_or_nothing(tmp_path: Path) -> None:
    assert run("extract", FIRMWARE.path, "-o", "-").stdout_bytes == FIRMWARE.raw
    bad = run("extract", saved(tmp_path, with_header(PLAIN.package, raw_hash=1)), "-o", "-")
    assert isinstance(error_of(bad), HashError)
    assert bad.stdout_bytes == b""
    assert isinstance(error_of(run("extract", FIRMWARE.path, "-o", "-", "--json")), UsageError)


def test_wrong_key_extracts_nothing(tmp_path: Path) -> None:
    for v in VECTORS:
        if v.id.startswith("official-i_100") and v.id.endswith("aes"):
            result = run("extract", v.path, "-o", tmp_path / "fw.bin", "--key", WRONG_KEY)
            assert WRONG_KEY not in str(error_of(result))
            assert list(tmp_path.iterdir()) == []
