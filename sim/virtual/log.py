"""The event log of a virtual world: one line per event, its virtual time in front."""

import re
from collections.abc import Callable
from typing import Final, Protocol

from sim.virtual.clock import SECOND, VirtualClock

_CONTROL: Final = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[^\x20-\x7e]")


class Log(Protocol):
    """Takes the events of a world."""

    def __call__(self, actor: str, text: str, /) -> None: ...


def no_log(_actor: str, _text: str, /) -> None:
    """For runs that nobody reads."""


class EventLog:
    """Hands out lines such as `    12.040000 http    GET /fw/0.rbl from 4096`."""

    def __init__(self, clock: VirtualClock, write: Callable[[str], None]) -> None:
        self._clock = clock
        self._write = write

    def __call__(self, actor: str, text: str, /) -> None:
        seconds, fraction = divmod(self._clock.now, SECOND)
        self._write(f"{seconds:6d}.{fraction:06d} {actor:<8} {text}")


class ConsoleLines:
    """Makes log lines of console output: whole lines, without colours."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rest = ""

    def write(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if plain := _CONTROL.sub("", line).rstrip():
                self._log("console", plain)
