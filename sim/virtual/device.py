"""A whole board in virtual time: bootloader, application, CloudSDK; resets, crashes and losses of power."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cloudsdk import events as ev
from cloudsdk.env import EnvError
from cloudsdk.errors import FlashError
from cloudsdk.limits import Limits
from cloudsdk.ota.rt_ota import HazardError, RtOta
from cloudsdk.port import OtaStatus, Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.session import Session, Storage
from cloudsdk.shell.console_device import ConsoleShell
from sim.application import ENV_PARTITION
from sim.board import Board
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.bootloader.rt_ota import APP
from sim.console import activity
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.power import CutMoment, FlashOperation, PowerCut
from sim.msh.boards import kernel_profile
from sim.msh.faults import stack_overrun
from sim.msh.kernel import ticks
from sim.virtual.clock import SECOND, Timer, VirtualClock, microseconds
from sim.virtual.faults import FaultSchedule
from sim.virtual.log import ConsoleLines, Log, no_log
from sim.virtual.network import VirtualNetwork
from sim.virtual.releases import ORIGIN

BOOT_TIME: Final = SECOND  # from power on to `rt_cld_sdk_init`
DARK_TIME: Final = 3 * SECOND  # from a loss of power to the next power on
STILL_TIME: Final = 60 * SECOND  # until somebody switches a board off and on that does nothing
MAX_BOOTS: Final = 40  # a device that needs more is caught in a loop


class VirtualPort(Port):
    """Resets the board after each complete download, as the sample port does; notes what it is told."""

    def __init__(self) -> None:
        super().__init__(
            "VIRTUAL0001",
            "8fa1b2c3d4e5f607",
            "d1234567-89ab-4cde-9f01-23456789abcd",
            ORIGIN,
            "mqtt://127.0.0.1",
        )
        self.ends: list[OtaStatus] = []
        self.on_end: Callable[[OtaStatus], None] = lambda _status: None

    def ota_end(self, status: OtaStatus) -> bool:
        self.ends.append(status)
        self.on_end(status)
        return super().ota_end(status)


@dataclass(slots=True)
class VirtualDevice:
    """Runs a board on a virtual network.

    `on_boot` sees every boot that starts an application. An `attended` board has somebody who gives it its
    power back, and who switches it off and on when it stands still, as long as there are boots left.
    """

    board: Board
    clock: VirtualClock
    network: VirtualNetwork
    port: VirtualPort = field(default_factory=VirtualPort)
    profile: Profile = MANUAL
    limits: Limits = field(default_factory=Limits)
    faults: FaultSchedule = field(default_factory=FaultSchedule)
    log: Log = no_log
    console: Callable[[str], None] | None = None  # besides the log
    shell: ConsoleShell | None = None
    attended: bool = True
    on_boot: Callable[[BootResult], None] = lambda _result: None
    boots: int = 0
    power_ons: int = 0
    result: BootResult | None = None  # of the last boot
    session: Session | None = None
    gave_up: bool = False
    _timers: dict[str, Timer] = field(default_factory=dict)
    _next_start: Timer | None = None
    _in_bootloader: bool = False
    _lines: ConsoleLines | None = None

    # --- power --------------------------------------------------------------------------------------

    def power_on(self) -> None:
        self.log("power", "on")
        power = self.board.power
        number, self.power_ons = self.power_ons, self.power_ons + 1
        cuts, flash = self.faults.cuts, self.faults.flash
        cut = cuts[number] if number < len(cuts) else None
        failure = flash[number] if number < len(flash) else None
        power.disarm()
        if cut is not None or failure is not None:

            def trigger(index: int, operation: FlashOperation) -> CutMoment | None:
                if failure is not None and failure.first <= index < failure.first + failure.count:
                    self.log("flash", f"{operation.op} at {operation.offset:#x} fails")
                    raise FlashError("the part does not answer")
                return cut.moment if cut is not None and index == cut.index else None

            power.arm(trigger)
        self.boot()

    def power_off(self) -> None:
        """Power goes between two flash operations; an attended board gets it back."""
        self._lose_power("off")

    def boot(self) -> None:
        """Power on or reset: the bootloader, and in `BOOT_TIME` the application."""
        self._stop()
        if self.boots == MAX_BOOTS:
            self.log("power", f"not at rest after {MAX_BOOTS} boots")
            return
        self.boots += 1
        self._lines = ConsoleLines(self.log)
        try:
            self.result = self.board.boot(self._print)
        except PowerCut as exc:
            self._lose_power(str(exc))
            return
        self.log("boot", f"{self.result.outcome} {self.result.diagnosis}".rstrip())
        if self.result.outcome is BootOutcome.JUMP and self._application_is_whole():
            self.on_boot(self.result)
            self._next_start = self.clock.after(BOOT_TIME, self._start)
        elif self.attended:
            self._next_start = self.clock.after(STILL_TIME, self.power_on)

    @property
    def is_stuck(self) -> bool:
        """Whether it has used up its boots."""
        return self.boots >= MAX_BOOTS and self.session is None

    @property
    def is_idle(self) -> bool:
        """Whether the application runs, and downloads nothing."""
        return self.session is not None and "ota_download" not in self.session.threads

    def _application_is_whole(self) -> bool:
        """The bootloader starts a damaged application, too (rbl-format 3.2 step 9); it will not get far."""
        try:
            whole = RtOta(self.board.partitions, _nowhere, version="").verify(APP)
        except HazardError:
            whole = False
        if not whole:
            self.log("boot", "the application is damaged and crashes")
        return whole

    def _stop(self) -> None:
        self.network.unplug()
        self.session = None
        if self._next_start is not None:
            self._next_start.cancel()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _lose_power(self, why: str) -> None:
        self.log("power", why)
        self._stop()
        self.result = None
        if self.attended:
            self._next_start = self.clock.after(DARK_TIME, self.power_on)

    # --- application --------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            store = EasyFlashEnv(self.board.partition(ENV_PARTITION), console=self._print)
            with contextlib.suppress(EnvError):  # it has said so itself; the board goes on without ENV
                store.init()
        except PowerCut as exc:
            self._lose_power(str(exc))
            return
        self.session = Session(
            self.port,
            Storage(self.board.partitions, store),
            profile=self.profile,
            limits=self.limits,
            shell=self.shell,
        )
        self.network.plug(self.handle)
        self.handle(ev.Started())

    def handle(self, event: ev.Event) -> None:
        """Hand an event to the application, and carry out what it asks for."""
        session = self.session
        if session is None:
            return
        try:
            effects = session.handle(event)
        except PowerCut as exc:  # what was printed before it was printed
            for effect in session.unfinished:
                if isinstance(effect, ev.ConsoleText):
                    self._print(effect.text)
            self._lose_power(str(exc))
            return
        for effect in effects:
            self._carry_out(effect, session)

    def _carry_out(self, effect: ev.Effect, session: Session) -> None:
        match effect:
            case ev.ConsoleText(text):
                self._print(text)
            case ev.StartTimer(name, seconds):
                self._cancel_timer(name)
                self._timers[name] = self.clock.after(
                    microseconds(seconds), lambda: self.handle(ev.TimerFired(name))
                )
            case ev.StopTimer(name):
                self._cancel_timer(name)
            case ev.Reset():
                self.log("power", "reset")
                self.boot()
            case ev.Crash(thread):
                self._print(self._last_words(thread, session))
                self.boot()
            case ev.GiveUp():
                self.gave_up = True
            case _:
                self.network.carry_out(effect)

    def _last_words(self, thread: str, session: Session) -> str:
        profile = kernel_profile(self.board.layout.kernel)
        return stack_overrun(profile(ticks(self.clock.now / SECOND), activity(session.threads)), thread)

    def _cancel_timer(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    def _print(self, text: str) -> None:
        if self.console is not None:
            self.console(text)
        if self._lines is not None and self.log is not no_log:
            self._lines.write(text)


def _nowhere(_text: str) -> None:
    pass
