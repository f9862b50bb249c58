import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intelhex import IntelHex

from cloudsdk.errors import CloudSdkError, UsageError
from cloudsdk.ota.errors import ImageError
from cloudsdk.ota.image import MAX_IMAGE_SIZE, image_format, read_image

APP = 0x08010000
RAW = bytes(range(256)) * 40
#: Type, file offset, virtual and physical address, sizes in file and memory, flags, alignment.
PROGRAM_HEADER = struct.Struct("<8I")
FILE_HEADER = struct.Struct("<16s2H5I6H")
PT_LOAD, PT_NOTE = 1, 4


def elf(*segments: tuple[int, int, bytes], count: int | None = None) -> bytes:
    """A 32-bit ARM executable of `(type, physical address, bytes)` segments."""
    start = FILE_HEADER.size + PROGRAM_HEADER.size * len(segments)
    headers = contents = b""
    for kind, address, data in segments:
        offset = start + len(contents)
        headers += PROGRAM_HEADER.pack(kind, offset, 0x20000000, address, len(data), len(data) + 64, 5, 4)
        contents += data
    ident = b"\x7fELF\1\1\1".ljust(16, b"\0")
    number = len(segments) if count is None else count
    head = FILE_HEADER.pack(
        ident, 2, 40, 1, APP, FILE_HEADER.size, 0, 0, FILE_HEADER.size, PROGRAM_HEADER.size, number, 40, 0, 0
    )
    return head + headers + contents


def image(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    return b"".join(read_image(path))


def hexed(*parts: tuple[int, bytes]) -> bytes:
    """Intel HEX of bytes at addresses, as another tool writes it."""
    lines = []
    for address, data in parts:
        for at in range(0, len(data), 16):
            where = address + at
            lines.append(record(4, 0, (where >> 16).to_bytes(2, "big")))
            lines.append(record(0, where & 0xFFFF, data[at : at + 16]))
    return b"".join([*lines, record(1, 0, b"")])


def record(kind: int, address: int, data: bytes) -> bytes:
    body = bytes((len(data), address >> 8, address & 0xFF, kind)) + data
    return b":" + (body + bytes((-sum(body) & 0xFF,))).hex().upper().encode() + b"\r\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fw.bin", "bin"),
        ("fw", "bin"),
        ("FW.HEX", "hex"),
        ("fw.ihx", "hex"),
        ("fw.elf", "elf"),
        ("a.axf", "elf"),
    ],
)
def test_format_by_name(name: str, kind: str) -> None:
    assert image_format(Path(name)) == kind


def test_binary_as_it_is(tmp_path: Path) -> None:
    assert image(tmp_path / "fw.bin", RAW * 20) == RAW * 20
    assert image(tmp_path / "empty.bin", b"") == b""


def test_hex_written_by_intelhex(tmp_path: Path) -> None:
    written = IntelHex()
    written.frombytes(RAW, APP - 100)  # over a 64 KiB boundary, begins inside a page
    written.start_addr = {"EIP": APP}
    written.write_hex_file(str(tmp_path / "fw.hex"))
    assert b"".join(read_image(tmp_path / "fw.hex")) == RAW


def test_hex_in_any_order_with_gaps(tmp_path: Path) -> None:
    content = hexed((APP + 9000, b"tail"), (APP + 16, b"middle"), (APP, b"head"))
    expected = b"head".ljust(16, b"\xff") + b"middle".ljust(8984, b"\xff") + b"tail"
    assert image(tmp_path / "fw.hex", content) == expected


def test_hex_base_address_lasts_over_many_records(tmp_path: Path) -> None:
    lines = [record(2, 0, b"\x10\x00"), *(record(0, at, RAW[at : at + 8]) for at in range(0, 10000, 8))]
    assert image(tmp_path / "fw.hex", b"".join([*lines, record(1, 0, b"")])) == RAW[:10000]


def test_hex_is_not_read_behind_its_end(tmp_path: Path) -> None:
    assert image(tmp_path / "fw.hex", hexed((0, b"x")) + b"rubbish\n") == b"x"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "end record"),
        (hexed((0, RAW))[:-13], "end record"),
        (hexed((0, RAW))[:-20], "line 1280"),
        (hexed((0, RAW[:16])).replace(b":10", b":11", 1), "line 2: RecordLengthError"),
        (b"hello\n", "line 1"),
        (record(1, 0, b""), "no data"),
        (hexed((0, b"ab"), (1, b"c")), "AddressOverlap"),
        (hexed((0, RAW), (5000, b"c")), "two records claim bytes at 0x00001388"),
        (hexed((0, b"a"), (0x10000000, b"b")), "64 MiB"),
        (b":" + b"0" * 5000, "1024 characters"),
        (b"\xff\xfe:\n", "line 1"),
    ],
)
def test_bad_hex(tmp_path: Path, content: bytes, word: str) -> None:
    with pytest.raises(ImageError, match=word) as caught:
        image(tmp_path / "fw.hex", content)
    assert caught.value.exit_status == 2
    assert "\n" not in str(caught.value)


def test_hostile_hex_is_bounded(tmp_path: Path) -> None:
    # A byte at the start of every page of 60 MiB, then one far away.
    file = tmp_path / "fw.hex"
    with file.open("wb") as target:
        for address in range(0, 60 << 20, 1 << 16):
            target.write(hexed((address, b"x"))[: -len(record(1, 0, b""))])
        target.write(hexed((0xFFFF0000, b"x")))
    tracemalloc.start()
    with pytest.raises(ImageError, match="64 MiB"):
        list(read_image(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_elf_by_physical_address_with_gaps(tmp_path: Path) -> None:
    content = elf(
        (PT_LOAD, APP + 300, b"data"), (PT_NOTE, 0, b"note"), (PT_LOAD, APP, b"text"), (PT_LOAD, 0, b"")
    )
    assert image(tmp_path / "fw.elf", content) == b"text".ljust(300, b"\xff") + b"data"


def test_elf_is_streamed(tmp_path: Path) -> None:
    (tmp_path / "fw.elf").write_bytes(elf((PT_LOAD, 0, bytes(8 << 20)), (PT_LOAD, 20 << 20, b"x")))
    tracemalloc.start()
    size = sum(map(len, read_image(tmp_path / "fw.elf")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == (20 << 20) + 1
    assert peak < 2 << 20


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no sound ELF"),
        (b"\x7fELF", "no sound ELF"),
        (RAW, "no sound ELF"),
        (elf(), "no loadable segment"),
        (elf((PT_NOTE, 0, b"note")), "no loadable segment"),
        (elf((PT_LOAD, 0, b"text"))[:-1], "cut short"),
        (elf((PT_LOAD, 0, b""), count=60000), "60000 program headers"),
        (elf((PT_LOAD, 0, b""), count=900), "program headers"),
        (elf((PT_LOAD, 0, b"text"), (PT_LOAD, 3, b"data")), "claim address 0x00000003"),
        (elf((PT_LOAD, 0, b"text"), (PT_LOAD, 0x20000000, b"data")), "64 MiB"),
    ],
)
def test_bad_elf(tmp_path: Path, content: bytes, word: str) -> None:
    with pytest.raises(ImageError, match=word) as caught:
        image(tmp_path / "fw.elf", content)
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_elf_and_hex_never_give_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(["elf", "hex"]))
    whole = elf((PT_LOAD, 0, b"text"), (PT_LOAD, 64, b"x")) if kind == "elf" else hexed((0, b"text" * 9))
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    for _ in range(data.draw(st.integers(0, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    file.write_bytes(content)
    size = 0
    with suppress(CloudSdkError):
        for piece in read_image(file):
            size += len(piece)
    assert size <= MAX_IMAGE_SIZE


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    for name in ("fw.bin", "fw.hex", "fw.elf"):
        with pytest.raises(UsageError, match="No such file"):
            list(read_image(tmp_path / name))
