"""Secrets at rest: what lies on flash, what opens, and what a device does when nothing does."""

import base64
import itertools
import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from device_rig import (
    ACTIVATED_ENV,
    DEVICE_ID,
    DEVICE_KEY,
    IDENTITY,
    IOT_BOARD,
    PASSWORD,
    SECRETS,
    SN,
    Driver,
    MemoryEnv,
    TestPort,
    fork,
    make_pages,
)

from cloudsdk import env
from cloudsdk import events as ev
from cloudsdk.env_key import EnvKeyError, read_env_key, write_env_key
from cloudsdk.errors import UsageError
from cloudsdk.sealed_env import SealedEnv
from cloudsdk.session import Session, Storage
from sim.application import ENV_PARTITION
from sim.board import Board, make_board
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.power import CutMoment, FlashOperation, PowerCut

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
BLANK = make_pages(IOT_BOARD, {})


def counter() -> Callable[[int], bytes]:
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


class Sealed:
    """A sealed ENV over a dictionary, and the lines it prints."""

    def __init__(self, store: MemoryEnv, key: bytes = KEY, sn: str = SN) -> None:
        self.lines: list[str] = []
        self.store = store
        self.env = SealedEnv(store, key, sn, random=counter(), console=self.lines.append)


def sealed_store() -> MemoryEnv:
    store = MemoryEnv({})
    sealed = Sealed(store)
    for name, value in ACTIVATED_ENV.items():
        sealed.env.set(name, value)
    sealed.env.save()
    return store


def test_only_secrets_are_sealed_and_all_come_back() -> None:
    store = sealed_store()
    changed = {name for name, value in ACTIVATED_ENV.items() if store.saved[name] != value}
    assert changed == {env.PASSWORD, env.DEVICE_KEY}
    for name in changed:
        assert re.fullmatch("g1:[A-Za-z0-9+/]{80}", store.saved[name])
    again = Sealed(store)
    assert {name: again.env.get(name) for name in ACTIVATED_ENV} == ACTIVATED_ENV
    assert again.lines == []


def test_every_value_has_its_own_nonce() -> None:
    sealed = Sealed(MemoryEnv({}))
    sealed.env.set(env.DEVICE_KEY, DEVICE_KEY)
    first = sealed.store.values[env.DEVICE_KEY]
    sealed.env.set(env.DEVICE_KEY, DEVICE_KEY)
    assert sealed.store.values[env.DEVICE_KEY] != first
    assert sealed.env.get(env.DEVICE_KEY) == DEVICE_KEY


def _turned(text: str) -> str:
    data = bytearray(base64.b64decode(text.removeprefix("g1:")))
    data[20] ^= 1
    return "g1:" + base64.b64encode(bytes(data)).decode()


@pytest.mark.parametrize(
    "spoil",
    [
        _turned,
        lambda _text: "",
        lambda _text: "g1:",
        lambda _text: "g1:AAAA",
        lambda _text: "g1:%%%%",
        lambda text: text[:-4],
        lambda text: "g2:" + text[3:],
        lambda _text: DEVICE_KEY,
        lambda _text: "g1:\udcff\u00fc",
    ],
    ids=["bit", "empty", "prefix", "short", "no-base64", "cut", "format", "plain", "no-text"],
)
def test_tampered_value_counts_as_missing(spoil: Callable[[str], str]) -> None:
    store = sealed_store()
    store.values[env.DEVICE_KEY] = spoil(store.values[env.DEVICE_KEY])
    sealed = Sealed(store)
    assert sealed.env.get(env.DEVICE_KEY) is None
    assert sealed.env.get(env.ACTIVATED) is None
    assert sealed.env.get(env.PASSWORD) == PASSWORD
    line = (
        "\x1b[31m[E/cld.env] cld_dkey is not sealed with this key and SN: it counts as missing "
        "[env.unseal]\x1b[0m\n"
    )
    assert sealed.lines == [line, line]


def test_swapped_values_other_key_and_other_sn_do_not_open() -> None:
    store = sealed_store()
    for sealed in (Sealed(store, OTHER_KEY), Sealed(store, sn=SN + "1")):
        assert sealed.env.get(env.DEVICE_KEY) is None
        assert sealed.env.get(env.PASSWORD) is None
        assert sealed.env.get(env.ACTIVATED) is None
    values = store.values
    values[env.DEVICE_KEY], values[env.PASSWORD] = values[env.PASSWORD], values[env.DEVICE_KEY]
    assert Sealed(store).env.get(env.DEVICE_KEY) is None
    assert Sealed(store).env.get(env.PASSWORD) is None


def test_what_is_missing_stays_missing_without_a_word() -> None:
    sealed = Sealed(MemoryEnv({"cld_act": "false"}))
    assert sealed.env.get(env.DEVICE_KEY) is None
    assert sealed.env.get(env.ACTIVATED) == "false"
    assert sealed.lines == []


def test_delete_reaches_the_store() -> None:
    store = sealed_store()
    Sealed(store).env.delete(env.DEVICE_KEY)
    assert env.DEVICE_KEY not in store.values


# On flash


def power_on(board: Board, key: bytes = KEY) -> tuple[Driver, list[str]]:
    """Run the SDK until it connects to the broker, activating where it asks for that."""
    lines: list[str] = []
    store = EasyFlashEnv(board.partition(ENV_PARTITION))
    store.init()
    sealed = SealedEnv(store, key, SN, random=counter(), console=lines.append)
    driver = Driver(Session(TestPort(), Storage(board.partitions, sealed)))
    driver.handle(ev.Started())
    if driver.has(ev.HttpRequest):
        request = driver.request.request
        driver.handle(ev.HttpOpened(request, 200, {}))
        driver.handle(ev.HttpData(request, json.dumps(IDENTITY).encode()))
        driver.handle(ev.HttpEnded(request))
    return driver, lines


def assert_connects(driver: Driver) -> None:
    (connect,) = (effect for effect in driver.effects if isinstance(effect, ev.MqttConnect))
    assert (connect.user, connect.password) == (DEVICE_ID, PASSWORD)


def assert_nothing_readable(board: Board) -> None:
    partition = board.partition(ENV_PARTITION)
    content = partition.read(0, partition.size)
    for secret in SECRETS:
        assert secret.encode() not in content


def new_board() -> Board:
    return make_board(IOT_BOARD, dict(fork(BLANK)))


def test_device_comes_back_from_flash_and_needs_no_second_activation() -> None:
    board = new_board()
    assert_connects(power_on(board)[0])
    assert_nothing_readable(board)
    driver, lines = power_on(board)
    assert_connects(driver)
    assert lines == []
    assert "activated successfully" in driver.console
    assert "now will activate" not in driver.console


def test_other_key_makes_the_device_activate_again() -> None:
    board = new_board()
    power_on(board)
    driver, lines = power_on(board, OTHER_KEY)
    assert_connects(driver)
    assert [line.count("[env.unseal]") for line in lines] == [1]
    assert "now will activate!" in driver.console
    driver, lines = power_on(board, OTHER_KEY)
    assert_connects(driver)
    assert lines == []


def test_plain_env_of_an_activated_device_is_sealed_by_a_new_activation() -> None:
    board = make_board(IOT_BOARD, dict(fork(make_pages(IOT_BOARD, ACTIVATED_ENV))))
    assert_connects(power_on(board)[0])
    store = EasyFlashEnv(board.partition(ENV_PARTITION))
    store.init()
    assert str(store.get(env.DEVICE_KEY)).startswith("g1:")


@pytest.mark.parametrize("fine", [False, True], ids=["calls", "primitives"])
@pytest.mark.parametrize("moment", list(CutMoment))
def test_power_cut_during_any_save_never_locks_the_device_out(moment: CutMoment, fine: bool) -> None:
    board = new_board()
    with board.power.recording(fine=fine) as operations:
        power_on(board)
    assert len(operations) > 4
    for number in range(len(operations)):

        def cut(index: int, _operation: FlashOperation, number: int = number) -> CutMoment | None:
            return moment if index == number else None

        board = new_board()
        board.power.arm(cut, fine=fine)
        with pytest.raises(PowerCut):
            power_on(board)
        board.power.disarm()
        board.power.restore()
        assert_connects(power_on(board)[0])
        assert_nothing_readable(board)
        assert_connects(power_on(board)[0])


# Key files


def test_key_file_is_private_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "board.key"
    write_env_key(path, KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_env_key(path) == KEY
    with pytest.raises(UsageError, match="exists already"):
        write_env_key(path, OTHER_KEY)
    assert read_env_key(path) == KEY
    assert [each.name for each in tmp_path.iterdir()] == ["board.key"]


@pytest.mark.parametrize(
    "content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64, b"00" * 32 + b"\n\n\n00"]
)
def test_key_file_with_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "board.key"
    path.write_bytes(content)
    with pytest.raises(EnvKeyError, match="holds no board key") as caught:
        read_env_key(path)
    assert caught.value.code == "env.key"


def test_key_of_another_length_is_refused() -> None:
    with pytest.raises(EnvKeyError, match="32 bytes"):
        Sealed(MemoryEnv({}), bytes(16))
