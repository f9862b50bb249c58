"""The ENV in a dump of its partition, whichever EasyFlash build wrote it. Nothing is written.

What is read is what the firmware would read; start-up of the firmware may also write (defaults, a new default
set, recovery), and `notes` say what it would do to this image. Source: easyflash-format 2, 3, 8 and 9.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Final

from cloudsdk.errors import FlashError
from sim.flash.easyflash import BOARD_FORM, DEFAULT_SETTING_SIZE
from sim.flash.easyflash_area import (
    WORD,
    Area,
    AreaForm,
    decode_text,
    newer_area,
    record_spans,
    split_record,
)
from sim.flash.easyflash_v4 import NodeStatus, Sector, SectorDirty, V4Env, read_v4

MAX_IMAGE_SIZE: Final = 1 << 20  # bytes that are looked at; an ENV takes some 4 KiB sectors
DEFAULT_BLOCK_SIZE: Final = 4096  # bytes
_ERASED: Final = 0xFF
_WL_SECTORS: Final = 4  # the first holds the address of the data section in use (easyflash-format 8)
_WL_PFS_SECTORS: Final = 3  # of each half, likewise


class EnvImageError(FlashError):
    """An image that is not erased and in which no known build finds an ENV."""

    code: ClassVar[str] = "flash.env-image"


class EnvFormat(Enum):
    """Which builds store like this. The value is stable."""

    ERASED = "erased"
    PFS_VERSION = "v3-pfs-version"
    PFS = "v3-pfs"
    NORMAL_VERSION = "v3-normal-version"
    NORMAL = "v3-normal"
    WL = "v3-wl"
    WL_PFS = "v3-wl-pfs"
    V4_1 = "v4-1"
    V4_8 = "v4-8"
    V4_32 = "v4-32"

    @property
    def description(self) -> str:
        return _DESCRIPTIONS[self]


_DESCRIPTIONS: Final = {
    EnvFormat.ERASED: "erased flash",
    EnvFormat.PFS_VERSION: "EasyFlash 3, power fail safeguard, with a version word",
    EnvFormat.PFS: "EasyFlash 3, power fail safeguard",
    EnvFormat.NORMAL_VERSION: "EasyFlash 3, normal mode, with a version word",
    EnvFormat.NORMAL: "EasyFlash 3, normal mode",
    EnvFormat.WL: "EasyFlash 3, wear leveling",
    EnvFormat.WL_PFS: "EasyFlash 3, wear leveling and power fail safeguard",
    EnvFormat.V4_1: "EasyFlash 4, write granularity 1 bit",
    EnvFormat.V4_8: "EasyFlash 4, write granularity 8 bits",
    EnvFormat.V4_32: "EasyFlash 4, write granularity 32 bits",
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. The name is UTF-8 with surrogate escapes; in EasyFlash 4 the value need not be text."""

    name: str
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EnvImage:
    """What the firmware reads, in its order.

    `area` is the partition offset in bytes of what is read; it, the counter of saves and the version of the
    default set are None where the format has no such thing, and `sectors` is empty.
    """

    format: EnvFormat
    variables: tuple[Variable, ...] = ()
    area: int | None = None
    saved_count: int | None = None
    version: int | None = None
    sectors: tuple[Sector, ...] = ()
    notes: tuple[str, ...] = ()


def read_env(image: bytes, block_size: int = DEFAULT_BLOCK_SIZE) -> EnvImage:
    """The ENV in the first `MAX_IMAGE_SIZE` bytes of `image`, which begins where its partition begins.

    The areas of EasyFlash 3 are whole erase blocks of `block_size` bytes; EasyFlash 4 is known with sectors
    of 4096 bytes only. Raises `EnvImageError` when there is no ENV.
    """
    image = image[:MAX_IMAGE_SIZE]
    area_size = -(-DEFAULT_SETTING_SIZE // block_size) * block_size
    # A build that starts on foreign flash writes its own sectors from the first one on, so the first sector
    # tells whose the flash is; what another build left further on is older.
    ng = read_v4(image)
    if ng is not None and ng.sectors[0].has_header:
        return _from_v4(ng)
    for read in _READERS:
        found = read(image, area_size)
        if found is not None:
            return found
    if ng is not None:
        return _from_v4(ng)
    if image.count(_ERASED) == len(image):
        return EnvImage(EnvFormat.ERASED, notes=("start-up writes the defaults",))
    raise EnvImageError(
        f"no EasyFlash ENV at the start of these {len(image)} bytes: all of it is damaged, it begins "
        "elsewhere, or the erase blocks have another size"
    )


def _area(image: bytes, start: int, form: AreaForm, area_size: int) -> Area | None:
    """The intact area at `start`, or None."""
    area = form.decode(image[start : start + area_size], start)
    return area if area and area.intact else None


def _from_area(
    kind: EnvFormat, area: Area, form: AreaForm, start: int, notes: Iterable[str] = ()
) -> EnvImage:
    variables: dict[str, Variable] = {}
    shadowed = []
    for text_start, text_end, _ in record_spans(area.records):
        key, value = split_record(area.records[text_start:text_end])
        name = decode_text(key)
        if name in variables:
            shadowed.append(f"a later {name!r} is never found")
        variables.setdefault(name, Variable(name, value))
    used = form.header_size + len(area.records)
    large = f"{used} bytes are in use; a build with the usual {DEFAULT_SETTING_SIZE} does not accept them"
    return EnvImage(
        kind,
        tuple(variables.values()),
        start,
        area.count if form.counted else None,
        area.version if form.versioned else None,
        notes=(*notes, *shadowed, *[large] * (used > DEFAULT_SETTING_SIZE)),
    )


def _single(kind: EnvFormat, form: AreaForm) -> Callable[[bytes, int], EnvImage | None]:
    """A reader of normal mode: one area at the start."""

    def read(image: bytes, area_size: int) -> EnvImage | None:
        area = _area(image, 0, form, area_size)
        return _from_area(kind, area, form, 0) if area else None

    return read


def _double(kind: EnvFormat, form: AreaForm) -> Callable[[bytes, int], EnvImage | None]:
    """A reader of the power fail safeguard: the newer of two areas."""

    def read(image: bytes, area_size: int) -> EnvImage | None:
        starts = 0, area_size
        return _newer(kind, form, starts, [_area(image, start, form, area_size) for start in starts], image)

    return read


def _newer(
    kind: EnvFormat, form: AreaForm, starts: tuple[int, int], areas: list[Area | None], image: bytes
) -> EnvImage | None:
    current = newer_area(*areas)
    used = None if current is None else areas[current]
    if current is None or used is None:
        return None
    notes = []
    if areas[1 - current] is None:
        other = starts[1 - current]
        state = "erased" if image[other : other + WORD] == b"\xff" * WORD else "damaged"
        notes.append(f"area {1 - current} is {state}: the save in area {current} is used")
    return _from_area(kind, used, form, starts[current], notes)


_WL_FORM: Final = AreaForm(counted=False, versioned=False)
_WL_PFS_FORM: Final = AreaForm(counted=True, versioned=False, count_in_crc=False)


def _data_section(image: bytes, pointer_at: int, sectors: int, area_size: int) -> int | None:
    """What the pointer sector at `pointer_at` says: where the data section begins (easyflash-format 8)."""
    start = int.from_bytes(image[pointer_at : pointer_at + WORD], "little")
    first, end = pointer_at + area_size, pointer_at + sectors * area_size
    return start if first <= start < end and start % area_size == 0 else None


def _wear_levelled(image: bytes, area_size: int) -> EnvImage | None:
    start = _data_section(image, 0, _WL_SECTORS, area_size)
    area = None if start is None else _area(image, start, _WL_FORM, area_size)
    return _from_area(EnvFormat.WL, area, _WL_FORM, start) if area and start is not None else None


def _wear_levelled_pfs(image: bytes, area_size: int) -> EnvImage | None:
    pointers = 0, _WL_PFS_SECTORS * area_size
    starts = [_data_section(image, pointer, _WL_PFS_SECTORS, area_size) for pointer in pointers]
    areas = [None if start is None else _area(image, start, _WL_PFS_FORM, area_size) for start in starts]
    first, second = (
        pointer if start is None else start for pointer, start in zip(pointers, starts, strict=True)
    )
    return _newer(EnvFormat.WL_PFS, _WL_PFS_FORM, (first, second), areas, image)


_READERS: Final = (
    _single(EnvFormat.NORMAL_VERSION, AreaForm(counted=False, versioned=True)),
    _single(EnvFormat.NORMAL, AreaForm(counted=False, versioned=False)),
    _wear_levelled,
    _wear_levelled_pfs,
    _double(EnvFormat.PFS_VERSION, BOARD_FORM),
    _double(EnvFormat.PFS, AreaForm(counted=True, versioned=False)),
)
_V4_FORMATS: Final = {1: EnvFormat.V4_1, 8: EnvFormat.V4_8, 32: EnvFormat.V4_32}


def _from_v4(env: V4Env) -> EnvImage:
    notes = [
        f"the change of {node.name!r} was interrupted: the next start brings its old value back"
        for node in env.returning
    ]
    notes += [
        f"the change of {node.name!r} was interrupted: the start after the next brings its old value back"
        for node in env.delayed
    ]
    found = {node.offset for node in env.variables}
    for node in env.nodes:
        if node.status is NodeStatus.PRE_WRITE:
            notes.append(f"the variable at 0x{node.offset:x} is half-written: start-up drops it")
        elif node.status in (NodeStatus.WRITE, NodeStatus.PRE_DELETE) and not node.intact:
            notes.append(f"the variable at 0x{node.offset:x} is damaged")
        elif node.status is NodeStatus.WRITE and node.offset not in found:
            notes.append(f"the {node.name!r} at 0x{node.offset:x} is never found: there is one before it")
    for sector in env.sectors:
        if not sector.has_header:
            notes.append(f"the sector at 0x{sector.offset:x} has no header: start-up formats it")
        elif sector.dirty is SectorDirty.GC:
            notes.append(
                f"the collection of the sector at 0x{sector.offset:x} was interrupted: start-up finishes it"
            )
    variables = tuple(Variable(node.name, node.value) for node in env.variables)
    return EnvImage(_V4_FORMATS[env.granularity], variables, sectors=env.sectors, notes=tuple(notes))
