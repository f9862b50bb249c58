"""A device on the bench: it runs in a thread of its own, a test has its console and its power switch."""

import re
import threading
from collections.abc import Callable
from typing import Final

from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.route import Route, direct
from sim.board import Board
from sim.device import Dead, Device
from sim.flash.power import CutMoment, PowerCut, Trigger
from sim.rig.cuts import cut_trigger
from sim.rig.transcript import ExpectationError, Transcript

TIMEOUT: Final = 30.0  # seconds a test waits unless it says otherwise
PROMPT: Final = "msh />"
_COMMAND: Final = re.compile(r"[\x20-\x7e]{1,80}")  # what msh takes in a line (console 3)


class RigDevice:
    """One board with its device. Powered off until `power_on`; usable again after a cut."""

    def __init__(
        self,
        board: Board,
        port: Port,
        *,
        profile: Profile = MANUAL,
        limits: Limits | None = None,
        route: Route = direct,
    ) -> None:
        self.board = board
        self.port = port
        self.profile = profile
        self.console = Transcript(f"device {port.sn}")
        self._limits = limits
        self._route = route
        self._device: Device | None = None
        self._thread: threading.Thread | None = None
        self._cut: PowerCut | None = None
        self._failure: Exception | None = None

    def __repr__(self) -> str:
        return f"<RigDevice {self.sn} on {self.board.layout.name}, power {'on' if self.is_on else 'off'}>"

    @property
    def sn(self) -> str:
        return self.port.sn

    @property
    def is_on(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def online(self) -> bool:
        """Whether the device itself takes its MQTT connection for good."""
        session = self._device.session if self._device is not None else None
        return self.is_on and session is not None and session.online

    def installed(self, partition: str = "app") -> str | None:
        """Version of the firmware in a partition; None without valid firmware."""
        header = self.board.installed(partition)
        return header.version_text if header is not None else None

    # Power

    def power_on(self) -> None:
        """Power on; nothing happens while it is. After a cut, power comes back."""
        if self.is_on:
            return
        self._cut = self._failure = None
        self.console.open()
        self._device = Device(
            self.board,
            self.port,
            profile=self.profile,
            limits=self._limits,
            console=self.console.write,
            route=self._route,
        )
        self._thread = threading.Thread(
            target=self._run, args=(self._device,), name=f"device {self.sn}", daemon=True
        )
        self._thread.start()

    def power_off(self) -> None:
        """Power off between two flash operations, and wait until everything is quiet."""
        if self._device is not None:
            self._device.stop()
        if self._thread is not None:
            self._thread.join(TIMEOUT)
            if self._thread.is_alive():
                raise self._error("does not stop")

    def power_cut(
        self, at: int | str | Trigger, *, moment: CutMoment = CutMoment.TORN, timeout: float = TIMEOUT
    ) -> Callable[[], PowerCut]:
        """Cut the power at a flash operation to come (see `cut_trigger`).

        Returns a function that waits for it up to `timeout` seconds. That raises `ExpectationError` when the
        power did not go.
        """
        self.board.power.arm(cut_trigger(self.board, at, moment))

        def wait() -> PowerCut:
            if self._thread is not None:
                self._thread.join(timeout)
            self.board.power.disarm()
            if self._cut is None:
                raise self._error(f"has no flash operation at {at!r} within {timeout:g} s")
            return self._cut

        return wait

    # Console

    def expect(self, wanted: "str | re.Pattern[str]", timeout: float = TIMEOUT) -> re.Match[str]:
        """Wait for text or a pattern on the console, behind what was expected before."""
        return self.console.expect(wanted, timeout)

    def expect_log(self, tag: str, text: str, *, level: str = "I", timeout: float = TIMEOUT) -> re.Match[str]:
        """Wait for the line `[level/tag] text` (cloudsdk-protocol 6)."""
        return self.console.expect(f"[{level}/{tag}] {text}", timeout)

    def run(self, command: str, timeout: float = TIMEOUT) -> str:
        """Type a command at the prompt and return what it prints. Raises ValueError for no command of msh."""
        if _COMMAND.fullmatch(command) is None:
            raise ValueError("a command has 1 to 80 printable ASCII characters")
        if self._device is None or not self.is_on:
            raise ExpectationError(f"device {self.sn} is off and runs no command")
        if PROMPT not in self.console.text:
            self.console.expect(PROMPT, timeout)
        self.console.mark()
        self._device.type(command.encode() + b"\r")
        self.console.expect(f"{command}\n", timeout)
        start = self.console.position
        end = self.console.expect(PROMPT, timeout).start()
        return self.console.text[start:end]

    def _error(self, what: str) -> ExpectationError:
        return ExpectationError(f"device {self.sn} {what}; its console ends with\n{self.console.tail()}")

    def _run(self, device: Device) -> None:
        why = "the device was stopped"
        try:
            match device.run():
                case Dead(boot):
                    why = f"the bootloader ended in {boot.outcome.value}: {boot.diagnosis}"
        except PowerCut as cut:
            self._cut = cut
            why = str(cut)
        except Exception as exc:  # told to the test that waits
            self._failure = exc
            why = f"the device failed: {exc!r}"
        finally:
            self.console.close(why)
