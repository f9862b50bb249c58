"""What both encoders need to find matches: chains of places that begin with the same three bytes."""

from typing import Final

MIN_MATCH: Final = 3  # bytes
NONE: Final = -1


def link_chains(data: bytes) -> list[int]:
    """For each position of `data` the nearest earlier one with the same three bytes, or `NONE`."""
    latest: dict[bytes, int] = {}
    lookup = latest.get
    previous = []
    for position in range(len(data)):
        key = data[position : position + MIN_MATCH]
        previous.append(lookup(key, NONE))
        latest[key] = position
    return previous


def find_matches(
    data: bytes, previous: list[int], position: int, limit: int, *, depth: int, nearest: int, farthest: int
) -> list[tuple[int, int]]:
    """`(length, distance)` of matches at `position`, nearest first, each longer than the one before.

    A match of the same length farther away is never cheaper to write, so longer ones are all that is of use.
    `limit` is the longest match wanted, `nearest` and `farthest` bound its distance, all in bytes; `depth` is
    the number of places tried. `previous` comes from `link_chains`.
    """
    found: list[tuple[int, int]] = []
    if limit < MIN_MATCH:
        return found
    from_bytes = int.from_bytes
    here = from_bytes(data[position : position + limit], "little")
    oldest = max(position - farthest, 0)
    length = MIN_MATCH - 1
    candidate = previous[position]
    for _ in range(depth):
        if candidate < oldest:
            break
        if data[candidate + length] == data[position + length] and position - candidate >= nearest:
            # The lowest bit that differs lies in the first byte that differs.
            differing = from_bytes(data[candidate : candidate + limit], "little") ^ here
            equal = (differing & -differing).bit_length() - 1 >> 3 if differing else limit
            if equal > length:
                length = equal
                found.append((length, position - candidate))
                if length == limit:
                    break
        candidate = previous[candidate]
    return found
