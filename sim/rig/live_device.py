"""A device in real time: it runs in a thread of its own, over sockets."""

import contextlib
import re
import threading
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from cloudsdk.errors import UsageError
from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.route import Route, direct
from sim.board import Board
from sim.device import Dead, Device
from sim.faults.network import FaultProxy, FaultSet, require_loopback
from sim.faults.network.errors import NotLoopbackError
from sim.flash.power import PowerCut
from sim.msh.commands import Command
from sim.rig.clock import RigClock
from sim.rig.device import RigDevice
from sim.rig.errors import NotAvailableError, StuckError
from sim.rig.traffic import TrafficLog
from sim.rig.transcript import ExpectationError

STOP_TIMEOUT: Final = 10.0  # seconds for a device to end when it is switched off
PROMPT: Final = "msh />"
_COMMAND: Final = re.compile(r"[\x20-\x7e]{1,80}")  # what msh takes in a line (console 3)
_ANSWER: Final = re.compile(rf"(?P<answer>.*?){PROMPT}", re.DOTALL)


class LiveDevice(RigDevice):
    """Its connections go through a proxy of its own, which records them and has its faults.

    With a `route` they go where that leads; so they do, directly, to a cloud that is not on this machine.
    There is no record then, and there are no network faults.
    """

    def __init__(
        self,
        board: Board,
        port: Port,
        *,
        clock: RigClock,
        profile: Profile = MANUAL,
        limits: Limits | None = None,
        commands: Sequence[Command] = (),
        env_key: bytes | None = None,
        route: Route | None = None,
    ) -> None:
        super().__init__(board, port, profile, clock)
        self._limits = limits
        self._commands = commands
        self._env_key = env_key
        self._log = TrafficLog(self.secrets)
        self._stack = contextlib.ExitStack()
        self._proxy: FaultProxy | None = None
        if route is None and _is_here(port):
            self._proxy = FaultProxy(on_event=self._log.event, on_data=self._log.data)
            self._stack.enter_context(self._proxy)
            route = self._proxy.route
        self._route = route or direct
        self._device: Device | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def online(self) -> bool:
        session = self._device.session if self._device is not None else None
        return self.is_on and session is not None and session.online

    def power_on(self) -> None:
        if self.is_on:
            return
        self.console.open()
        self._device = Device(
            self.board,
            self.port,
            profile=self.profile,
            limits=self._limits,
            console=self.console.write,
            commands=self._commands,
            route=self._route,
            env_key=self._env_key,
        )
        self._thread = threading.Thread(
            target=self._run, args=(self._device,), name=f"device {self.sn}", daemon=True
        )
        self._thread.start()

    def power_off(self) -> None:
        if self._device is not None:
            self._device.stop()
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT)
            if self._thread.is_alive():
                raise StuckError(
                    f"device {self.sn} does not end within {STOP_TIMEOUT:g} s of being switched off: look at "
                    f"commands and hooks that wait; {self.console.end()}"
                )

    def close(self) -> None:
        with self._stack:
            self.power_off()

    def run(self, command: str, timeout: float | None = None) -> str:
        __tracebackhide__ = True
        if _COMMAND.fullmatch(command) is None:
            raise UsageError("a command has 1 to 80 printable ASCII characters")
        if self._device is None or not self.is_on:
            raise ExpectationError(f"device {self.sn} is off and runs no command; {self.console.end()}")
        if PROMPT not in self.console.text:
            self.console.expect(PROMPT, timeout)
        self.console.mark()
        self._device.type(command.encode() + b"\r")
        self.console.expect(f"{command}\n", timeout)
        return self.console.expect(_ANSWER, timeout)["answer"]

    @property
    def traffic(self) -> str:
        return self._log.text

    def set_faults(self, faults: FaultSet) -> None:
        if self._proxy is None:
            raise NotAvailableError(
                f"device {self.sn} has no network faults: its cloud is on another machine, or it has a route"
            )
        self._proxy.set(faults)

    def _run(self, device: Device) -> None:
        why = "the device was switched off"
        try:
            match device.run():
                case Dead(boot):
                    why = f"the bootloader ended in {boot.outcome.value}: {boot.diagnosis}"
        except PowerCut as cut:
            why = str(cut)
        except Exception as exc:  # told to the test that waits
            why = f"the device failed: {exc!r}"
        finally:
            self.console.close(why)


def _is_here(port: Port) -> bool:
    try:
        for host in (urlsplit(port.activation_url).hostname or "", port.mqtt_address.host):
            require_loopback(host)
    except NotLoopbackError:
        return False
    return True
