"""Durations and shares as people write them."""

import re
from typing import Final

_DURATION: Final = re.compile(r"(?P<number>\d{1,9}(?:\.\d{1,6})?)(?P<unit>ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PERCENT: Final = re.compile(r"(?P<number>\d{1,3}(?:\.\d{1,6})?) ?%")
DURATION_PATTERN: Final = f"^{_DURATION.pattern.replace('?P<number>', '').replace('?P<unit>', '')}$"
PERCENT_PATTERN: Final = f"^{_PERCENT.pattern.replace('?P<number>', '')}$"


def parse_duration(value: object) -> float:
    """Seconds of `500ms`, `90s`, `10m` or `2h`. Raises `ValueError`."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("no duration: write 500ms, 90s, 10m or 2h")
    return float(found["number"]) * _SECONDS[found["unit"]]


def parse_share(value: object) -> float:
    """0 to 1, from `99%`. Raises `ValueError`."""
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None or float(found["number"]) > 100:
        raise ValueError("no share: write 0% to 100%")
    return float(found["number"]) / 100


def duration(seconds: float) -> str:
    """A duration for people: `850 ms`, `12.5 s`, `10 min`, `1 h 5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def percent(share: float) -> str:
    """A share for people: `99.5%`."""
    return f"{share * 100:.4g}%"
