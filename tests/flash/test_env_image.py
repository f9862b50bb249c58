"""Reading the ENV of every recorded build, without writing."""

import re

import pytest
from env_vectors import Recorded, cut, load, whole

from sim.flash.easyflash import BOARD_FORM
from sim.flash.easyflash_area import AreaForm
from sim.flash.env_image import MAX_IMAGE_SIZE, EnvFormat, EnvImage, EnvImageError, Variable, read_env

WHOLE, CUT = whole(), cut()
READABLE = [vector for vector in WHOLE if not vector.start_wrote]
FORMATS = {
    "v3-": EnvFormat.PFS_VERSION,
    "v3p-": EnvFormat.PFS,
    "v3n-": EnvFormat.NORMAL_VERSION,
    "v3w-63": EnvFormat.WL,
    "v3w-64": EnvFormat.WL,
    "v3w-65": EnvFormat.WL_PFS,
    "v4-": EnvFormat.V4_1,
    "v4-20": EnvFormat.V4_8,
}
ERASED = b"\xff" * 8192


def variables(image: EnvImage) -> list[tuple[str, bytes]]:
    return [(variable.name, variable.value) for variable in image.variables]


def normal_area(records: bytes) -> bytes:
    return AreaForm(counted=False, versioned=False).encode(0, 0, 0, records).ljust(4096, b"\xff")


def format_of(vector: Recorded) -> EnvFormat:
    return FORMATS[max((prefix for prefix in FORMATS if vector.id.startswith(prefix)), key=len)]


def test_vectors_are_all_there() -> None:
    assert (len(WHOLE), len(READABLE), len(CUT)) == (41, 36, 79)


@pytest.mark.parametrize("vector", READABLE, ids=lambda vector: vector.id)
def test_reader_finds_what_a_start_finds(vector: Recorded) -> None:
    found = read_env(vector.image)
    assert found.format is format_of(vector)
    assert variables(found) == vector.env
    state = vector.reload["state"]
    assert found.version == state.get("ver_num")
    assert found.saved_count == state.get("saved_count")
    if "cur_addr" in state:
        assert found.area == state["cur_addr"]


@pytest.mark.parametrize("vector", CUT, ids=lambda vector: vector.id)
def test_reader_foresees_the_start_after_a_cut(vector: Recorded) -> None:
    try:
        found = read_env(vector.image)
    except EnvImageError:
        found = EnvImage(EnvFormat.ERASED)
    if found.format is EnvFormat.ERASED:
        assert vector.start_wrote
        assert vector.env == [("boot_times", b"0")]
    elif not vector.start_wrote:
        assert variables(found) == vector.env
    else:
        assert set(variables(found)) <= set(vector.env)
        restored = {name for name, _ in vector.env} - {name for name, _ in variables(found)}
        assert restored == {
            name for note in found.notes for name in re.findall(r"change of '(\w+)'.* next start", note)
        }


def test_interrupted_collection_is_noted() -> None:
    (step,) = [vector for vector in CUT if vector.id == "v4-12-cut-gc-step15-done"]
    assert (
        "the collection of the sector at 0x0 was interrupted: start-up finishes it"
        in read_env(step.image).notes
    )


@pytest.mark.parametrize("name", ["v3-32-crc-bad-both", "v3-34-garbage-all-zero", "v3-42-swapped-areas"])
def test_image_without_an_intact_area_is_refused(name: str) -> None:
    with pytest.raises(EnvImageError, match="no EasyFlash ENV at the start of these 8192 bytes") as refused:
        read_env(load(name).image)
    assert refused.value.code == "flash.env-image"


@pytest.mark.parametrize("image", [b"", b"\xff", ERASED, load("v3n-61-normal-mode-cut-after-erase").image])
def test_erased_image_has_no_variables(image: bytes) -> None:
    assert read_env(image) == EnvImage(EnvFormat.ERASED, notes=("start-up writes the defaults",))


def test_notes_tell_which_area_fell_out() -> None:
    damaged = read_env(load("v3-30-crc-bad-current").image)
    assert damaged.notes == ("area 0 is damaged: the save in area 1 is used",)
    alone = read_env(load("v3-40-only-area1").image)
    assert alone.notes == ("area 0 is erased: the save in area 1 is used",)
    assert read_env(load("v3-02-set-one").image).notes == ()


def test_lost_half_of_wear_levelling_is_noted() -> None:
    image = bytearray(load("v3w-65-wlpfs").image)
    image[1] = 0  # of the first pointer, 0x1000
    found = read_env(bytes(image))
    assert (found.format, found.area, found.saved_count) == (EnvFormat.WL_PFS, 0x4000, 2)
    assert found.notes == ("area 0 is damaged: the save in area 1 is used",)


def test_interrupted_change_is_noted() -> None:
    vector = load("v4-13-lost-for-one-boot")
    found = read_env(vector.image)
    assert variables(found) == vector.env
    assert found.notes == (
        "the change of 'a' was interrupted: the start after the next brings its old value back",
        "the variable at 0x10 is half-written: start-up drops it",
    )


def test_first_of_two_equal_names_counts() -> None:
    records = b"k=1\0" + b"k=2\0"
    found = read_env(normal_area(records))
    assert variables(found) == [("k", b"1")]
    assert found.notes == ("a later 'k' is never found",)


def test_normal_mode_without_a_version_word_is_known() -> None:
    found = read_env(normal_area(b"boot_times=0".ljust(16, b"\0")))
    assert (found.format, found.version) == (EnvFormat.NORMAL, None)
    assert variables(found) == [("boot_times", b"0")]


def test_more_than_the_usual_size_is_noted() -> None:
    found = read_env(normal_area(b"k=".ljust(2043, b"v") + b"\0"))
    assert found.notes == ("2052 bytes are in use; a build with the usual 2048 does not accept them",)
    assert read_env(normal_area(b"k=".ljust(2039, b"v") + b"\0")).notes == ()


def test_younger_build_wins_over_what_another_left() -> None:
    pfs, normal, ng = (
        load(name).image for name in ("v3-03-cloud-13-keys", "v3n-60-normal-mode", "v4-06-set-one-2sec")
    )
    assert read_env(normal + pfs[4096:]).format is EnvFormat.NORMAL_VERSION
    assert read_env(ng[:4096] + pfs[4096:]).format is EnvFormat.V4_1
    assert read_env(pfs + ng).format is EnvFormat.PFS_VERSION


@pytest.mark.parametrize(("block_size", "second"), [(512, 2048), (2048, 2048), (4096, 4096)])
def test_second_area_begins_on_the_erase_block_behind_the_first(block_size: int, second: int) -> None:
    image = ERASED[:second] + BOARD_FORM.encode(second, 7, 3, b"k=v\0")
    found = read_env(image.ljust(8192, b"\xff"), block_size)
    assert (found.area, found.saved_count, found.version) == (second, 7, 3)


def test_only_the_beginning_of_a_large_image_is_read() -> None:
    image = load("v3-02-set-one").image
    assert read_env(image + bytes(2 * MAX_IMAGE_SIZE)) == read_env(image)


def flips(image: bytes) -> range:
    return range(8 * len(image))


def flipped(image: bytes, bit: int) -> bytes:
    changed = bytearray(image)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_a_flipped_bit_costs_a_save_at_most() -> None:
    first, second = BOARD_FORM.encode(0, 3, 0, b"k=new\0\0\0"), BOARD_FORM.encode(2048, 2, 0, b"k=old\0\0\0")
    image = first.ljust(2048, b"\xff") + second.ljust(2048, b"\xff")
    seen = {variables(read_env(flipped(image, bit), 2048))[0] for bit in flips(image)}
    assert seen == {("k", b"new"), ("k", b"old")}


def test_a_flipped_bit_of_a_recorded_save_falls_back_to_the_one_before() -> None:
    image = load("v3-02-set-one").image
    expected = variables(read_env(image[4096:].rjust(8192, b"\xff")))
    protected = [*range(8 * 8), *range(12 * 8, 36 * 8)]  # the version word is not
    assert all(variables(read_env(flipped(image, bit))) == expected for bit in protected)


def test_a_flipped_bit_loses_variables_of_version_4_but_changes_none() -> None:
    image = load("v4-20-gran8").image[:4096]  # the other sector is empty
    intact = set(variables(read_env(image))) | {("k", b"vv"), ("abc", b"12345")}  # two were deleted
    lost = 0
    for bit in flips(image):
        try:
            found = set(variables(read_env(flipped(image, bit))))
        except EnvImageError:
            found = set()
        assert found <= intact, bit
        lost += len(found) < 2
    assert lost > 100


def test_secrets_stay_out_of_reprs() -> None:
    found = read_env(load("v3-03-cloud-13-keys").image)
    assert Variable("cld_pwd", b"5f4dcc3b5aa765d61d8327deb882cf99") in found.variables
    assert "5f4dcc3b" not in repr(found)
    assert "5f4dcc3b" not in repr(read_env(load("v4-02-cloud-13-keys").image))
