"""How often somebody may try: pauses that double with every failure, in bounded memory."""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

_V6_SITE: Final = 64  # bits of an IPv6 address that one customer holds


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    """`free` failures cost nothing; then the pause doubles from `first_pause` to `longest_pause` seconds.
    After `forget` seconds without an attempt all is forgotten. `keys` is how many names are remembered;
    beyond it those that tried least recently are dropped."""

    free: int
    first_pause: float = 1.0
    longest_pause: float = 900.0
    forget: float = 3600.0
    keys: int = 10_000


@dataclass(slots=True)
class _Record:
    failures: int = 0
    last: float = 0.0
    until: float = 0.0


@dataclass(slots=True)
class Throttle:
    """Attempts by key: an account name, an address. Times are seconds of one monotonic clock.

    An attempt counts as failed from its beginning, so that many at once gain nothing.
    """

    limits: ThrottleLimits
    _records: OrderedDict[Hashable, _Record] = field(default_factory=OrderedDict)

    def pause(self, key: Hashable, now: float) -> float:
        """Seconds until `key` may try; 0 if it may now."""
        record = self._records.get(key)
        return max(0.0, record.until - now) if record is not None else 0.0

    def attempt(self, key: Hashable, now: float) -> float:
        """Count an attempt that `pause` permits; returns the pause after it."""
        limits = self.limits
        record = self._records.pop(key, None)
        if record is None or now - record.last > limits.forget:
            record = _Record()
        record.failures += 1
        record.last = now
        excess = record.failures - limits.free
        if excess > 0:
            doublings = min(excess - 1, 32)
            record.until = now + min(limits.first_pause * 2**doublings, limits.longest_pause)
        self._records[key] = record
        while len(self._records) > limits.keys:
            self._records.popitem(last=False)
        return max(0.0, record.until - now)

    def succeeded(self, key: Hashable) -> None:
        """Forget the failures of `key`."""
        self._records.pop(key, None)

    def take_back(self, key: Hashable) -> None:
        """Uncount the last attempt, but no earlier one."""
        record = self._records.get(key)
        if record is not None:
            record.failures -= 1
            record.until = 0.0


def site(address: str) -> str:
    """What an address counts as: an IPv4 address by itself, an IPv6 address by its /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed), _V6_SITE), strict=False).network_address)
    return address
