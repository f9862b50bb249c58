"""Flash content in and out: exact, bounded, and all or nothing when a file does not fit."""

import io
import random
from pathlib import Path

import pytest

from cloudsdk.ota.errors import ImageError
from sim.flash.exchange import (
    FlashWindow,
    ImageFitError,
    device_window,
    export_hex,
    export_raw,
    import_hex,
    import_raw,
    partition_window,
)
from sim.flash.geometry import FlashGeometry
from sim.flash.pages import MemoryPages
from sim.flash.placement import PartitionEntry

SIZE = 0x30000
CHIP = FlashGeometry("chip", 0x0800F000, SIZE, 2048, 8, 8)
ENTRY = PartitionEntry("app", "chip", 0x10000, 0x8000)


def content() -> bytes:
    """Erased, but for some stretches; the second goes over a 64 KiB border of the bus."""
    rng = random.Random(1)
    data = bytearray(b"\xff" * SIZE)
    for start, length in ((5, 100), (0xFF0, 40), (0x10F00, 0x500), (SIZE - 1, 1)):
        data[start : start + length] = bytes(byte & 0x7F for byte in rng.randbytes(length))
    return bytes(data)


def window(data: bytes = b"") -> FlashWindow:
    return device_window(CHIP, MemoryPages(SIZE, data))


def held(place: FlashWindow) -> bytes:
    output = io.BytesIO()
    export_raw(place, output)
    return output.getvalue()


def records(address: int, data: bytes) -> bytes:
    """An Intel HEX file with one data record, made without the library that reads it."""
    rows = (
        b"\2\0\0\4" + (address >> 16).to_bytes(2),
        bytes((len(data),)) + (address & 0xFFFF).to_bytes(2) + b"\0" + data,
        b"\0\0\0\1",
    )
    lines = (b":" + (row + bytes((-sum(row) & 0xFF,))).hex().upper().encode() for row in rows)
    return b"\n".join(lines) + b"\n"


def put(
    place: FlashWindow, path: Path, data: bytes, offset: int | None = None, *, erase: bool = False
) -> int:
    path.write_bytes(data)
    with path.open("rb") as file:
        if path.suffix == ".hex":
            return import_hex(place, path, file, erase=erase)
        return import_raw(place, path, file, offset, erase=erase)


def test_device_goes_out_and_in_again_as_raw_binary(tmp_path: Path) -> None:
    data = content()
    assert held(window(data)) == data
    target = window(bytes(SIZE))
    assert put(target, tmp_path / "dump.bin", data) == SIZE
    assert held(target) == data


def test_device_goes_out_and_in_again_as_intel_hex(tmp_path: Path) -> None:
    data = content()
    output = io.BytesIO()
    export_hex(window(data), output)
    assert len(output.getvalue()) < 10_000  # what is erased is left out
    target = window(bytes(SIZE))
    put(target, tmp_path / "dump.hex", output.getvalue(), erase=True)
    assert held(target) == data


def test_hex_has_bus_addresses_and_other_tools_read_it(tmp_path: Path) -> None:
    intelhex = pytest.importorskip("intelhex")
    path = tmp_path / "dump.hex"
    with path.open("wb") as file:
        export_hex(window(content()), file)
    image = intelhex.IntelHex(str(path))
    assert image.tobinstr(0x0800F005, 0x0800F005 + 99) == content()[5:105]
    assert image.maxaddr() == 0x0800F000 + SIZE - 1


def test_erased_device_is_a_hex_file_without_data(tmp_path: Path) -> None:
    output = io.BytesIO()
    export_hex(window(), output)
    assert output.getvalue() == b":00000001FF\n"
    target = window(content())
    assert put(target, tmp_path / "erased.hex", output.getvalue(), erase=True) == 0
    assert held(target) == b"\xff" * SIZE


def test_partition_is_a_window_of_its_device(tmp_path: Path) -> None:
    pages = MemoryPages(SIZE, content())
    place = partition_window(ENTRY, CHIP, pages)
    assert held(place) == content()[0x10000:0x18000]
    put(place, tmp_path / "app.hex", records(0x0801F000, b"\x12\x34"))
    assert pages.read(0x10000, 3) == b"\x12\x34\xff"
    put(place, tmp_path / "app.bin", b"new", 0x10)
    assert pages.read(0x1000F, 5) == b"\xffnew\xff"
    put(place, tmp_path / "app.bin", bytes(0x8000))
    assert pages.read(0xFFFF, 0x8002) == b"\xff" + bytes(0x8000) + b"\xff"


def test_offset_keeps_the_rest_and_erase_does_not(tmp_path: Path) -> None:
    target = window(bytes(SIZE))
    put(target, tmp_path / "part.bin", b"\xff" * 5000, 100)
    assert held(target) == bytes(100) + b"\xff" * 5000 + bytes(SIZE - 5100)
    put(target, tmp_path / "part.bin", b"x", 100, erase=True)
    assert held(target) == b"x".rjust(101, b"\xff").ljust(SIZE, b"\xff")


@pytest.mark.parametrize(
    ("length", "offset", "message"),
    [
        (SIZE + 1, None, "has 196609 bytes, device chip has 196608 bytes: it is 1 bytes too long"),
        (SIZE - 2, None, "it is 2 bytes too short; give --offset 0 to replace only so many"),
        (0, None, "it is 196608 bytes too short"),
        (17, SIZE - 16, "device chip has 196608 bytes, 16 from 0x2fff0 on: it is 1 bytes too long"),
        (0, SIZE + 1, "offset 0x30001 is beyond the end of device chip, which has 0x30000 bytes"),
    ],
)
def test_file_of_the_wrong_length_changes_nothing(
    tmp_path: Path, length: int, offset: int | None, message: str
) -> None:
    target = window(content())
    with pytest.raises(ImageFitError) as refused:
        put(target, tmp_path / "dump.bin", bytes(length), offset, erase=True)
    assert message in str(refused.value)
    assert held(target) == content()


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        (0, "0x00000000"),
        (0x0800EFFF, "0x0800efff"),
        (0x0803EFFF, "0x0803f000"),
        (0x0803F000, "0x0803f000"),
        (0xFFFFFF00, "0xffffff00"),
    ],
)
def test_hex_address_outside_changes_nothing(tmp_path: Path, address: int, outside: str) -> None:
    target = window(content())
    with pytest.raises(ImageFitError) as refused:
        put(target, tmp_path / "other.hex", records(address, b"ab"), erase=True)
    assert f"has a byte for {outside}, device chip is 0x0800f000 to 0x0803f000" in str(refused.value)
    assert held(target) == content()


@pytest.mark.parametrize("address", [0x0800F000, 0x0803EFFE])
def test_hex_address_at_either_end_is_inside(tmp_path: Path, address: int) -> None:
    target = window()
    assert put(target, tmp_path / "other.hex", records(address, b"ab")) == 2
    assert held(target)[address - 0x0800F000 :][:2] == b"ab"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b":00000001FE\n",
        b":0100000012EE\n:00000001FF\n",
        b":01000000",
        b":FF000000" + b"00" * 255 + b"01\n",
        b":0100000012ED\n:0100000012ED\n:00000001FF\n",
        b"\0" * 5000,
        b":" * 2000,
        b":020000040800F2\n:01F0000000" + b"\xff\n",
        b":020000040000FA\n:0100000000FF\n:020000047FFF7A\n:0100000000FF\n:00000001FF\n",
    ],
)
def test_hostile_hex_is_refused_and_changes_nothing(tmp_path: Path, text: bytes) -> None:
    target = window(content())
    with pytest.raises((ImageError, ImageFitError)) as refused:
        put(target, tmp_path / "hostile.hex", text, erase=True)
    assert "\n" not in str(refused.value)
    assert held(target) == content()


def test_device_beyond_32_bits_has_no_hex() -> None:
    far = FlashGeometry("far", 2**32 - 4096, 8192, 4096, 256, 1)
    with pytest.raises(ImageFitError, match="beyond 32-bit addresses"):
        export_hex(device_window(far, MemoryPages(8192)), io.BytesIO())
