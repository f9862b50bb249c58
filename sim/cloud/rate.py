"""How often an address may ask. Pure."""

from collections import OrderedDict
from typing import Final

MAX_ADDRESSES: Final = 4096  # remembered; the one that asked least recently is forgotten


class RateLimit:
    """A bucket of `burst` tokens for each address, filled at `rate` tokens a second."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def allow(self, address: str, now: float) -> bool:
        """Take a token, if there is one. `now` is seconds of a clock that never goes back."""
        tokens, then = self._buckets.pop(address, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._buckets[address] = (tokens - 1 if allowed else tokens, now)
        while len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return allowed
