"""The EasyFlash ENV against every recorded 3.2.1 vector, and the behaviour the vectors do not show."""

import hashlib
import json
import random
import shlex
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloudsdk.env import Env, EnvError
from cloudsdk.errors import FlashError
from sim.flash.easyflash import EasyFlashEnv, EnvCode, EnvPartitionError, EnvState, Messages
from sim.flash.fal import FalPartition
from sim.flash.geometry import FlashGeometry
from sim.flash.layout import PartitionEntry
from sim.flash.nor import NorFlash
from sim.flash.pages import MemoryPages
from sim.flash.power import CutMoment, FlashOperation, PowerCut, Trigger

VECTORS = Path(__file__).parents[1] / "data/easyflash"
GEOMETRY = FlashGeometry("nor_flash", 0, 0x80000, 4096, 256, 1)
IMAGE_SIZE = 8192  # the part of the partition that the ENV uses
BUILD_PATH = "<build path>/"

Meta = dict[str, Any]


def load(name: str) -> Meta:
    meta: Meta = json.loads((VECTORS / name / "meta.json").read_text(encoding="utf-8"))
    return meta


ALL = {path.parent.name: load(path.parent.name) for path in sorted(VECTORS.glob("v3-*/meta.json"))}
RECORDED = [name for name, meta in ALL.items() if "ops_console" in meta]
CUTS = [(name, step["step"]) for name, meta in ALL.items() for step in meta.get("steps", ())]
RELOADS = [name for name, meta in ALL.items() if "expected_after_reload" in meta]


def partition_with(image: bytes) -> FalPartition:
    entry = PartitionEntry("easyflash", "nor_flash", 0, GEOMETRY.size)
    return FalPartition(entry, NorFlash(GEOMETRY, MemoryPages(GEOMETRY.size, image)))


def start_image(meta: Meta) -> bytes:
    if meta["start"].startswith("blank"):
        return b""
    (start,) = VECTORS.glob(meta["start"] + "-*")
    return (start / "image.bin").read_bytes()


def content(partition: FalPartition) -> bytes:
    partition.device.power.restore()
    whole = partition.read(0, partition.size)
    assert whole[IMAGE_SIZE:] == b"\xff" * (partition.size - IMAGE_SIZE)
    return whole[:IMAGE_SIZE]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def primitives(partition: FalPartition) -> Iterator[list[list[Any]]]:
    """The primitives of the block in the notation of the vectors."""
    found: list[list[Any]] = []
    with partition.device.power.recording(fine=True) as operations:
        yield found
    found += [[each.op, each.offset, each.length] for each in operations]


def failing(number: int) -> Trigger:
    """A driver whose `number`th following call returns an error."""

    def trigger(index: int, operation: FlashOperation) -> CutMoment | None:
        if index == number - 1:
            raise FlashError("the driver says -1")
        return None

    return trigger


class Player:
    """Carries out the operations of a vector and keeps what the console showed."""

    def __init__(self, partition: FalPartition, **options: Any) -> None:
        self.partition = partition
        self.text = ""
        self.env = EasyFlashEnv(partition, console=self.print, **options)

    def print(self, text: str) -> None:
        self.text += text

    @property
    def lines(self) -> list[str]:
        assert not self.text or self.text.endswith("\n")
        return self.text.split("\n")[:-1]

    def play(self, operations: list[Any]) -> list[int]:
        return [self.code(getattr(self, "do_" + name), *arguments) for name, *arguments in operations]

    def code(self, call: Callable[..., None], *arguments: Any) -> int:
        try:
            call(*arguments)
        except EnvError as error:
            return error.code
        return 0

    def do_init(self) -> None:
        self.env.init()

    def do_state(self) -> None:
        pass

    def do_set(self, key: str, value: str) -> None:
        self.env.set(key, value)

    def do_save(self) -> None:
        self.env.save()

    def do_setsave(self, key: str, value: str) -> None:
        self.env.set_and_save(key, value)

    def do_delsave(self, key: str) -> None:
        self.env.delete_and_save(key)

    def do_get(self, key: str) -> None:
        self.print(f"@GET {self.env.get(key)}\n")

    def do_fail(self, number: int) -> None:
        self.partition.device.power.arm(failing(number))

    def do_msh(self, line: str) -> None:
        # The word before a double blank ends the value; the shell of the original loses the rest.
        command, *words = shlex.split(line.partition("  ")[0])
        if command == "printenv":
            self.print(self.env.print_env())
        elif command == "saveenv":
            self.env.save()
        elif command == "resetenv":
            self.env.set_default()
        elif command == "getvalue":
            value = self.env.get(words[0])
            self.print(
                f"Can't find {words[0]}.\n" if value is None else f"The {words[0]} value is {value}.\n"
            )
        elif not words:
            self.print("Please input: setenv <key> [value]\n")
        elif len(words) == 1:
            self.code(self.env.delete, words[0])
        else:
            several = len(words) > 2 or "  " in line
            self.env.set(words[0], " ".join(words[1:]) + " " * several)


def expand(operations: list[Any]) -> list[Any]:
    """`for i in 1..N: set n=i, save` written out."""
    if operations and isinstance(operations[0], str):
        last = int(operations[0].partition("..")[2].partition(":")[0])
        saves = [[["set", "n", str(number)], ["save"]] for number in range(1, last + 1)]
        return [["init"], *(each for pair in saves for each in pair)]
    return operations


def options_of(meta: Meta) -> dict[str, Any]:
    return {"messages": Messages.DEBUG} if "debug" in meta["name"] else {}


def without_path(lines: list[str]) -> list[str]:
    return [line.replace(BUILD_PATH, "") for line in lines]


def state_of(env: EasyFlashEnv) -> dict[str, int]:
    state = env.state
    return {
        "used_size": state.used_size,
        "dirty": int(state.dirty),
        "saved_count": state.saved_count,
        "cur_addr": state.current_area,
        "next_addr": state.next_area,
        "ver_num": state.version,
    }


def check_reload(image: bytes, expected: Meta, **options: Any) -> None:
    """Start on `image` as after a reset."""
    partition = partition_with(image)
    player = Player(partition, **options)
    with primitives(partition) as found:
        player.env.init()
    assert [list(pair) for pair in player.env.items()] == expected["env"]
    assert state_of(player.env) == expected["state"]
    assert player.lines == without_path(expected["console"])
    assert found == expected["boot_flash_ops"]
    assert sha256(content(partition)) == expected["image_sha256_after_boot"]


def test_vectors_are_all_there() -> None:
    assert (len(RECORDED), len(CUTS), len(RELOADS)) == (17, 12, 26)
    assert set(ALL) == set(RECORDED) | set(RELOADS) | {name for name, _ in CUTS}


@pytest.mark.parametrize("name", RECORDED)
def test_operations_do_what_the_original_did(name: str) -> None:
    meta = ALL[name]
    partition = partition_with(start_image(meta))
    player = Player(partition, **options_of(meta))
    with primitives(partition) as found:
        codes = player.play(expand(meta["ops"]))
    assert player.lines == without_path(meta["ops_console"])
    assert content(partition) == (VECTORS / name / "image.bin").read_bytes()
    # The three vectors written as a loop give only the console, the image and the reload.
    assert codes == (meta["ops_rc"] or [0] * len(codes))
    assert found == (meta["flash_ops"] or found)
    if "state_before_reload" in meta:
        expected = dict(meta["state_before_reload"])
        assert [list(pair) for pair in player.env.items()] == expected.pop("env")
        assert state_of(player.env) == expected


@pytest.mark.parametrize("name", RELOADS)
def test_restart_finds_what_the_original_found(name: str) -> None:
    image = (VECTORS / name / "image.bin").read_bytes()
    check_reload(image, ALL[name]["expected_after_reload"], **options_of(ALL[name]))


@pytest.mark.parametrize(("name", "step_name"), CUTS)
def test_power_cut_leaves_the_recorded_flash_and_restart(name: str, step_name: str) -> None:
    meta = ALL[name]
    (step,) = [each for each in meta["steps"] if each["step"] == step_name]
    moment = CutMoment.AFTER if step["torn_bytes"] is None else CutMoment.TORN
    partition = partition_with((VECTORS / name / "image.bin").read_bytes())
    player = Player(partition)
    if meta["ops"] != [["init"]]:
        player.env.init()
    last = step["after_primitive"] - 1
    partition.device.power.arm(lambda index, operation: moment if index == last else None, fine=True)
    with primitives(partition) as found, pytest.raises(PowerCut):
        player.play(meta["ops"])
    assert found == meta["flash_ops"][: last + 1]
    image = content(partition)
    assert image == (VECTORS / name / step["image"]).read_bytes()
    check_reload(image, step["expected_after_reload"])


@pytest.mark.parametrize("name", sorted({name for name, _ in CUTS}))
def test_uncut_run_of_a_cut_vector_does_all_its_primitives(name: str) -> None:
    meta = ALL[name]
    partition = partition_with((VECTORS / name / "image.bin").read_bytes())
    player = Player(partition)
    if meta["ops"] != [["init"]]:
        player.env.init()
    with primitives(partition) as found:
        player.play(meta["ops"])
    assert found == meta["flash_ops"]
    assert [list(pair) for pair in player.env.items()] == meta["env_if_not_cut"]


@pytest.fixture
def player() -> Player:
    """A started ENV on blank flash with nothing on the console yet."""
    player = Player(partition_with(b""))
    player.env.init()
    player.text = ""
    return player


def restarted(player: Player) -> EasyFlashEnv:
    env = EasyFlashEnv(player.partition)
    env.init()
    return env


def test_store_is_an_env_of_the_sdk(player: Player) -> None:
    env: Env = player.env
    env.set("cld_sn", "1")
    env.save()
    assert restarted(player).get("cld_sn") == "1"


def test_saving_nothing_new_writes_nothing(player: Player) -> None:
    with primitives(player.partition) as found:
        player.env.set("boot_times", "0")
        player.env.save()
    assert found == []


def test_change_that_does_not_fit_loses_the_variable_for_good(player: Player) -> None:
    env = player.env
    env.set_and_save("k", "old")
    assert player.play([["setsave", "k", "z" * 2048]]) == [EnvCode.FULL]
    assert env.get("k") is None
    assert env.state.dirty
    assert restarted(player).get("k") == "old"
    env.save()
    assert restarted(player).get("k") is None
    assert player.lines == []


def test_largest_record_uses_2044_bytes(player: Player) -> None:
    env = player.env
    env.delete("boot_times")
    assert player.play([["set", "k", "z" * 2026]]) == [EnvCode.FULL]
    env.set("k", "z" * 2025)
    assert env.state.used_size == 2044
    env.save()
    assert restarted(player).get("k") == "z" * 2025


def test_key_with_equals_sign_finds_into_the_value(player: Player) -> None:
    player.env.set("a", "b=c")
    assert player.env.get("a=b") == "b=c"
    assert player.play([["set", "a=b", "b=c"], ["set", "a=b", "x"]]) == [0, EnvCode.NAME]
    assert player.lines == ["[Flash] Flash ENV name or value can't contain '='."]


def test_refused_names_and_their_texts(player: Player) -> None:
    codes = [player.code(player.env.set, "", "x"), player.code(player.env.delete, "")]
    codes += [player.code(player.env.delete, "no"), player.code(player.env.set, "k", "a\0b")]
    assert codes == [EnvCode.NAME] * 4
    assert player.env.get("") is None
    assert player.lines == [
        "[Flash] Flash ENV name must be not empty!",
        "[Flash] Flash ENV name must be not empty!",
        "[Flash] Flash ENV name must be not NULL!",
        '[Flash] Not find "no" in ENV.',
        "[Flash] Flash ENV name must be not empty!",
    ]


def test_nothing_works_before_start() -> None:
    player = Player(partition_with(b""))
    calls: list[tuple[Callable[..., None], tuple[str, ...]]] = [
        (player.env.set, ("k", "v")),
        (player.env.delete, ("k",)),
        (player.env.save, ()),
    ]
    assert [player.code(call, *arguments) for call, arguments in calls] == [EnvCode.NOT_INITIALISED] * 3
    assert player.env.get("k") is None
    assert player.env.print_env() == ""
    assert player.lines == ["[Flash] ENV isn't initialize OK."] * 5


def test_failed_write_counts_as_saved_until_reset(player: Player) -> None:
    env = player.env
    player.partition.device.power.arm(failing(2))
    assert player.play([["setsave", "k", "v"], ["save"]]) == [EnvCode.WRITE, 0]
    assert player.lines == ["[Flash] Error: Saved ENV fault! Start address is 0x00000000, size is 36."]
    assert env.get("k") == "v"
    after = restarted(player)
    assert after.get("k") is None
    assert after.state == EnvState(32, 2, 4096, 0, 0, dirty=False)


def test_save_after_a_failed_erase_goes_to_the_last_good_area(player: Player) -> None:
    player.partition.device.power.arm(failing(1))
    assert player.play([["setsave", "k", "v"]]) == [EnvCode.ERASE]
    assert player.env.state.dirty
    with primitives(player.partition) as found:
        player.env.save()
    # Area 1 held the only good copy of what was last saved.
    assert found == [["erase", 4096, 4096], ["program", 4096, 36]]


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_start_fails_when_the_defaults_cannot_be_written(call: int) -> None:
    player = Player(partition_with(b""))
    player.partition.device.power.arm(failing(call))
    with pytest.raises(EnvError):
        player.env.init()
    assert player.lines[-2:] == [
        "[Flash] EasyFlash V3.2.1 is initialize fail.",
        "[Flash] You can get the latest version on https://github.com/armink/EasyFlash .",
    ]
    assert player.env.get("boot_times") is None


def test_power_cut_during_start_prints_nothing_more() -> None:
    player = Player(partition_with(b""))
    player.partition.device.power.arm(lambda index, operation: CutMoment.TORN)
    with pytest.raises(PowerCut):
        player.env.init()
    assert player.lines == []


def test_unreadable_flash_counts_as_blank() -> None:
    class Unreadable(FalPartition):
        def read(self, offset: int, length: int) -> bytes:
            raise FlashError("bus error")

    entry = PartitionEntry("easyflash", "nor_flash", 0, GEOMETRY.size)
    env = EasyFlashEnv(Unreadable(entry, NorFlash(GEOMETRY)))
    env.init()
    assert env.items() == [("boot_times", "0")]


def test_new_version_adds_missing_defaults_once(player: Player) -> None:
    player.env.set_and_save("k", "v")
    defaults = (("boot_times", "9"), ("new", "1"))
    for expected in ([["erase", 4096, 4096], ["program", 4096, 44]], []):
        env = EasyFlashEnv(player.partition, defaults=defaults, version=7)
        with primitives(player.partition) as found:
            env.init()
        assert found == expected
        assert env.items() == [("boot_times", "0"), ("k", "v"), ("new", "1")]
        assert env.state.version == 7


def test_start_succeeds_though_the_new_defaults_cannot_be_saved(player: Player) -> None:
    player.partition.device.power.arm(failing(1))
    again = Player(player.partition, version=7)
    again.env.init()
    assert again.lines[-2].endswith("initialize success.")
    assert again.env.state.dirty


def test_flipped_version_word_only_triggers_the_update(player: Player) -> None:
    image = bytearray(content(player.partition))
    image[4096 + 8] = 1
    partition = partition_with(bytes(image))
    env = EasyFlashEnv(partition)
    with primitives(partition) as found:
        env.init()
    assert found == [["erase", 0, 4096], ["program", 0, 32]]
    assert (env.state.version, env.state.saved_count) == (0, 3)


def area(start: int, count: int, records: bytes) -> bytes:
    end = struct.pack("<II", start + 16 + len(records), count)
    return (end + struct.pack("<II", 0, zlib.crc32(end + records)) + records).ljust(4096, b"\xff")


@pytest.mark.parametrize(
    ("first", "second", "current"),
    [(5, 5, 4096), (6, 5, 0), (5, 6, 4096), (0, 0xFFFFFFFF, 0), (0xFFFFFFFF, 0, 0), (0x80000000, 1, 0)],
)
def test_newer_area_is_chosen_as_the_original_does(first: int, second: int, current: int) -> None:
    env = EasyFlashEnv(partition_with(area(0, first, b"a=0\0") + area(4096, second, b"a=1\0")))
    env.init()
    assert env.state.current_area == current


@pytest.mark.parametrize("end", [0, 15, 2052, 0xFFFFFFFF, 0x80000000])
def test_area_with_an_end_out_of_range_is_invalid(end: int) -> None:
    head = struct.pack("<II", end, 9)
    image = head + struct.pack("<II", 0, zlib.crc32(head)) + b"\xff" * 4080 + area(4096, 1, b"a=1\0")
    env = EasyFlashEnv(partition_with(image))
    env.init()
    assert env.items() == [("a", "1")]


def test_save_counter_wraps() -> None:
    partition = partition_with(b"\xff" * 4096 + area(4096, 0xFFFFFFFF, b"a=1\0"))
    env = EasyFlashEnv(partition)
    env.init()
    env.set_and_save("a", "2")
    again = EasyFlashEnv(partition)
    again.init()
    assert (again.get("a"), again.state.saved_count) == ("2", 0)


def test_any_bytes_of_a_real_dump_round_trip() -> None:
    text = bytes(range(1, 256)).replace(b"=", b"")
    partition = partition_with(b"\xff" * 4096 + area(4096, 1, (b"k=" + text).ljust(260, b"\0")))
    env = EasyFlashEnv(partition)
    env.init()
    value = env.get("k")
    assert value is not None
    env.set("copy", value)
    env.set_and_save("name", "温度")
    flash = content(partition)
    assert b"copy=" + text + b"\0" in flash
    assert "name=温度\0".encode() in flash
    env.set("k", value + "!")
    assert env.get("k") == value + "!"


def test_valid_area_of_garbage_records_survives_every_operation() -> None:
    rng = random.Random(6)
    alphabet = b"ab=\0\xff\x80"
    for _ in range(300):
        records = bytes(rng.choice(alphabet) for _ in range(rng.randrange(60)))
        player = Player(partition_with(b"\xff" * 4096 + area(4096, 1, records)), version=rng.choice([0, 1]))
        player.env.init()
        for key in ("a", "b", "ab", "a=b", ""):
            for call, arguments in ((player.env.set, (key, "v")), (player.env.delete, (key,))):
                player.code(call, *arguments)
                player.env.items()
                player.env.print_env()
                player.env.get(key)
        player.env.save()
        saved = player.env.items()
        assert restarted(player).items()[: len(saved)] == saved


def test_random_flash_gives_the_defaults() -> None:
    rng = random.Random(7)
    for _ in range(50):
        env = EasyFlashEnv(partition_with(rng.randbytes(IMAGE_SIZE)))
        env.init()
        assert env.items() == [("boot_times", "0")]


def test_official_release_prints_a_pair_of_lines_per_save() -> None:
    player = Player(partition_with(b""), messages=Messages.RELEASE)
    player.env.init()
    assert player.lines[:-2] == ["[Flash] Erased ENV OK.", "[Flash] Saved ENV OK."] * 2


def test_other_block_sizes_give_other_areas() -> None:
    geometry = FlashGeometry("onchip_flash", 0x08000000, 8192, 1024, 8, 8)
    partition = FalPartition(PartitionEntry("easyflash", "onchip_flash", 4096, 4096), NorFlash(geometry))
    env = EasyFlashEnv(partition)
    env.init()
    assert (env.state.current_area, env.state.next_area) == (2048, 0)
    env.set_and_save("k", "v")
    again = EasyFlashEnv(partition)
    again.init()
    assert again.get("k") == "v"


def test_partition_too_small_for_two_areas_is_refused() -> None:
    device = NorFlash(GEOMETRY)
    with pytest.raises(EnvPartitionError, match="cannot hold 2 ENV areas of 4096 bytes"):
        EasyFlashEnv(FalPartition(PartitionEntry("easyflash", "nor_flash", 0, 4096), device))


def test_secrets_stay_out_of_errors_and_reprs(player: Player) -> None:
    secret = "5f4dcc3b5aa765d6" * 200
    with pytest.raises(EnvError) as refused:
        player.env.set("cld_pwd", secret)
    assert "5f4dcc3b" not in str(refused.value) + repr(player.env) + player.text
