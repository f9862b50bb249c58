"""The application on the board: RT-Thread's start-up lines, the ENV, msh, the CloudSDK on top (console 2)."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from cloudsdk import console
from cloudsdk.client import CloudClient, Exit
from cloudsdk.env import Env, EnvError
from cloudsdk.io_loop import IoLoop
from cloudsdk.limits import Limits
from cloudsdk.ota.rt_ota import HazardError
from cloudsdk.port import Port
from cloudsdk.profile import Profile
from cloudsdk.route import Route, direct
from cloudsdk.sealed_env import SealedEnv
from cloudsdk.session import Session, Storage, application_ota
from sim import boot_log
from sim.board import Board
from sim.bootloader.rt_ota import FAL_VERSION
from sim.console import BoardShell, RunningBoard
from sim.flash.easyflash import EasyFlashEnv
from sim.msh.boards import board_commands
from sim.msh.builtin.ota import ota
from sim.msh.commands import Command
from sim.msh.faults import stack_overrun
from sim.msh.kernel import banner, is_kernel_4
from sim.msh.kprintf import decode

ENV_PARTITION: Final = "easyflash"
WLAN_IMAGE: Final = "wifi_image"  # partition


class Application:
    """One run of the firmware in the application partition, from the jump to the next reset.

    `clock` gives seconds, from any start. `commands` are the console's besides the board's own. `on_prompt`
    is told whether the console waits for input of the serial port. With `env_key` (32 bytes) the secrets in
    the ENV are sealed, and the console's own commands show them so.
    """

    def __init__(
        self,
        board: Board,
        port: Port,
        *,
        profile: Profile,
        limits: Limits,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        commands: Sequence[Command] = (),
        on_prompt: Callable[[bool], None] = lambda _waits: None,
        route: Route = direct,
        loop: IoLoop | None = None,
        env_key: bytes | None = None,
    ) -> None:
        self._board = board
        self._kernel = board.layout.kernel
        self._write = write
        self._started = False
        start = clock()
        self._env = EasyFlashEnv(board.partition(ENV_PARTITION), console=self._print)
        store: Env = self._env
        if env_key is not None:
            store = SealedEnv(self._env, env_key, port.sn, random=os.urandom, console=self._print)
        self._ota = application_ota(board.partitions, self._print)
        self._running = RunningBoard(
            board.layout,
            board.partitions,
            self._env,
            port,
            clock=lambda: clock() - start,
            session=lambda: self.session,
            reset=lambda: self.client.reset(),
            start_cloud=lambda: self.session.start(),
            network_ready=self._network_ready,
        )
        table = (*board_commands(self._kernel), ota, *commands)
        self._shell = BoardShell(self._running, table, self._print, on_prompt)
        self.session = Session(
            port,
            Storage(board.partitions, store),
            profile=profile,
            limits=limits,
            make_ota=lambda _partitions, _write: self._ota,
            shell=self._shell,
        )
        self.client = CloudClient(
            self.session,
            profile=profile,
            limits=limits,
            console=write,
            route=route,
            loop=loop,
            tls=port.tls_for(profile),
        )

    def start(self) -> None:
        """Everything before the SDK: kernel, drivers, ENV, and the prompt unless it comes last."""
        self._write(banner(self._kernel))
        self._write(boot_log.before_main(self._board.layout))
        if is_kernel_4(self._kernel):
            self._main()
        else:
            self._init_components()
        self._started = True

    def run(self) -> Exit:
        """Run the SDK and the console until the reset."""
        wlan = self._kernel.wlan
        if not is_kernel_4(self._kernel):
            self.client.type(b"")  # the prompt
            self.client.print(boot_log.behind_the_prompt(self._kernel))
        elif wlan is not None and wlan.joins:
            self.client.print(boot_log.got_address(wlan))
        return self.client.run(start=wlan is None or wlan.joins)

    def last_words(self) -> str:
        """The hard fault of the thread that ran out of stack."""
        return stack_overrun(self._running.kernel, self.client.crashed_thread)

    def _main(self) -> None:
        """`main` of the IoT Board. The prompt is there as soon as it waits for the WLAN (console 2.2)."""
        wlan = self._kernel.wlan
        if wlan is not None:
            self._shell.start()
        self._write(
            console.fal_info(f"RT-Thread Flash Abstraction Layer (V{FAL_VERSION}) initialize success.")
        )
        if wlan is not None:
            self._ota.init()
            self._verify_wlan_image()
            self._write(boot_log.wlan_driver())
        self._init_env()
        installed = self._board.installed(self._board.layout.app.partition)
        self._write(boot_log.running_version(installed.version_text if installed is not None else "unknown"))
        if wlan is None:
            self._shell.start()
        elif wlan.joins:
            self._write(boot_log.joined(wlan.ssid))

    def _init_components(self) -> None:
        """The manual's board initialises everything before its shell starts (console 2.3)."""
        if self._running.files.entries("/") is not None:
            self._write("File System initialized!\n")
        self._init_env()

    def _init_env(self) -> None:
        with contextlib.suppress(EnvError):  # it has said so itself; the board goes on without ENV
            self._env.init()

    def _verify_wlan_image(self) -> None:
        """The WLAN works all the same without its firmware, or with one the original would hang on."""
        if self._board.partitions.find(WLAN_IMAGE) is not None and self._board.installed(WLAN_IMAGE):
            with contextlib.suppress(HazardError):
                self._ota.verify(WLAN_IMAGE)

    def _network_ready(self) -> None:
        wlan = self._kernel.wlan
        self.client.start()
        if wlan is not None:
            self.client.print(boot_log.got_address(wlan))

    def _print(self, data: str | bytes) -> None:
        """What drivers and msh print: while the SDK handles an event, on the console it has set."""
        if self._started:
            self.session.write(data)
        else:
            self._write(decode(data) if isinstance(data, bytes) else data)
