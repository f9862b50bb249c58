"""A device: a board that boots, runs its application, and boots again after each reset."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudsdk.client import Exit
from cloudsdk.io_loop import IoLoop
from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.route import Route, direct
from cloudsdk.session import Session
from cloudsdk.tls import TlsSettings
from cloudsdk.tls_context import client_context
from sim.application import Application
from sim.board import Board
from sim.boot_log import bootloader_flash
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.msh.boards import board_commands
from sim.msh.commands import Command
from sim.msh.shell import command_table

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stopped:
    """`stop` was called, or `after_boot` asked for the end."""


@dataclass(frozen=True, slots=True)
class Dead:
    """The bootloader did not start an application."""

    boot: BootResult


class Device:
    """Runs a board against a cloud. Reboots stay inside `run`; a loss of power leaves it as `PowerCut`.

    `after_boot` sees every boot before the application starts and returns whether to go on. `commands` are
    those of the console besides the board's own; raises `CommandTableError` for names that are taken. `route`
    and `loop` are those of `CloudClient`. With `env_key` (32 bytes) the secrets in the ENV are sealed. Raises
    `TlsUnsupportedError` and `TlsFileError`.
    """

    def __init__(
        self,
        board: Board,
        port: Port,
        *,
        profile: Profile = MANUAL,
        limits: Limits | None = None,
        console: Callable[[str], None],
        after_boot: Callable[[BootResult], bool] = lambda _boot: True,
        commands: Sequence[Command] = (),
        clock: Callable[[], float] = time.monotonic,
        route: Route = direct,
        loop: IoLoop | None = None,
        env_key: bytes | None = None,
    ) -> None:
        command_table((*board_commands(board.layout.kernel), *commands))
        self._board = board
        self._port = port
        self._profile = profile
        self._limits = limits or Limits()
        self._console = console
        self._after_boot = after_boot
        self._commands = tuple(commands)
        self._clock = clock
        self._route = route
        self._loop = loop
        self._env_key = env_key
        tls = port.tls_for(self._profile)
        if tls is not None and tls != TlsSettings():
            client_context(tls, "")  # a file that cannot be used is told before anything runs
        self._application: Application | None = None
        self._stopping = False
        self._changed = threading.Condition()  # guards the two below
        self._prompting = False
        self._ended = False

    @property
    def session(self) -> Session | None:
        """The CloudSDK that runs now or ran last."""
        return self._application.session if self._application is not None else None

    def stop(self) -> None:
        """End `run` soon. Safe from any thread and from signal handlers' threads."""
        self._stopping = True
        application = self._application
        if application is not None:
            application.client.stop()

    def type(self, data: bytes) -> None:
        """Input of the serial port; lost unless an application runs. Safe from any thread."""
        application = self._application
        if application is not None:
            application.client.type(data)

    def wait_for_prompt(self) -> bool:
        """Block until the console waits for a line, once per prompt; False when `run` has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._prompting or self._ended)
            self._prompting = False
            return not self._ended

    def run(self) -> Stopped | Dead:
        """Power on and run until `stop`, or until the bootloader finds nothing to start."""
        self._ended = False
        try:
            return self._run()
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _run(self) -> Stopped | Dead:
        while not self._stopping:
            self._console(bootloader_flash(self._board.layout))
            result = self._board.boot(self._console)
            if result.outcome is not BootOutcome.JUMP:
                return Dead(result)
            if not self._after_boot(result):
                break
            application = Application(
                self._board,
                self._port,
                profile=self._profile,
                limits=self._limits,
                write=self._console,
                clock=self._clock,
                commands=self._commands,
                on_prompt=self._prompt,
                route=self._route,
                loop=self._loop,
                env_key=self._env_key,
            )
            self._application = application
            if self._stopping:
                break
            application.start()
            match application.run():
                case Exit.RESET:
                    pass
                case Exit.CRASHED:
                    # The original's dump ends in an endless loop; this board has somebody who resets it.
                    _log.warning("%s ran out of stack; the board is reset", application.client.crashed_thread)
                    self._console(application.last_words())
                case _:
                    break
            self._prompt(False)
        return Stopped()

    def _prompt(self, waits: bool) -> None:
        with self._changed:
            self._prompting = waits
            self._changed.notify_all()
