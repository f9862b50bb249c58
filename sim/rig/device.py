"""A device on the bench, whatever it runs in: a test has its console and its power switch."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable

from cloudsdk.port import Port
from cloudsdk.profile import Profile
from sim.board import Board
from sim.faults.network import FaultSet
from sim.flash.power import CutMoment, FlashOperation, PowerCut, Trigger
from sim.rig.clock import RigClock
from sim.rig.cuts import cut_trigger
from sim.rig.secrets import Secrets
from sim.rig.transcript import ExpectationError, Transcript


class RigDevice(ABC):
    """One board with its device. Powered off until `power_on`; usable again after a cut.

    Every `timeout` is in seconds of the bench's clock; without one its patience counts.
    """

    def __init__(self, board: Board, port: Port, profile: Profile, clock: RigClock) -> None:
        self.board = board
        self.port = port
        self.profile = profile
        self.clock = clock
        self.secrets = Secrets(port.product_key)
        self.console = Transcript(f"device {port.sn}", clock, self._masked)
        self._cut: PowerCut | None = None

    def __repr__(self) -> str:
        return f"<device {self.sn} on {self.board.layout.name}, power {'on' if self.is_on else 'off'}>"

    @property
    def sn(self) -> str:
        return self.port.sn

    @property
    @abstractmethod
    def is_on(self) -> bool:
        """Whether it has power and a firmware that runs."""

    @property
    @abstractmethod
    def online(self) -> bool:
        """Whether the device itself takes its MQTT connection for good."""

    def installed(self, partition: str = "app") -> str | None:
        """Version of the firmware in a partition; None without valid firmware."""
        header = self.board.installed(partition)
        return header.version_text if header is not None else None

    # Power

    @abstractmethod
    def power_on(self) -> None:
        """Power on; nothing happens while it is. After a cut, power comes back."""

    @abstractmethod
    def power_off(self) -> None:
        """Power off between two flash operations, and wait until everything is quiet."""

    @abstractmethod
    def close(self) -> None:
        """Power off for good and give everything back. Raises `StuckError`."""

    def power_cut(
        self,
        at: "int | str | Trigger",
        *,
        moment: CutMoment = CutMoment.TORN,
        timeout: float | None = None,
    ) -> Callable[[], PowerCut]:
        """Cut the power at a flash operation to come (see `cut_trigger`).

        Returns a function that waits for it. That raises `ExpectationError` when the power did not go.
        """
        wanted = cut_trigger(self.board, at, moment)
        self._cut = None

        def trigger(index: int, operation: FlashOperation) -> CutMoment | None:
            found = wanted(index, operation)
            if found is not None:
                self._cut = PowerCut(operation, found)
            return found

        def wait() -> PowerCut:
            __tracebackhide__ = True
            seconds = self.clock.patience if timeout is None else timeout
            self.clock.wait(lambda: not self.is_on, seconds)
            self.board.power.disarm()
            if self._cut is None:
                raise self.failure(f"was not cut at {at!r} within {seconds:g} s")
            return self._cut

        self.board.power.arm(trigger)
        return wait

    # Console

    def expect(self, wanted: "str | re.Pattern[str]", timeout: float | None = None) -> re.Match[str]:
        """Wait for text or a pattern on the console, behind what was expected before."""
        __tracebackhide__ = True
        return self.console.expect(wanted, timeout)

    def expect_log(
        self, tag: str, text: str, *, level: str = "I", timeout: float | None = None
    ) -> re.Match[str]:
        """Wait for the line `[level/tag] text` (cloudsdk-protocol 6)."""
        __tracebackhide__ = True
        return self.console.expect(f"[{level}/{tag}] {text}", timeout)

    @abstractmethod
    def run(self, command: str, timeout: float | None = None) -> str:
        """Type a command at the prompt and return what it prints. Raises `UsageError` for no command."""

    # The bench's own

    @property
    @abstractmethod
    def traffic(self) -> str:
        """What went between device and cloud as far as it was recorded, without secrets."""

    @abstractmethod
    def set_faults(self, faults: FaultSet) -> None:
        """Network faults that hold from now on. Raises `NotAvailableError` and `FaultSpecError`."""

    @property
    def console_text(self) -> str:
        """The console without secrets."""
        return self._masked(self.console.text)

    def failure(self, what: str) -> ExpectationError:
        """An error that shows where the console ends."""
        return ExpectationError(f"device {self.sn} {what}; {self.console.end()}")

    def _masked(self, text: str) -> str:
        self.secrets.learn(self.board)
        return self.secrets.mask(text)
