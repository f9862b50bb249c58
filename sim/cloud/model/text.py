"""Checks of what people enter."""

import re
from collections.abc import Sequence
from typing import Final

from sim.cloud.errors import BadRequestError

NAME_CHARS: Final = 64
DESCRIPTION_CHARS: Final = 512
MAX_TAGS: Final = 16  # of one device
TAG_CHARS: Final = 32

_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_MAC: Final = re.compile(
    r"[0-9A-Fa-f]{2}([:-]?)[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}(?:(?:\1[0-9A-Fa-f]{2}){2})?"
)


def check_text(what: str, value: object, limit: int, *, empty: bool = False) -> str:
    """`value` if it is printable text of at most `limit` characters. Raises `BadRequestError`."""
    if not isinstance(value, str) or not value.isprintable() or value != value.strip():
        raise BadRequestError(f"{what} must be printable text without blanks around it")
    if len(value) > limit or not (value or empty):
        raise BadRequestError(f"{what} must have {0 if empty else 1} to {limit} characters")
    return value


def check_mac(value: object) -> None:
    """Raises `BadRequestError` unless `value` is empty or a MAC address of 6 or 8 octets."""
    if not isinstance(value, str) or (value and not _MAC.fullmatch(value)):
        raise BadRequestError("the MAC address must be 6 or 8 octets in hex, such as 00:80:E1:12:34:56")


def check_tags(tags: object) -> Sequence[str]:
    """`tags` sorted and without repetitions. Raises `BadRequestError`."""
    if not isinstance(tags, Sequence) or isinstance(tags, str):
        raise BadRequestError("the tags must be a list of texts")
    for tag in tags:
        if not isinstance(tag, str) or len(tag) > TAG_CHARS or not _TAG.fullmatch(tag):
            raise BadRequestError(
                f"a tag must be 1 to {TAG_CHARS} letters, digits and ._:- and begin with a letter or digit"
            )
    found = sorted(set(tags))
    if len(found) > MAX_TAGS:
        raise BadRequestError(f"a device can have {MAX_TAGS} tags at most")
    return found


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
