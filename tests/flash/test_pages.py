"""Page stores: copy-on-write in memory, write-through in files."""

import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash
from sim.flash.pages import ERASED_PAGE, PAGE_SIZE, FilePages, ImageError, MemoryPages, PageStore

SIZE = 10 * PAGE_SIZE + 100


def test_memory_and_file_behave_as_one_byte_array(tmp_path: Path) -> None:
    rng = random.Random(20)
    base = rng.randbytes(3 * PAGE_SIZE + 17)
    memory = MemoryPages(SIZE, base)
    with FilePages(tmp_path / "image.bin", SIZE) as file:
        file.write(0, base)
        model = bytearray(base.ljust(SIZE, b"\xff"))
        stores: list[PageStore] = [memory, file]
        for _ in range(200):
            offset = rng.randrange(SIZE)
            length = rng.randint(0, min(SIZE - offset, 3 * PAGE_SIZE))
            data = rng.choice([None, rng.randbytes(length)])
            model[offset : offset + length] = b"\xff" * length if data is None else data
            for store in stores:
                if data is None:
                    store.erase(offset, length)
                else:
                    store.write(offset, data)
                start = rng.randrange(SIZE)
                end = rng.randint(start, SIZE)
                assert store.read(start, end - start) == model[start:end]
        for store in stores:
            assert store.read(0, SIZE) == model


def test_erased_page_beats_the_base() -> None:
    pages = MemoryPages(PAGE_SIZE, b"\0" * PAGE_SIZE)
    pages.erase(0, PAGE_SIZE)
    assert pages.read(0, PAGE_SIZE) == ERASED_PAGE


def test_base_larger_than_the_device_is_refused() -> None:
    with pytest.raises(ImageError, match="does not fit"):
        MemoryPages(10, b"\0" * 11)


def test_snapshot_has_the_pages_that_differ_from_the_base() -> None:
    base = b"\x11" * PAGE_SIZE + b"\x22" * 100
    pages = MemoryPages(SIZE, base)
    assert pages.snapshot() == ()
    pages.write(5 * PAGE_SIZE + 3, b"x")
    pages.erase(0, PAGE_SIZE)
    pages.write(PAGE_SIZE, b"\x22")
    pages.write(3 * PAGE_SIZE, b"\xff" * PAGE_SIZE)
    assert pages.snapshot() == (
        (0, ERASED_PAGE),
        (5, b"\xff" * 3 + b"x" + b"\xff" * (PAGE_SIZE - 4)),
    )


def test_snapshots_are_equal_exactly_for_equal_content() -> None:
    rng = random.Random(5)
    base = rng.randbytes(2 * PAGE_SIZE + 5)
    one, other = MemoryPages(SIZE, base), MemoryPages(SIZE, base)
    other.erase(0, SIZE)
    assert one.snapshot() != other.snapshot()
    other.write(0, base)
    assert hash(one.snapshot()) == hash(other.snapshot())
    assert one.snapshot() == other.snapshot()
    other.write(SIZE - 1, b"\0")
    assert one.snapshot() != other.snapshot()


def test_forks_do_not_see_each_other() -> None:
    parent = MemoryPages(SIZE, b"base")
    parent.write(4, b"parent")
    child = parent.fork()
    grandchild = child.fork()
    parent.write(0, b"PPPP")
    child.write(0, b"CCCC")
    assert [store.read(0, 10) for store in (parent, child, grandchild)] == [
        b"PPPPparent",
        b"CCCCparent",
        b"baseparent",
    ]


def test_a_thousand_forks_cost_little_more_than_one() -> None:
    parent = MemoryPages(16 * 1024 * 1024)
    parent.write(0, os.urandom(100 * 1024))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        fleet = [parent.fork() for _ in range(1000)]
        fleet[0].write(0, b"\0")
        cost = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert fleet[999].read(0, 100 * 1024) == parent.read(0, 100 * 1024)
    assert cost / len(fleet) < PAGE_SIZE


def test_missing_file_is_created_erased_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "nor_flash.inverted"
    with FilePages(path, SIZE):
        assert path.read_bytes() == bytes(SIZE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_content_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "nor_flash.inverted"
    with FilePages(path, SIZE) as pages:
        pages.write(PAGE_SIZE - 2, b"over the page")
    with FilePages(path, SIZE) as pages:
        assert pages.read(PAGE_SIZE - 2, 13) == b"over the page"


def test_killed_process_leaves_exactly_what_it_had_done(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, pathlib\n"
        "from sim.flash.geometry import FlashGeometry\n"
        "from sim.flash.nor import NorFlash\n"
        "from sim.flash.pages import FilePages\n"
        "geometry = FlashGeometry('nor_flash', 0, 65536, 4096, 256, 1)\n"
        "flash = NorFlash(geometry, FilePages(pathlib.Path(sys.argv[1]), geometry.size))\n"
        "flash.write(0, bytes(10000))\n"
        "flash.erase(4096, 1)\n"
        "flash.write(5000, b'last')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "nor_flash.inverted"
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    geometry = FlashGeometry("nor_flash", 0, 65536, 4096, 256, 1)
    expected = NorFlash(geometry)
    expected.write(0, bytes(10000))
    expected.erase(4096, 1)
    expected.write(5000, b"last")
    with FilePages(path, geometry.size) as pages:
        assert pages.read(0, geometry.size) == expected.read(0, geometry.size)


KILLED_AT_A_CALL = """
import os, pathlib, signal, sys
from sim.flash import pages

calls = 0
def counted(call):
    def replacement(*arguments):
        global calls
        calls += 1
        if calls > int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)
    return replacement

os.pwrite, pages._make_hole = counted(os.pwrite), counted(pages._make_hole)
image = pages.FilePages(pathlib.Path(sys.argv[1]), 3 * pages.PAGE_SIZE)
image.write(0, b"first")
image.write(pages.PAGE_SIZE - 4, b"over the page")
image.erase(0, pages.PAGE_SIZE)
image.write(2, b"again")
"""


def test_process_killed_at_any_call_leaves_the_operations_before_it(tmp_path: Path) -> None:
    """No record beside the image can claim what is not there: there is none."""
    size = 3 * PAGE_SIZE
    model = bytearray(b"\xff" * size)
    for calls, (offset, data) in enumerate(
        [(0, b"first"), (PAGE_SIZE - 4, b"over the page"), (0, ERASED_PAGE), (2, b"again")]
    ):
        path = tmp_path / f"{calls}.inverted"
        command = [sys.executable, "-c", KILLED_AT_A_CALL, str(path), str(calls)]
        assert subprocess.run(command, check=False, timeout=60).returncode == -signal.SIGKILL
        with FilePages(path, size) as pages:
            assert pages.read(0, size) == model
        model[offset : offset + len(data)] = data


def test_erased_pages_take_no_room(tmp_path: Path) -> None:
    path = tmp_path / "nor_flash.inverted"
    size = 16 * 1024 * 1024
    with FilePages(path, size) as pages:
        assert path.stat().st_blocks == 0
        pages.erase(0, size)
        pages.write(size - 96, b"header at the tail".ljust(96))
        assert path.stat().st_blocks * 512 <= 2 * PAGE_SIZE
        pages.write(0, bytes(size))
        pages.erase(0, size)
        assert path.stat().st_blocks == 0
        assert pages.read(size - PAGE_SIZE, PAGE_SIZE) == ERASED_PAGE


def test_erase_works_where_the_system_makes_no_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.flash.pages._FALLOCATE", None)
    size = 1024 * 1024 + PAGE_SIZE + 7
    with FilePages(tmp_path / "nor_flash.inverted", size) as pages:
        pages.write(0, bytes(size))
        pages.erase(5, size - 6)
        assert pages.read(0, size) == bytes(5) + b"\xff" * (size - 6) + b"\0"


def test_left_over_of_a_killed_creation_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "nor_flash.inverted.new").write_bytes(b"half")
    with FilePages(tmp_path / "nor_flash.inverted", SIZE) as pages:
        assert pages.read(0, SIZE) == b"\xff" * SIZE


def test_image_that_does_not_fit_the_disk_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE_SIZE, hard))
    try:
        with pytest.raises(ImageError, match="cannot open flash image"):
            FilePages(tmp_path / "nor_flash.inverted", SIZE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_file_of_another_size_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "nor_flash.inverted"
    path.write_bytes(b"short")
    with pytest.raises(ImageError, match=r"not a file of .* bytes .*it has 5"):
        FilePages(path, SIZE)
    assert path.read_bytes() == b"short"


def test_directory_in_place_of_the_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot open flash image"):
        FilePages(tmp_path, SIZE)


def test_file_cut_while_in_use_gives_an_error_not_short_data(tmp_path: Path) -> None:
    path = tmp_path / "nor_flash.inverted"
    with FilePages(path, SIZE) as pages:
        os.truncate(path, 10)
        with pytest.raises(ImageError, match="was cut below"):
            pages.read(0, 20)


def test_closed_file_gives_an_error(tmp_path: Path) -> None:
    pages = FilePages(tmp_path / "nor_flash.inverted", SIZE)
    pages.close()
    pages.close()
    with pytest.raises(ImageError, match="cannot read"):
        pages.read(0, 1)
    with pytest.raises(ImageError, match="cannot write"):
        pages.write(0, b"\0")
