"""Flash parts as data: the facts of a data sheet, to build devices from."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, Final

import yaml

from cloudsdk.errors import FlashError
from flash_images import texts
from sim.flash.geometry import FlashGeometry, FlashTiming, Reprogram

_FOLDER: Final = "parts"


class UnknownPartError(FlashError):
    """No part of that name."""

    code: ClassVar[str] = "flash.part"
    exit_status: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class FlashPart:
    """A part: `shape` is a device of it that is named after the part and lies at its usual address."""

    name: str
    description: str
    shape: FlashGeometry

    def geometry(self, device_name: str, address: int | None = None) -> FlashGeometry:
        """A device of this part at bus address `address`, by default the part's usual one.

        Raises `GeometryError`.
        """
        where = self.shape.address if address is None else address
        return replace(self.shape, name=device_name, address=where)


def names() -> tuple[str, ...]:
    """Names of the parts, sorted."""
    return texts.names(_FOLDER)


@cache
def part_named(name: str) -> FlashPart:
    """The part `name`. Raises `UnknownPartError` unless `names()` has it."""
    try:
        text = texts.text(_FOLDER, name)
    except KeyError:
        raise UnknownPartError(f"no flash part {name!r}; parts: {', '.join(names())}") from None
    return _part(name, **yaml.safe_load(text))


def _part(
    name: str,
    *,
    description: str,
    reprogram: str,
    timing: dict[str, Any],
    regions: list[list[int]] | None = None,
    erase_sizes: list[int] | None = None,
    **sizes: Any,
) -> FlashPart:
    shape = FlashGeometry(
        name=name,
        part=name,
        reprogram=Reprogram(reprogram),
        timing=FlashTiming(**{**timing, "erase_ns": tuple(timing["erase_ns"].items())}),
        regions=tuple((count, size) for count, size in regions or ()),
        erase_sizes=tuple(erase_sizes or ()),
        **sizes,
    )
    return FlashPart(name, description, shape)
