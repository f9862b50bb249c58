"""A device: a board that boots, runs its application, and boots again after each reset."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from cloudsdk.client import Exit
from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.session import Session
from cloudsdk.tls import TlsSettings
from cloudsdk.tls_context import client_context
from sim.application import Application
from sim.board import Board
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.hard_fault import hard_fault

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

    `after_boot` sees every boot before the application starts and returns whether to go on. With `env_key`
    (32 bytes) the secrets in the ENV are sealed. Raises `TlsUnsupportedError` and `TlsFileError`.
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
        env_key: bytes | None = None,
    ) -> None:
        self._board = board
        self._port = port
        self._profile = profile
        self._limits = limits or Limits()
        self._console = console
        self._after_boot = after_boot
        self._env_key = env_key
        tls = port.tls_for(self._profile)
        if tls is not None and tls != TlsSettings():
            client_context(tls, "")  # a file that cannot be used is told before anything runs
        self._application: Application | None = None
        self._stopping = False

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

    def run(self) -> Stopped | Dead:
        """Power on and run until `stop`, or until the bootloader finds nothing to start."""
        while not self._stopping:
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
                env_key=self._env_key,
            )
            self._application = application
            if self._stopping:
                break
            application.start()
            match application.client.run():
                case Exit.RESET:
                    pass
                case Exit.CRASHED:
                    # The original's dump ends in an endless loop; this board has somebody who resets it.
                    crashed = application.client.crashed_thread
                    _log.warning("%s ran out of stack; the board is reset", crashed)
                    self._console(hard_fault(crashed, application.session.threads))
                case _:
                    break
        return Stopped()
