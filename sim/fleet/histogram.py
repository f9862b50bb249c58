"""Durations counted in buckets: bounded memory, and percentiles that are at most 3 % off.

Buckets are linear within each power of two, as in an HDR histogram.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

UNIT: Final = 1e-6  # seconds; what is shorter counts as one
_SUB_BITS: Final = 5  # 32 buckets for each power of two
_LONGEST: Final = 1 << 36  # units: about 19 hours; what is longer counts as that


class Histogram:
    """Durations in seconds."""

    __slots__ = ("_buckets", "count", "longest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0  # seconds
        self.longest = 0.0  # seconds
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)
        self._buckets[_bucket(max(1, min(_LONGEST, int(seconds / UNIT))))] += 1

    def percentile(self, share: float) -> float:
        """Seconds that `share` (0 to 1) of the durations do not exceed; 0 when there are none."""
        wanted, seen = share * self.count, 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(self.longest, _upper(bucket) * UNIT)
        return self.longest

    def copy(self) -> "Histogram":
        """As it is now."""
        twin = Histogram()
        twin.count, twin.total, twin.longest = self.count, self.total, self.longest
        twin._buckets = self._buckets.copy()
        return twin

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was added after `earlier`, a copy of this one; the longest is that of its bucket."""
        found = Histogram()
        found.count, found.total = self.count - earlier.count, self.total - earlier.total
        found._buckets = self._buckets - earlier._buckets
        found.longest = min(self.longest, max(map(_upper, found._buckets), default=0) * UNIT)
        return found

    def summary(self, shares: Sequence[float] = (0.5, 0.9, 0.99)) -> dict[str, float]:
        """Count, mean, percentiles and the longest; durations in seconds."""
        return {
            "count": self.count,
            "mean": round(self.total / self.count, 6) if self.count else 0.0,
            **{f"p{share * 100:g}": round(self.percentile(share), 6) for share in shares},
            "max": round(self.longest, 6),
        }


def _bucket(units: int) -> int:
    shift = max(0, units.bit_length() - _SUB_BITS - 1)
    return (shift << _SUB_BITS) + (units >> shift)


def _upper(bucket: int) -> int:
    """The largest number of units in a bucket."""
    shift = max(0, (bucket >> _SUB_BITS) - 1)
    mantissa = bucket - (shift << _SUB_BITS)
    return ((mantissa + 1) << shift) - 1
