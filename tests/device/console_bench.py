"""A device with a stand-in shell whose Web Shell and Web Log are driven event by event."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from console_stand_in import StandInShell
from device_rig import bench

from cloudsdk import events as ev
from cloudsdk.profile import MANUAL, Profile

SHELL = b'{"data":[{"DP":1025,"value":{"host":"10.0.0.5","port":23901}}]}'
LOG = b'{"data":[{"DP":1022,"value":{"host":"10.0.0.6","port":23902}}]}'
OFF = b'{"data":[{"DP":1020,"value":false}]}'
KEY = b"9017444f3bec4453d32a11a42d956d347d9863510e024f19"

_Effect = TypeVar("_Effect", bound=ev.Effect)


def having(**switches: bool) -> Profile:
    """`manual` with some switches as they are in 2.0.0."""
    return replace(MANUAL, **switches)  # type: ignore[arg-type]


class ConsoleBench:
    """`shell_name` and `log_name` are the connections opened last; `sent` collects what was sent to each."""

    def __init__(self, profile: Profile = MANUAL) -> None:
        self.shell = StandInShell()
        self.driver = bench(profile=profile, shell=self.shell).driver
        self.driver.online()
        self.effects: Sequence[ev.Effect] = []
        self.opens: list[ev.TcpOpen] = []
        self.sent: dict[str, list[bytes]] = {}

    def handle(self, event: ev.Event) -> Sequence[ev.Effect]:
        self.effects = self.driver.handle(event)
        for effect in self.effects:
            match effect:
                case ev.TcpOpen(name):
                    self.opens.append(effect)
                case ev.TcpSend(name, data):
                    self.sent.setdefault(name, []).append(data)
        return self.effects

    def message(self, payload: bytes) -> Sequence[ev.Effect]:
        return self.handle(ev.MqttMessage("/device", payload))

    def print(self, text: str) -> None:
        self.handle(ev.ConsoleOutput(text))

    def all(self, kind: type[_Effect]) -> list[_Effect]:
        """Of the last event."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def lines(self) -> list[str]:
        return self.driver.lines()

    def opened(self, message: bytes) -> str:
        """Let the cloud open the shell or the log; returns the connection."""
        self.message(message)
        name = self.opens[-1].connection
        self.handle(ev.TcpOpened(name))
        return name

    def received(self, name: str) -> bytes:
        """What the server has got so far, then forgotten."""
        return b"".join(self.sent.pop(name, []))

    @property
    def crashed(self) -> str:
        """The thread of the crash that ends the last event, if one does."""
        assert not any(isinstance(effect, ev.Crash) for effect in self.effects[:-1])
        last = self.effects[-1] if self.effects else None
        return last.thread if isinstance(last, ev.Crash) else ""
