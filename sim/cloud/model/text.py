"""Checks of what people enter."""

from typing import Final

from sim.cloud.errors import BadRequestError

NAME_CHARS: Final = 64
DESCRIPTION_CHARS: Final = 512


def check_text(what: str, value: object, limit: int, *, empty: bool = False) -> str:
    """`value` if it is printable text of at most `limit` characters. Raises `BadRequestError`."""
    if not isinstance(value, str) or not value.isprintable() or value != value.strip():
        raise BadRequestError(f"{what} must be printable text without blanks around it")
    if len(value) > limit or not (value or empty):
        raise BadRequestError(f"{what} must have {0 if empty else 1} to {limit} characters")
    return value


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
