import json
from pathlib import Path

import pytest
from rbl_vectors import IV, KEY

from cloudsdk.errors import UsageError
from cloudsdk.ota.errors import PackageKeyError
from cloudsdk.ota.keys import PackageKeys, parse_key_file, read_key_file

K, V = "SecretSecretSecretSecretSecret42", "InitVectorVector"
GIVEN = PackageKeys(K.encode(), V.encode())


@pytest.mark.parametrize(
    "text",
    [
        f"{K}\n{V}\n",
        f"{K}\r\n{V}",
        json.dumps({"key": K, "iv": V}),
        json.dumps({"iv": V, "key": K, "comment": 1}),
    ],
)
def test_key_files(text: str) -> None:
    assert parse_key_file(text) == GIVEN


def test_blanks_belong_to_the_key() -> None:
    assert parse_key_file(f" {K[1:]}\n{V}\n").key == b" " + KEY[:0] + K[1:].encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        K,
        f"{K}\n{V}\n\nmore",
        f"{K[1:]}\n{V}",
        f"{K}\n{V}x",
        json.dumps({"key": K}),
        json.dumps({"key": K, "iv": 5}),
        json.dumps([K, V]),
        f"{K[1:]}é\n{V}",
        "\0" * 50,
    ],
)
def test_unusable_key_files_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(PackageKeyError) as caught:
        parse_key_file(text)
    assert "Secret" not in str(caught.value)
    assert "InitVector" not in str(caught.value)


def test_keys_do_not_show() -> None:
    assert repr(GIVEN) == "PackageKeys()"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_files_that_others_can_read_are_warned_of(tmp_path: Path, mode: int, warned: bool) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{K}\n{V}\n")
    file.chmod(mode)
    keys, warnings = read_key_file(file)
    assert keys == GIVEN
    assert warnings == ([f"others can read the keys in {file}: chmod 600 {file}"] if warned else [])


def test_key_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_key_file(tmp_path / "absent")
    (tmp_path / "large").write_bytes(bytes(10_000))
    with pytest.raises(PackageKeyError, match="4096"):
        read_key_file(tmp_path / "large")


def test_default_keys_are_the_public_ones() -> None:
    assert PackageKeys() == PackageKeys(KEY, IV)
