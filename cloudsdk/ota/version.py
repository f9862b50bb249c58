"""The order of versions, for a policy that needs one: the protocol only knows equal and different (3.2)."""

import re
from typing import Final

_DOTTED: Final = re.compile(r"[vV]?(\d+(?:\.\d+)*)", re.ASCII)


def is_older(offered: str, installed: str) -> bool | None:
    """Whether `offered` comes before `installed`, number by number; None where one is not dotted numbers.

    A leading `v` does not count, and missing numbers are zero: `v1.2` and `1.2.0` are equal.
    """
    found = [_DOTTED.fullmatch(text) for text in (offered, installed)]
    numbers = [[int(part) for part in each[1].split(".")] for each in found if each is not None]
    if len(numbers) < 2:
        return None
    longest = max(map(len, numbers))
    first, second = (each + [0] * (longest - len(each)) for each in numbers)
    return first < second
