import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from intelhex import IntelHex
from rbl_vectors import EDGE, RAW_16, VECTORS, Vector, vector, with_header

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.files import replacing
from cloudsdk.ota.errors import FieldError, ImageError, IncomparableError, LintError, PackageKeyError
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.package import failures, read_package
from sim.cli.rbl import rbl

KEY, IV = "0123456789ABCDEF0123456789ABCDEF", "0123456789ABCDEF"
SECRET = "SecretSecretSecretSecretSecret42"
FIRMWARE = vector("official-d_100k_fw__none__plain")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SOURCE_DATE_EPOCH", "CLOUDSIM_KEY", "CLOUDSIM_IV"):
        monkeypatch.delenv(variable, raising=False)


def run(*args: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(rbl, [str(arg) for arg in args], env=env)


def good(*args: str | Path, env: dict[str, str] | None = None) -> Result:
    result = run(*args, env=env)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def error_of(result: Result) -> CloudSdkError:
    assert isinstance(result.exception, CloudSdkError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def raw_file(tmp_path: Path, raw: bytes = RAW_16 * 4) -> Path:
    file = tmp_path / "fw.bin"
    file.write_bytes(raw)
    return file


def plain(file: Path, target: Path, *more: str | Path) -> list[str | Path]:
    return ["pack", file, "-o", target, "--name", "app", "--version", "1.0", *more]


# --- pack -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v.id)
def test_recorded_packages_are_packed_again(tmp_path: Path, v: Vector) -> None:
    facts, target = v.facts, tmp_path / "out.rbl"
    encryption = "none" if facts["encrypt"] == "none" else "aes256"
    result = good(
        *("pack", raw_file(tmp_path, v.raw), "-o", target, "--name", facts["partition"]),
        *("--version", facts["version"], "--timestamp", str(facts["timestamp"])),
        *("--compress", facts["compress"], "--encrypt", encryption, "--flavour", facts["flavour"]),
        *("--product-code", v.product_code, "--json"),
        env={"CLOUDSIM_KEY": KEY, "CLOUDSIM_IV": IV},
    )
    package = target.read_bytes()
    if facts["compress"] == "none":
        assert package == v.package
    # The padding rounds to 16 bytes, so that one byte more can cost a block.
    slack = 16 if encryption == "aes256" else 0
    assert len(package) - HEADER_SIZE <= 1.005 * facts["size_package"] + slack
    assert good("verify", target).exit_code == 0
    good("extract", target, "-o", tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == v.raw

    header = RblHeader.unpack(package)
    shown = json.loads(result.stdout)
    assert shown["hash_code"] == f"0x{facts['raw_fnv1a' if v.official else 'raw_crc32']}"
    assert shown["hdr_crc32"] == f"0x{header.header_crc32:08x}"
    assert (shown["raw_size"], shown["pkg_size"]) == (facts["size_raw"], header.body_size)
    assert shown["timestamp"] == facts["timestamp"]


def test_result_as_the_original_shows_it(tmp_path: Path) -> None:
    result = good(*plain(raw_file(tmp_path), tmp_path / "out.rbl", "--timestamp", "1529386283"))
    header = RblHeader.unpack((tmp_path / "out.rbl").read_bytes())
    assert result.stdout.splitlines() == [
        f"HASH_CODE:  0x{header.raw_hash:08x}",
        f"HDR_CRC32:  0x{header.header_crc32:08x}",
        f"BODY_CRC32: 0x{header.body_crc32:08x}",
        "RAW_SIZE:   64",
        "PKG_SIZE:   64",
        "TIMESTAMP:  1529386283",
    ]
    assert result.stderr == ""


def test_timestamp_of_option_environment_or_file(tmp_path: Path) -> None:
    file, target = raw_file(tmp_path), tmp_path / "out.rbl"
    os.utime(file, (5, 1234567890.9))

    def stored(*options: str, env: dict[str, str] | None = None) -> int:
        good(*plain(file, target, *options), env=env)
        return read_package(target).header.timestamp

    assert stored() == 1234567890
    assert stored(env={"SOURCE_DATE_EPOCH": "77"}) == 77
    assert stored("--timestamp", "5", env={"SOURCE_DATE_EPOCH": "77"}) == 5
    assert isinstance(error_of(run(*plain(file, target), env={"SOURCE_DATE_EPOCH": "soon"})), UsageError)
    assert isinstance(error_of(run(*plain(file, target, "--timestamp", str(1 << 32)))), FieldError)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    file = raw_file(tmp_path, FIRMWARE.raw[:20000])
    for compression in ("none", "quicklz", "fastlz", "gzip"):
        made = []
        for name in ("a.rbl", "b.rbl"):
            good(*plain(file, tmp_path / name, "--compress", compression, "--encrypt", "aes256"))
            made.append((tmp_path / name).read_bytes())
        assert made[0] == made[1]


def test_hex_and_binary_give_the_same_package(tmp_path: Path) -> None:
    file = raw_file(tmp_path, FIRMWARE.raw)
    written = IntelHex()
    written.frombytes(FIRMWARE.raw, 0x08010000)
    written.write_hex_file(str(tmp_path / "fw.hex"))
    for name in ("fw.bin", "fw.hex"):
        good(*plain(tmp_path / name, tmp_path / f"{name}.rbl", "--timestamp", "1", "--compress", "gzip"))
    assert (tmp_path / "fw.bin.rbl").read_bytes() == (tmp_path / "fw.hex.rbl").read_bytes()
    file.rename(tmp_path / "fw.elf")
    assert isinstance(error_of(run(*plain(tmp_path / "fw.elf", tmp_path / "x.rbl"))), ImageError)
    assert not (tmp_path / "x.rbl").exists()


@pytest.mark.parametrize(
    ("file", "name", "version", "words"),
    [
        ("edge_nonascii", "固件", "版本1", ["name is not all ASCII", "version is not all ASCII"]),
        (
            "edge_longname",
            "averyveryverylongname",
            "123456789012345678901234567890",
            ["cut to 16", "cut to 24"],
        ),
        ("edge_name16", "0123456789abcdef", "123456789012345678901234", ["name fills", "version fills"]),
    ],
)
def test_text_becomes_what_the_official_packer_makes_of_it(
    tmp_path: Path, file: str, name: str, version: str, words: list[str]
) -> None:
    recorded = (EDGE / f"{file}.rbl").read_bytes()
    options = ("--name", name, "--version", version, "--timestamp", str(RblHeader.unpack(recorded).timestamp))
    result = good("pack", raw_file(tmp_path, RAW_16), "-o", tmp_path / "out.rbl", *options, "--json")
    assert (tmp_path / "out.rbl").read_bytes() == recorded
    warnings = json.loads(result.stdout)["warnings"]
    assert result.stderr.splitlines() == [f"cloudsim: warning: {warning}" for warning in warnings]
    for word in words:
        assert any(word in warning for warning in warnings)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--name", ""], FieldError),
        (["--version", ""], FieldError),
        (["--name", "a\nb"], FieldError),
        (["--encrypt", "aes256", "--key", SECRET[1:]], PackageKeyError),
        (["--encrypt", "aes256", "--iv", SECRET], PackageKeyError),
        (["--encrypt", "aes256", "--key", "é" * 32], PackageKeyError),
        (["--timestamp", "-1"], FieldError),
    ],
)
def test_what_the_official_packer_refuses(
    tmp_path: Path, options: list[str], error: type[CloudSdkError]
) -> None:
    result = run(*plain(raw_file(tmp_path), tmp_path / "out.rbl", *options))
    refused = error_of(result)
    assert isinstance(refused, error)
    assert refused.exit_status == 2
    assert "Secret" not in str(refused) + result.output
    assert [path.name for path in tmp_path.iterdir()] == ["fw.bin"]


def warnings_of(tmp_path: Path, *options: str | Path, raw: bytes = RAW_16 * 4) -> str:
    return good(*plain(raw_file(tmp_path, raw), tmp_path / "out.rbl", *options)).stderr


def test_dangerous_packages_are_warned_of(tmp_path: Path) -> None:
    assert warnings_of(tmp_path) == ""
    assert "hangs below 32" in warnings_of(tmp_path, raw=RAW_16)
    assert warnings_of(tmp_path, "--flavour", "qboot", raw=RAW_16) == ""
    assert "public key" in warnings_of(tmp_path, "--encrypt", "aes256")
    assert "not encrypted" in warnings_of(tmp_path, "--key", SECRET)
    assert "name it .elf" in warnings_of(tmp_path, raw=b"\x7fELF" + bytes(60))


def test_key_file(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{SECRET}\n{IV}\n")
    keys.chmod(0o600)
    assert warnings_of(tmp_path, "--encrypt", "aes256", "--key-file", keys) == ""
    target = tmp_path / "out.rbl"
    assert failures(read_package(target).verify(SECRET.encode(), IV.encode())) == []
    assert good("verify", target, "--key-file", keys, env={"CLOUDSIM_KEY": KEY}).stderr == ""
    assert good("verify", target, env={"CLOUDSIM_KEY": SECRET}).exit_code == 0
    keys.chmod(0o644)
    result = good("verify", target, "--key-file", keys)
    assert result.stderr == f"cloudsim: warning: others can read the keys in {keys}: chmod 600 {keys}\n"
    assert isinstance(error_of(run("verify", target, "--key-file", keys, "--iv", IV)), UsageError)


def test_input_that_cannot_be_read_or_is_the_output(tmp_path: Path) -> None:
    assert isinstance(error_of(run(*plain(tmp_path / "absent.bin", tmp_path / "out.rbl"))), UsageError)
    file = raw_file(tmp_path)
    error = error_of(run(*plain(file, file)))
    assert "input itself" in str(error)
    assert file.read_bytes() == RAW_16 * 4


# --- interrupted ------------------------------------------------------------------------------------------


def interrupted(target: Path, failure: BaseException) -> None:
    with replacing(target) as file:
        file.write(b"half")
        raise failure


@pytest.mark.parametrize("before", [None, b"old"])
@pytest.mark.parametrize(
    ("failure", "error"),
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "No space left"), UsageError)],
)
@pytest.mark.parametrize("nameless", [True, False])
def test_interrupted_write_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    error: type[BaseException],
    before: bytes | None,
    nameless: bool,
) -> None:
    if not nameless:
        monkeypatch.setattr("cloudsdk.files._unnamed", lambda _: None)
    target = tmp_path / "out.rbl"
    if before is not None:
        target.write_bytes(before)
    with pytest.raises(error):
        interrupted(target, failure)
    assert [path.name for path in tmp_path.iterdir()] == (["out.rbl"] if before else [])
    assert before is None or target.read_bytes() == before


def test_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sim.cli.rbl_pack.pack_stream", full)
    target = tmp_path / "out.rbl"
    error = error_of(run(*plain(raw_file(tmp_path), target)))
    assert str(error) == f"cannot write {target}: No space left on device"
    assert [path.name for path in tmp_path.iterdir()] == ["fw.bin"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_pack_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    source = tmp_path / "fw.bin"
    os.mkfifo(source)  # the firmware never ends, so that the packer is in the middle of it
    command = [str(Path(sys.executable).parent / "cloudsim"), "rbl", *plain(source, tmp_path / "out.rbl")]
    # A shell ignores SIGINT for what it runs in the background, and that would be inherited.
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    with source.open("wb") as feed:  # opens once the packer reads
        feed.write(bytes(300_000))  # more than a pipe holds: it has read and written some
        # A signal that comes between two reads of one buffered read is not seen before the second returns
        # (CPython looks for signals when a call is interrupted), so that a user presses Ctrl-C again.
        assert _signalled(process, how) == (130 if how is signal.SIGINT else -how)
    assert process.stderr is not None
    assert process.stderr.read().strip() == b""
    process.stderr.close()
    assert [path.name for path in tmp_path.iterdir()] == ["fw.bin"]


def _signalled(process: "subprocess.Popen[bytes]", how: signal.Signals) -> int:
    for _ in range(5):
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(4)
    pytest.fail("the packer does not end")


def test_places_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudsdk.files._unnamed", lambda _: None)
    target = tmp_path / "out.rbl"
    with replacing(target) as file:
        file.write(b"new")
        assert len(list(tmp_path.iterdir())) == 1
        assert not target.exists()
    assert target.read_bytes() == b"new"
    with pytest.raises(KeyboardInterrupt), replacing(target):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["out.rbl"]


# --- convert, lint, diff ----------------------------------------------------------------------------------


def test_convert_there_and_back(tmp_path: Path) -> None:
    recorded = vector("official-i_100byte_text__quicklz__aes")
    good("convert", recorded.path, "-o", tmp_path / "q.rbl", "--flavour", "qboot")
    result = good("convert", tmp_path / "q.rbl", "-o", tmp_path / "o.rbl", "--flavour", "official", "--json")
    assert (tmp_path / "o.rbl").read_bytes() == recorded.package
    assert json.loads(result.stdout)["hash_code"] == f"0x{recorded.facts['raw_fnv1a']}"
    assert isinstance(
        error_of(run("convert", tmp_path / "q.rbl", "-o", tmp_path / "q.rbl", "--flavour", "qboot")),
        UsageError,
    )
    assert run("convert", recorded.path, "-o", tmp_path / "x.rbl").exit_code == 2


def test_convert_that_fails_leaves_nothing(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.rbl"
    damaged.write_bytes(FIRMWARE.package[:-1])
    error_of(run("convert", damaged, "-o", tmp_path / "x.rbl", "--flavour", "qboot"))
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.rbl"]


def test_lint_of_a_good_package() -> None:
    result = good("lint", FIRMWARE.path)
    assert result.stdout == f"{FIRMWARE.path}: nothing to complain about on iot-board\n"
    assert json.loads(good("lint", FIRMWARE.path, "--bootloader", "qboot", "--json").stdout) == {
        "file": str(FIRMWARE.path),
        "board": "iot-board",
        "bootloader": "qboot",
        "ok": True,
        "findings": [
            {
                "id": "no-raw-verification",
                "severity": "warning",
                "message": "an official package: QBoot installs it without checking the firmware; "
                "cloudsim rbl convert --flavour qboot",
                "fact": "rbl-format 5",
            }
        ],
    }


def test_lint_fails_with_the_ids_of_the_errors(tmp_path: Path) -> None:
    file = tmp_path / "gzip.rbl"
    file.write_bytes(
        with_header(vector("official-d_100k_fw__gzip__plain").package, name=b"nosuch".ljust(16, b"\0"))
    )
    result = run("lint", file)
    error = error_of(result)
    assert isinstance(error, LintError)
    assert error.exit_status == 1
    assert str(error).endswith("will not work on iot-board (rt_ota): gzip, partition-unknown")
    assert (
        "gzip: this rt_ota has no gzip: pack again with QuickLZ or FastLZ [rbl-format 2.4]" in result.stdout
    )
    assert json.loads(run("lint", file, "--json").stdout)["ok"] is False


def test_lint_on_a_board_of_ones_own(tmp_path: Path) -> None:
    from flash_images import boards

    layout = tmp_path / "mine.yaml"
    text = boards.text("iot-board").replace("name: iot-board", "name: mine")
    factory = "  - {name: factory, device: nor_flash, offset: 0x00180000"
    recovering = text.replace("kind: rt_ota", "kind: rt_ota+factory")
    layout.write_text(
        recovering.replace("  - {name: wifi_image, device: nor_flash, offset: 0x00180000", factory)
    )
    assert good("lint", FIRMWARE.path, "--board", layout).exit_code == 0
    text = text.replace("kind: rt_ota", "kind: qboot")
    layout.write_text(text)
    assert good("lint", FIRMWARE.path, "--board", layout, "--bootloader", "rt_ota").exit_code == 0
    layout.write_text(text.replace("name: app,", "name: application,"))
    assert "partition-unknown" in str(error_of(run("lint", FIRMWARE.path, "--board", layout)))


def test_diff(tmp_path: Path) -> None:
    assert good("diff", FIRMWARE.path, FIRMWARE.path).stdout == "firmware: the same, 102400 bytes\n"
    other = tmp_path / "other.rbl"
    changed = bytearray(FIRMWARE.raw)
    changed[0x5001] ^= 1
    good(*plain(raw_file(tmp_path, bytes(changed)), other, "--timestamp", "5"))
    result = run("diff", FIRMWARE.path, other)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"timestamp: {FIRMWARE.facts['timestamp']} -> 5"
    assert lines[1] == f"version: {FIRMWARE.facts['version']} -> 1.0"
    assert lines[-1] == (
        "firmware: 102400 and 102400 bytes, first difference at 0x5001, 1 of 25 blocks of 4 KiB differ"
    )
    result = run("diff", FIRMWARE.path, other, "--json")
    assert result.exit_code == 1
    shown = json.loads(result.stdout)
    assert shown["fields"]["timestamp"] == [FIRMWARE.facts["timestamp"], 5]
    assert shown["content"] == {
        "kind": "firmware",
        "same": False,
        "first_size": 102400,
        "second_size": 102400,
        "first_difference": 0x5001,
        "differing_blocks": 1,
        "blocks": 25,
    }
    other.write_bytes(other.read_bytes()[:-1])
    assert isinstance(error_of(run("diff", FIRMWARE.path, other)), IncomparableError)


def test_hpatchlite_is_named_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "patch.rbl"
    file.write_bytes(with_header(FIRMWARE.package, algo=0x0400))
    assert json.loads(good("info", file, "--json").stdout)["compression"] == "hpatchlite"
    for command in ("info", "verify", "lint"):
        assert "HPatchLite" in run(command, file).output


def test_file_that_is_no_package(tmp_path: Path) -> None:
    file = raw_file(tmp_path, b"short")
    convert = ("convert", "--flavour", "qboot", "-o", tmp_path / "x")
    for command in (("lint",), ("diff", FIRMWARE.path), convert):
        assert error_of(run(*command, file)).code == "rbl.header-short"


def test_input_from_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "fw"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", raw_file(tmp_path), pipe]):
        good(*plain(pipe, tmp_path / "out.rbl"))
    assert (tmp_path / "out.rbl").read_bytes()[HEADER_SIZE:] == RAW_16 * 4
