"""When the devices of a fleet are switched on: pure functions of time."""

import hashlib
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from sim.fleet.errors import RampError

_RATE: Final = r"(?P<rate>\d{1,7}(?:\.\d{1,3})?)/s"
_SECONDS: Final = r"(?P<seconds>\d{1,6}(?:\.\d{1,3})?)s"
_LINEAR: Final = re.compile(rf"linear:{_RATE}")
_STEP: Final = re.compile(rf"step:(?P<devices>\d{{1,7}})/{_SECONDS}")
_SPIKE: Final = re.compile(rf"spike(?::{_SECONDS})?")
_POISSON: Final = re.compile(rf"poisson:{_RATE}(?::(?P<seed>\d{{1,9}}))?")
_UNIFORM_BYTES: Final = 7  # 56 bits: more than a float tells apart


class Ramp(Protocol):
    """A profile."""

    def arrivals(self) -> Iterator[float]:
        """Seconds from the start of the run at which the first, second, ... device is switched on, for ever.

        They never decrease, and every call yields the same.
        """
        ...


@dataclass(frozen=True, slots=True)
class Linear:
    """`rate` devices per second, at equal distances."""

    rate: float

    def arrivals(self) -> Iterator[float]:
        return (number / self.rate for number in itertools.count())


@dataclass(frozen=True, slots=True)
class Step:
    """`devices` at once, and as many again every `seconds`."""

    devices: int
    seconds: float

    def arrivals(self) -> Iterator[float]:
        return (number // self.devices * self.seconds for number in itertools.count())


@dataclass(frozen=True, slots=True)
class Spike:
    """All devices at once after `seconds`."""

    seconds: float = 0.0

    def arrivals(self) -> Iterator[float]:
        return itertools.repeat(self.seconds)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent arrivals, `rate` per second on average; the same ones for the same `seed`."""

    rate: float
    seed: int = 0

    def arrivals(self) -> Iterator[float]:
        now = 0.0
        for number in itertools.count():
            now += -math.log(self._uniform(number)) / self.rate
            yield now

    def _uniform(self, number: int) -> float:
        """In (0, 1]."""
        text = f"{self.seed}/{number}".encode()
        digest = hashlib.blake2b(text, digest_size=_UNIFORM_BYTES).digest()
        return (int.from_bytes(digest) + 1) / (1 << 8 * _UNIFORM_BYTES)


def parse_ramp(text: str) -> Ramp:
    """`linear:100/s`, `step:500/10s`, `spike` or `spike:5s`, `poisson:100/s` or `poisson:100/s:SEED`.

    Raises `RampError`.
    """
    if (found := _LINEAR.fullmatch(text)) and float(found["rate"]):
        return Linear(float(found["rate"]))
    if (found := _STEP.fullmatch(text)) and int(found["devices"]):
        return Step(int(found["devices"]), float(found["seconds"]))
    if found := _SPIKE.fullmatch(text):
        return Spike(float(found["seconds"] or 0))
    if (found := _POISSON.fullmatch(text)) and float(found["rate"]):
        return Poisson(float(found["rate"]), int(found["seed"] or 0))
    raise RampError(
        f"{text!r} is no ramp: give linear:100/s, step:500/10s, spike, spike:5s, poisson:100/s "
        "or poisson:100/s:SEED"
    )
