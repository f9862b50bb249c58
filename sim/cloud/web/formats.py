"""How numbers and times are written."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

NOTHING: Final = "–"  # noqa: RUF001 - a dash where there is no value

_KIB: Final = 1024


def moment(seconds: int | None, zone: ZoneInfo) -> str:
    """Seconds since 1970 as date and time of day in `zone`."""
    if seconds is None:
        return NOTHING
    return datetime.fromtimestamp(seconds, zone).strftime("%Y-%m-%d %H:%M:%S")


def precise_moment(milliseconds: int, zone: ZoneInfo) -> str:
    """Milliseconds since 1970, with the milliseconds."""
    at = datetime.fromtimestamp(milliseconds / 1000, zone)
    return at.strftime("%Y-%m-%d %H:%M:%S") + f".{milliseconds % 1000:03d}"


def from_input(text: str | None, zone: ZoneInfo) -> int | None:
    """Seconds since 1970 of what a date and time field holds; None for nothing or nonsense."""
    try:
        return int(datetime.fromisoformat(text or "").replace(tzinfo=zone).timestamp())
    except (ValueError, OverflowError):
        return None


def size(count: int) -> str:
    """A number of bytes with a binary unit."""
    if count < _KIB:
        return f"{count} B"
    value, units = count / _KIB, ["KiB", "MiB", "GiB"]
    while value >= _KIB and len(units) > 1:
        value /= _KIB
        units.pop(0)
    return f"{value:.1f} {units[0]}"
