"""What both encoders need to find matches: chains of places whose first three bytes have the same hash."""

from typing import Final

MIN_MATCH: Final = 3  # bytes
NONE: Final = -1

_HASH_BITS: Final = 12
_HASH_SHIFT: Final = 32 - _HASH_BITS
_HASH_FACTOR: Final = 0x9E3779B1  # a prime near 2**32 divided by the golden ratio: it spreads every bit
_U32: Final = 0xFFFFFFFF
_LINKED: Final = 32  # positions of a match that later ones can refer to: the rest of a long one adds nothing
_WORD: Final = 4  # bytes; a position is linked while so many begin there, for the C core reads a word
_SEARCH_DEPTH: Final = 16  # earlier places tried per position: the official size is beaten from 4 on


class Matches:
    """Matches in `data`, looked for from the front. Each position is linked once, in ascending order."""

    __slots__ = ("_buckets", "_data", "_heads", "_links")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._buckets = [
            ((a | b << 8 | c << 16) * _HASH_FACTOR & _U32) >> _HASH_SHIFT
            for a, b, c, _ in zip(data, data[1:], data[2:], data[_WORD - 1 :], strict=False)
        ]
        self._heads = [NONE] * (1 << _HASH_BITS)
        self._links = [NONE] * len(data)

    def link(self, position: int) -> bool:
        """Add `position`; whether there may be matches for it."""
        heads, bucket = self._heads, self._buckets[position]
        before = self._links[position] = heads[bucket]
        heads[bucket] = position
        return before != NONE

    def link_match(self, position: int, length: int) -> None:
        """Add what a match of `length` bytes at `position` covers, but for its first byte."""
        heads, links = self._heads, self._links
        last = position + min(length, _LINKED)
        for covered, bucket in enumerate(self._buckets[position + 1 : last], position + 1):
            links[covered] = heads[bucket]
            heads[bucket] = covered

    def find(self, position: int, limit: int, *, nearest: int, farthest: int) -> list[tuple[int, int]]:
        """`(length, distance)` of matches at the linked `position`, nearest first, each longer than the last.

        A match of the same length farther away is never cheaper to write, so longer ones are all that is of
        use. `limit` is the longest match wanted, `nearest` and `farthest` bound its distance, all in bytes.
        """
        found: list[tuple[int, int]] = []
        data, links = self._data, self._links
        from_bytes = int.from_bytes
        here = from_bytes(data[position : position + limit], "little")
        oldest = max(position - farthest, 0)
        length = MIN_MATCH - 1
        candidate = links[position]
        for _ in range(_SEARCH_DEPTH):
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
            candidate = links[candidate]
        return found
