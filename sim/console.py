"""The msh console of a running board: what its commands find there, and its end towards the CloudSDK."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from cloudsdk.port import Port
from cloudsdk.session import Session
from cloudsdk.shell.console_device import Pause
from sim.boot_log import WLAN_INTERFACE
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.facts import KernelFacts, WlanFacts
from sim.flash.fal import FalTable
from sim.flash.layout import BoardLayout
from sim.msh.boards import kernel_profile
from sim.msh.commands import Command, ShellBoard
from sim.msh.files import Dfs, Volume
from sim.msh.kernel import KernelState, is_kernel_4, ticks
from sim.msh.kernels import Activity
from sim.msh.network import (
    NO_ADDRESS,
    AccessPoint,
    Interface,
    MemoryNetwork,
    PingReply,
    Security,
    TcpConnection,
)
from sim.msh.shell import UART_RING, WEB_SHELL_RING, Shell

FILE_SYSTEM: Final = "filesystem"  # partition
NETMASK: Final = "255.255.255.0"
_BLOCK: Final = 4096  # bytes
# Samples of console 8.
_ACCESS_POINT_MAC: Final = bytes.fromhex("ec888f88aa9a")
_PING_MS: Final = 12
_LOCAL_PORT: Final = 49153
_SEND_NEXT, _RECEIVE_NEXT = 0x199F, 0x5B3A21C4


@dataclass(slots=True)
class RunningBoard:
    """A board while its application runs. Implements `ShellBoard`.

    `clock` gives seconds since the start. `session`, `reset`, `start_cloud` and `network_ready` reach what
    the console belongs to; they are called while an event is handled.
    """

    layout: BoardLayout
    partitions: FalTable
    env: EasyFlashEnv
    port: Port
    clock: Callable[[], float]
    session: Callable[[], Session]
    reset: Callable[[], None]
    start_cloud: Callable[[], None]
    network_ready: Callable[[], None]
    files: Dfs = field(init=False)
    _network: MemoryNetwork = field(init=False)

    def __post_init__(self) -> None:
        self.files = Dfs(lambda: [each.name for each in self.kernel.devices], _volume(self.layout))
        self._network = _network(self.layout.kernel.wlan, self.port)

    @property
    def facts(self) -> KernelFacts:
        return self.layout.kernel

    @property
    def kernel(self) -> KernelState:
        return kernel_profile(self.facts)(ticks(self.clock()), activity(self.session().threads))

    @property
    def network(self) -> MemoryNetwork:
        address = next((each.address for each in self._network.interfaces), NO_ADDRESS)
        broker = self.port.mqtt_address
        connection = TcpConnection(
            f"{address}:{_LOCAL_PORT}", f"{broker.host}:{broker.port}", _SEND_NEXT, _RECEIVE_NEXT
        )
        self._network.connections = [connection] if self.session().online else []
        return self._network

    def reboot(self) -> None:
        self.reset()

    def cloud_init(self) -> None:
        self.start_cloud()

    def wlan_ready(self) -> None:
        wlan = self.facts.wlan
        if wlan is not None:
            self._network.interfaces = [_interface(wlan, up=True)]
            self.network_ready()


def activity(threads: Sequence[str]) -> Activity:
    """What the SDK's threads say about the work of the device (cloudsdk-protocol 7)."""
    return Activity(
        connecting="cld_network" in threads,
        mqtt="MQTT" in threads,
        downloading="ota_download" in threads,
        web_shell="web_shell" in threads,
        web_log="web_log" in threads,
    )


def _volume(layout: BoardLayout) -> Volume | None:
    """The manual's board mounts a file system, the IoT Board none (console 7). It is empty at each start."""
    length = next((each.length for each in layout.partitions if each.name == FILE_SYSTEM), 0)
    if is_kernel_4(layout.kernel) or not length:
        return None
    return Volume(layout.kernel.flash_device or FILE_SYSTEM, blocks=length // _BLOCK, block_size=_BLOCK)


def _network(wlan: WlanFacts | None, port: Port) -> MemoryNetwork:
    """The WLAN of the layout; in reach of `ping` are the router and the cloud."""
    if wlan is None:
        return MemoryNetwork()
    access_point = AccessPoint(
        wlan.ssid, _ACCESS_POINT_MAC, Security.WPA2_AES, rssi=-25, channel=13, rate=300
    )
    hosts = (wlan.gateway, port.mqtt_address.host, urlsplit(port.activation_url).hostname or "")
    return MemoryNetwork(
        interfaces=[_interface(wlan, up=wlan.joins)],
        access_points=[access_point],
        hosts={host: [PingReply(host, _PING_MS)] for host in hosts},
        joined=access_point if wlan.joins else None,
        stored_ssid=wlan.stored_ssid,
    )


def _interface(wlan: WlanFacts, *, up: bool) -> Interface:
    mac = bytes.fromhex(wlan.mac.replace(":", ""))
    if not up:
        return Interface(WLAN_INTERFACE, mac, link_up=False, internet_up=False)
    dns = (wlan.gateway, NO_ADDRESS)
    return Interface(WLAN_INTERFACE, mac, wlan.ip_address, wlan.gateway, NETMASK, dns)


class BoardShell:
    """msh as the shell of a `Session`. Implements `cloudsdk.shell.console_device.ConsoleShell`.

    Output goes to `write` at once, in the order in which the board's drivers and the SDK print theirs; what
    `feed` returns are the pauses only. The first prompt is shown by `start`, or when there is input before.
    `on_prompt` is told whether the shell waits for input of the serial port.
    """

    def __init__(
        self,
        board: ShellBoard,
        commands: Sequence[Command],
        write: Callable[[bytes], None],
        on_prompt: Callable[[bool], None],
    ) -> None:
        self._shell = Shell(board, commands, write)
        self._on_prompt = on_prompt
        self._started = False
        self._pausing = False
        self._remote = False

    def start(self) -> None:
        self._started = True
        self._shell.start()
        self._on_prompt(True)

    def feed(self, data: bytes, /) -> Iterator[Pause]:
        if not self._started:
            self.start()
        self._shell.feed(data)
        if self._pausing:
            return
        while (wait := self._shell.wait_ms) is not None:
            self._pausing = True
            yield Pause(wait)
            self._pausing = False
            self._shell.resume()
        if not self._shell.halted and not self._remote:
            self._on_prompt(True)

    def switched(self, *, remote: bool) -> tuple[bytes, ...]:
        self._remote = remote
        self._shell.echo = not remote
        self._shell.ring = WEB_SHELL_RING if remote else UART_RING
        if remote:
            self._shell.run("version")
            self._shell.start()
        self._on_prompt(not remote)
        return ()
