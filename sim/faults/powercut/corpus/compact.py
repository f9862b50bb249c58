"""What the compact updaters have in common: one small flash device, images, marks, a judge.

They stand for bootloaders whose mistakes have no place in the real path.
"""

from collections.abc import Callable, Mapping
from typing import Final

from cloudsdk.ota.journal import is_blank
from sim.faults.powercut.model import Judgement, Verdict
from sim.faults.powercut.world import Firmware
from sim.flash.geometry import FlashGeometry
from sim.flash.nor import NorFlash
from sim.flash.pages import MemoryPages

BLOCK: Final = 512  # bytes, as everything here
SLOT: Final = 4 * BLOCK
IMAGE: Final = 1900  # of SLOT; leaves room behind the image
CHUNK: Final = 512
APP: Final = 0
STAGED: Final = SLOT
STATE: Final = 2 * SLOT
SPARE: Final = STATE + BLOCK
PLAIN: Final = FlashGeometry("nor", 0, 4 * SLOT, BLOCK, 64, 1)
#: The same with error correction over double words.
CORRECTED: Final = FlashGeometry("nor", 0, 4 * SLOT, BLOCK, 64, 8)

Drive = Callable[[NorFlash], None]


def image(build: int) -> bytes:
    """An image in which no byte is erased and no chunk is that of another build."""
    return bytes((index * 7 + build) % 251 for index in range(IMAGE))


OLD: Final = image(1)
NEW: Final = image(2)


def pages(content: Mapping[int, bytes]) -> MemoryPages:
    """A device that holds the given bytes by offset."""
    store = MemoryPages(PLAIN.size)
    for offset, data in content.items():
        store.write(offset, data)
    return store


def firmware(
    drive: Drive,
    content: Mapping[int, bytes],
    judge: Callable[[NorFlash], Judgement] | None = None,
    geometry: FlashGeometry = PLAIN,
    kind: type[Firmware] = Firmware,
) -> Firmware:
    """A subject on one device; without a judge what counts is the image at `APP`."""
    judged = judge or judge_app
    return kind(
        (geometry,),
        lambda devices: drive(devices[geometry.name]),
        lambda devices: judged(devices[geometry.name]),
        {geometry.name: pages(content)},
    )


def judge_app(flash: NorFlash) -> Judgement:
    return judge_image(flash.read(APP, IMAGE))


def judge_image(started: bytes) -> Judgement:
    """What comes of starting that image."""
    if started == NEW:
        return Judgement(Verdict.RECOVERED_NEW)
    if started == OLD:
        return Judgement(Verdict.RECOVERED_OLD)
    if is_blank(started[:4]):
        return Judgement(Verdict.BRICK, "the vector table is erased")
    return Judgement(
        Verdict.SILENT_CORRUPTION, "an image was started that is neither the old nor the new one"
    )


def copy(flash: NorFlash, source: int = STAGED, target: int = APP) -> None:
    """Erase the slot at `target` and write the image at `source` into it."""
    flash.erase(target, IMAGE)
    for offset in range(0, IMAGE, CHUNK):
        length = min(CHUNK, IMAGE - offset)
        flash.write(target + offset, flash.read(source + offset, length))


def mark(flash: NorFlash, cell: int, base: int = STATE) -> None:
    """Set a mark of one byte."""
    flash.write(base + cell, b"\0")


def marked(flash: NorFlash, cell: int, base: int = STATE) -> bool:
    return flash.read(base + cell, 1) != b"\xff"
