"""The application on the board: RT-Thread's start-up lines, the ENV, the CloudSDK on top (console 2)."""

import contextlib
import os
from collections.abc import Callable
from typing import Final

from cloudsdk import console
from cloudsdk.client import CloudClient
from cloudsdk.env import Env, EnvError
from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import Profile
from cloudsdk.sealed_env import SealedEnv
from cloudsdk.session import Session, Storage
from sim.board import Board
from sim.bootloader.rt_ota import APP, FAL_VERSION
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.layout import BoardLayout

ENV_PARTITION: Final = "easyflash"


def kernel_banner(layout: BoardLayout) -> str:
    """What `rt_show_version` prints, an empty line first (console 2.1)."""
    kernel = layout.kernel
    last_year = 2019 if kernel.version >= "4" else 2018
    return (
        "\n \\ | /\n"
        "- RT -     Thread Operating System\n"
        f" / | \\     {kernel.version} build {kernel.build}\n"
        f" 2006 - {last_year} Copyright by rt-thread team\n"
    )


class Application:
    """One run of the firmware in partition `app`, from the jump to the next reset.

    With `env_key` (32 bytes) the secrets in the ENV are sealed.
    """

    def __init__(
        self,
        board: Board,
        port: Port,
        *,
        profile: Profile,
        limits: Limits,
        write: Callable[[str], None],
        env_key: bytes | None = None,
    ) -> None:
        self._board = board
        self._write = write
        self._started = False
        self._env = EasyFlashEnv(board.partition(ENV_PARTITION), console=self._print)
        store: Env = self._env
        if env_key is not None:
            store = SealedEnv(self._env, env_key, port.sn, random=os.urandom, console=self._print)
        self.session = Session(port, Storage(board.partitions, store), profile=profile, limits=limits)
        self.client = CloudClient(
            self.session, profile=profile, limits=limits, console=write, tls=port.tls_for(profile)
        )

    def start(self) -> None:
        """Everything before the SDK: kernel, drivers, ENV."""
        write, installed = self._write, self._board.installed(APP)
        write(kernel_banner(self._board.layout))
        write("lwIP-2.0.2 initialized!\n")
        write(console.info("SAL_SKT", "Socket Abstraction Layer initialize success."))
        write(console.fal_info(f"RT-Thread Flash Abstraction Layer (V{FAL_VERSION}) initialize success."))
        with contextlib.suppress(EnvError):  # it has said so itself; the board goes on without ENV
            self._env.init()
        version = installed.version_text if installed is not None else "unknown"
        write(f"{console.RESET}[D/main] The current version of APP firmware is {version}{console.RESET}\n")
        self._started = True

    def _print(self, text: str) -> None:
        """What drivers print: once the SDK runs, while it handles an event, on the console it has set."""
        (self.session.write if self._started else self._write)(text)
