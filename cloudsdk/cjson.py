"""JSON as the original's cJSON reads it: member names match in any case, the first of equal names wins, and
text behind the value is ignored (cloudsdk-protocol 1.3, 2.4)."""

import json
import math
from typing import Final

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_WHITE: Final = " \t\r\n"
_INT_MIN: Final = -(1 << 31)
_INT_MAX: Final = (1 << 31) - 1


class JsonError(ValueError):
    """Not JSON, or nested deeper than this reader follows."""


def _first_wins(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    return dict(reversed([(name.lower(), value) for name, value in pairs]))


def _no_constant(name: str) -> Json:
    raise JsonError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_first_wins, parse_constant=_no_constant)


def parse(text: bytes) -> Json:
    """Parse the first JSON value in `text`; objects come back with lower-case names. Raises `JsonError`."""
    try:
        value: Json = _DECODER.raw_decode(text.decode("utf-8", "replace").lstrip(_WHITE))[0]
    except (ValueError, RecursionError) as exc:
        raise JsonError(str(exc)) from exc
    return value


def member(value: Json, name: str) -> Json:
    """The member of an object by name in any case; None when there is none or `value` is no object."""
    return value.get(name.lower()) if isinstance(value, dict) else None


def integer(value: Json) -> int | None:
    """`value` without its fraction if it is a JSON number, as cJSON's `valueint` kept to 32 bits."""
    found = number(value)
    if found is None or math.isnan(found):
        return None
    return int(max(_INT_MIN, min(_INT_MAX, found)))


def number(value: Json) -> int | float | None:
    """`value` if it is a JSON number. (In Python a bool is an int; in JSON it is not a number.)"""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
