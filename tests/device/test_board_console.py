"""msh on a running board: the boot log around its prompt, and its end towards the CloudSDK."""

import contextlib
import json
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from device_rig import ACTIVATED_ENV, IOT_BOARD, PRODUCT_ID, PRODUCT_KEY, SN, TestPort, fork, make_pages
from recorded_cloud import Broker, Listener

from cloudsdk import events as ev
from cloudsdk.client import Exit
from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import MANUAL
from sim.application import Application
from sim.board import Board, install, make_board
from sim.boot_log import bootloader_flash
from sim.bootloader.outcome import BootResult
from sim.console import activity
from sim.device import Device, Stopped
from sim.flash.facts import KernelFacts
from sim.flash.layout import BoardLayout
from sim.flash.power import CutMoment, PowerCut
from sim.msh.boards import board_commands
from sim.msh.commands import Context, command
from sim.msh.kernel import banner, device_list, thread_list
from sim.msh.kernels import iot_board
from sim.msh.shell import CommandTableError, help_text

PAGES = make_pages(IOT_BOARD)
PATIENCE = 10.0  # seconds
KERNEL = IOT_BOARD.kernel
assert KERNEL.wlan is not None
AWAY = replace(IOT_BOARD, kernel=replace(KERNEL, wlan=replace(KERNEL.wlan, stored_ssid=None)))
WITHOUT_WLAN = replace(IOT_BOARD, kernel=KernelFacts("4.0.1", "Mar 27 2019"))
MANUAL_BOARD = replace(
    IOT_BOARD,
    bootloader=replace(
        IOT_BOARD.bootloader,
        flash_chip="Winbond W25Q64FV",
        sfud_source="../components/sfud/src/sfud.c:724",
    ),
    kernel=replace(KERNEL, version="3.0.3", build="Mar 19 2018", flash_device="w25q64"),
)
SHELL = b'{"data":[{"DP":1025,"value":{"host":"10.0.0.5","port":23901}}]}'
LOG = b'{"data":[{"DP":1022,"value":{"host":"10.0.0.6","port":23902}}]}'


def plain(text: str) -> str:
    return re.sub("\x1b\\[[0-9;]*m", "", text)


class Console:
    """An application whose events are handed to its session one by one."""

    def __init__(
        self, layout: BoardLayout = IOT_BOARD, *, board: Board | None = None, **more: object
    ) -> None:
        self.shown = ""
        self.prompts: list[bool] = []
        self.effects: list[ev.Effect] = []
        self.board = board or make_board(layout, dict(fork(PAGES)))
        self.application = Application(
            self.board,
            TestPort(),
            profile=MANUAL,
            limits=Limits(),
            write=self._write,
            on_prompt=self.prompts.append,
            **more,  # type: ignore[arg-type]
        )
        self.application.start()

    def _write(self, text: str) -> None:
        self.shown += text

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        self.effects = self.application.session.handle(event)
        for effect in self.effects:
            if isinstance(effect, ev.ConsoleText):
                self.shown += effect.text
        return self.effects

    def online(self) -> "Console":
        for event in (ev.Started(), ev.MqttConnected(), ev.MqttSubscribed()):
            self.handle(event)
        self.shown = ""
        return self

    def type(self, data: bytes) -> str:
        self.shown = ""
        self.handle(ev.ConsoleInput(data))
        return self.shown

    @property
    def pauses(self) -> list[float]:
        """Those the last event has asked for, in seconds."""
        return [
            each.seconds
            for each in self.effects
            if isinstance(each, ev.StartTimer) and each.name == "shell-pause"
        ]

    def sent(self, connection: str) -> bytes:
        """What the last event sent."""
        return b"".join(
            each.data
            for each in self.effects
            if isinstance(each, ev.TcpSend) and each.connection == connection
        )


# --- boot log (console 2) -------------------------------------------------------------------------------

IOT_BOARD_LOG = """
 \\ | /
- RT -     Thread Operating System
 / | \\     4.0.1 build Mar 27 2019
 2006 - 2019 Copyright by rt-thread team
lwIP-2.0.2 initialized!
[I/SAL_SKT] Socket Abstraction Layer initialize success.
[SFUD] Find a Winbond flash chip. Size is 16777216 bytes.
[SFUD] w25q128 flash device is initialize success.
msh />[I/FAL] RT-Thread Flash Abstraction Layer (V0.2.0) initialize success.
[I/OTA] RT-Thread OTA package(V0.1.3) initialize success.
[I/OTA] Verify 'wifi_image' partition(fw ver: 1.0, timestamp: 1529386280) success.
[I/WICED] wifi initialize done. wiced version 3.3.1
[I/WLAN.dev] wlan init success
[I/WLAN.lwip] eth device init ok name:w0
[Flash] EasyFlash V3.2.1 is initialize success.
[Flash] You can get the latest version on https://github.com/armink/EasyFlash .
[D/main] The current version of APP firmware is 1.0.0
join ssid:test_ssid\r
[I/WLAN.mgnt] wifi connect success ssid:test_ssid
[I/cld] The device has been activated successfully!
[I/cld.mqtt] CloudSDK MQTT server is startup!
[I/cld] RT-Thread CloudSDK package(V2.0.0) initialize success.
"""
MANUAL_BOARD_LOG = """
 \\ | /
- RT -     Thread Operating System
 / | \\     3.0.3 build Mar 19 2018
 2006 - 2018 Copyright by rt-thread team
lwIP-2.0.2 initialized!
[SFUD]Find a Winbond flash chip. Size is 16777216 bytes.
[SFUD]w25q64 flash device is initialize success.
File System initialized!
[Flash] EasyFlash V3.2.1 is initialize success.
[Flash] You can get the latest version on https://github.com/armink/EasyFlash .
[I/OTA] RT-Thread OTA package(V0.1.3) initialize success.
[I/cld] The device has been activated successfully!
[I/cld.mqtt] CloudSDK MQTT server is startup!
[I/cld] RT-Thread CloudSDK package(V2.0.0) initialize success.
"""


def test_boot_log_of_the_iot_board() -> None:
    board = make_board(IOT_BOARD, dict(fork(PAGES)))
    install(board, "wifi_image", bytes(range(256)), version="1.0", timestamp=1529386280)
    console = Console(board=board)
    console.handle(ev.Started())
    assert plain(console.shown) == IOT_BOARD_LOG


def test_wlan_image_the_original_would_hang_on_does_not_stop_the_boot() -> None:
    board = make_board(IOT_BOARD, dict(fork(PAGES)))
    install(board, "wifi_image", b"short", version="1.0", timestamp=1529386280)
    assert "[I/WLAN.dev] wlan init success" in Console(board=board).shown


def test_boot_log_of_the_manual_s_board() -> None:
    console = Console(MANUAL_BOARD)
    console.handle(ev.Started())
    assert plain(console.shown) == MANUAL_BOARD_LOG
    # The prompt comes last; then what services print behind it.
    assert console.type(b"") == "msh />"
    assert console.type(b"ls /\r").splitlines()[1] == "Directory /:"
    assert "tidle " in console.type(b"ps\r")
    assert "exit             - return to RT-Thread shell mode.\n" in console.type(b"help\r")


def test_flash_lines_come_before_the_bootloader() -> None:
    assert bootloader_flash(IOT_BOARD) == (
        "[SFUD]Find a Winbond W25Q128 flash chip. Size is 16777216 bytes.\n"
        "[SFUD](..\\components\\sfud\\src\\sfud.c:724) Flash device reset success.\n"
        "[SFUD]norflash0 flash device is initialize success.\n"
    )
    assert "Winbond W25Q64FV flash chip" in bootloader_flash(MANUAL_BOARD)
    assert "(../components/sfud/src/sfud.c:724)" in bootloader_flash(MANUAL_BOARD)
    assert (
        bootloader_flash(replace(IOT_BOARD, bootloader=replace(IOT_BOARD.bootloader, flash_chip=None))) == ""
    )
    assert bootloader_flash(replace(IOT_BOARD, bootloader=replace(IOT_BOARD.bootloader, kind="qboot"))) == ""


def test_board_without_wlan_has_its_prompt_when_main_has_ended() -> None:
    console = Console(WITHOUT_WLAN)
    assert plain(console.shown).endswith("The current version of APP firmware is 1.0.0\nmsh />")
    assert "WLAN" not in console.shown
    assert "SFUD" not in console.shown
    assert console.online().type(b"ifconfig\r").splitlines()[1] == (
        "ifconfig: network interface device list error."
    )


# --- commands on the real board -------------------------------------------------------------------------


def test_lists_show_what_the_sdk_does() -> None:
    console = Console()
    console.handle(ev.Started())
    assert "MQTT  " in console.type(b"ps\r")
    console = Console(board=make_board(IOT_BOARD, dict(make_pages(IOT_BOARD, {}))))
    console.handle(ev.Started())
    assert "cld_netw   9" in console.type(b"ps\r")
    assert activity(["MQTT", "ota_download", "web_log", "web_log_read"]).web_log
    assert not activity(["MQTT", "web_log_read"]).web_log


def test_ticks_count_from_the_start_of_the_application() -> None:
    now = [100.0]
    console = Console(clock=lambda: now[0]).online()
    now[0] += 1.5
    assert "current tick:0x000005dc" in console.type(b"list_timer\r")


def test_flash_and_env_are_the_board_s() -> None:
    console = Console().online()
    assert f"cld_did={ACTIVATED_ENV['cld_did']}\n" in console.type(b"printenv\r")
    console.type(b"setenv color blue\rsaveenv\r")
    assert "color=blue\n" in Console(board=console.board).online().type(b"printenv\r")

    console.type(b"fal probe download\rfal erase 0 4096\rfal write 0 82 66 76\r")
    assert console.board.partition("download").read(0, 4) == b"RBL\xff"
    console.type(b"sf probe qspi10\rsf erase 524288 4096\r")
    assert console.board.partition("download").read(0, 4) == b"\xff" * 4


def test_ota_info_shows_what_is_installed_and_help_does_not_list_it() -> None:
    console = Console().online()
    shown = console.type(b"ota info\r")
    assert [line.split()[:4] + line.split()[5:] for line in shown.splitlines()[2:-1]] == [
        ["bootloader", "bootloader", "1.3", "1545134551", "ok"],
        ["app", "app", "1.0.0", "1539410981", "ok"],
    ]
    assert console.type(b"help\r") == f"help\n{help_text(board_commands(KERNEL))}msh />"


def test_loss_of_power_in_a_command_passes_through() -> None:
    console = Console().online()
    console.board.power.arm(lambda _index, _operation: CutMoment.BEFORE)
    with pytest.raises(PowerCut):
        console.type(b"fal probe download\rfal erase 0 4096\r")


def test_network_commands_know_the_cloud() -> None:
    console = Console().online()
    assert "ip address: 192.168.1.123\n" in console.type(b"ifconfig\r")
    assert "192.168.1.123:49153 <==> 10.0.0.5:1883 " in console.type(b"netstat\r")
    assert "SSID : test_ssid\n" in console.type(b"wifi status\r")
    console.handle(ev.MqttLost("gone"))
    assert "ESTABLISHED" not in console.type(b"netstat\r")


def test_command_that_waits_goes_on_when_its_time_is_up() -> None:
    console = Console().online()
    shown = console.type(b"ping 10.0.0.5\r")
    for sequence in range(3):
        assert shown.endswith(f"icmp_seq={sequence} ttl=52 time=12 ms\n")
        assert console.pauses == [1.0]
        shown = ""
        assert console.type(b"ps\r" if sequence == 0 else b"") == ""  # waits in the ring
        assert console.pauses == []
        console.shown = ""
        console.handle(ev.TimerFired("shell-pause"))
        shown = console.shown
    console.shown = ""
    console.handle(ev.TimerFired("shell-pause"))
    assert console.shown.startswith("msh />ps\nthread   pri")
    assert console.shown.endswith("000\nmsh />")


def test_prompt_is_told_when_the_serial_port_can_be_typed_at() -> None:
    console = Console()
    assert console.prompts == [True]
    console.online()
    console.type(b"ping 10.0.0.5\r")
    assert console.prompts == [True]
    for _ in range(4):
        console.handle(ev.TimerFired("shell-pause"))
    assert console.prompts == [True, True]
    console.handle(ev.MqttMessage("/device", SHELL))
    console.handle(ev.TcpOpened("webshell-1"))
    console.handle(ev.TcpData("webshell-1", b"ps\n"))
    assert console.prompts == [True, True, False]
    console.handle(ev.TcpClosed("webshell-1", ev.TcpEnd.ORDERLY))
    assert console.prompts == [True, True, False, True]


def test_sdk_starts_with_the_wlan_or_when_it_is_told_to() -> None:
    console = Console(AWAY)
    assert "join ssid" not in console.shown
    shown = console.type(b"cloud_init\r")
    assert plain(shown) == (
        "cloud_init\n[I/cld] The device has been activated successfully!\n"
        "[I/cld.mqtt] CloudSDK MQTT server is startup!\n"
        "[I/cld] RT-Thread CloudSDK package(V2.0.0) initialize success.\nmsh />"
    )
    assert any(isinstance(effect, ev.MqttConnect) for effect in console.effects)
    assert console.type(b"cloud_init\r") == "cloud_init\nmsh />"


@contextlib.contextmanager
def running(
    port: Port, layout: BoardLayout = IOT_BOARD, **more: object
) -> Iterator[tuple[Device, Callable[[str], str]]]:
    """A device in a thread, and a function that waits for a text on its console; gives what came before."""
    pieces: queue.Queue[str] = queue.Queue()
    board = make_board(layout, dict(fork(PAGES)))
    device = Device(board, port, console=pieces.put, **more)  # type: ignore[arg-type]
    ends: list[object] = []
    thread = threading.Thread(target=lambda: ends.append(device.run()), daemon=True)
    thread.start()
    rest = ""

    def expect(text: str) -> str:
        nonlocal rest
        while text not in rest:
            rest += pieces.get(timeout=PATIENCE)
        before, _, rest = rest.partition(text)
        return before

    try:
        yield device, expect
    finally:
        device.stop()
        thread.join(PATIENCE)
    assert ends == [Stopped()]


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.listener.close()


def port_to(broker: Broker) -> Port:
    return Port(SN, PRODUCT_ID, PRODUCT_KEY, "http://127.0.0.1:9", f"mqtt://127.0.0.1:{broker.listener.port}")


def comes_online(broker: Broker) -> None:
    for packet in ("dev> CONNECT", "dev> SUBSCRIBE", "dev> PUBLISH"):
        broker.expect(packet)


def test_joining_the_wlan_starts_the_sdk(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.msh.builtin.wifi.SCAN_MS", 20)
    monkeypatch.setattr("sim.msh.builtin.wifi.JOIN_MS", 10)
    with running(port_to(broker), AWAY) as (device, expect):
        expect("APP firmware is 1.0.0")
        device.type(b"wifi join test_ssid\r")
        expect("wifi connect success ssid:test_ssid\x1b[0m\nmsh />")
        cloud = plain(expect("Got IP address : 192.168.1.123"))
        assert "CloudSDK package(V2.0.0) initialize success." in cloud
        comes_online(broker)


def test_address_comes_after_the_sdk_was_started(broker: Broker) -> None:
    with running(port_to(broker)) as (_device, expect):
        before = plain(expect("[I/WLAN.lwip] Got IP address : 192.168.1.123"))
        assert before.endswith("[I/cld] RT-Thread CloudSDK package(V2.0.0) initialize success.\n")


def test_services_of_the_manual_s_board_print_behind_the_prompt(broker: Broker) -> None:
    with running(port_to(broker), MANUAL_BOARD) as (_device, expect):
        assert "msh />" not in expect("initialize success.\x1b[0m\nmsh />\x1b[36;22mI/elog")
        expect('\nJoining : " test_ssid "\nSuccessfully joined : " test_ssid "\n')


def test_reboot_boots_again(broker: Broker) -> None:
    boots: list[BootResult] = []

    def after_boot(result: BootResult) -> bool:
        boots.append(result)
        return True

    with running(port_to(broker), after_boot=after_boot) as (device, expect):
        assert device.wait_for_prompt()
        expect("Subscribe #0")
        device.type(b"reboot\rps\r")
        assert "thread   pri" not in expect("reboot\n[SFUD]Find a Winbond W25Q128")
        expect("RT-Thread Bootloader Starting...")
        assert device.wait_for_prompt()
        expect("Subscribe #0")
    assert len(boots) == 2
    assert not device.wait_for_prompt()


@command("hello", "greet somebody")
def hello(context: Context, arguments: Sequence[str]) -> None:
    context.write("Hello RT-Thread!\n")


def test_own_commands_are_in_the_table_and_cannot_take_a_name(broker: Broker) -> None:
    with running(port_to(broker), commands=[hello]) as (device, expect):
        expect("APP firmware")
        device.type(b"hello\r")
        expect("hello\nHello RT-Thread!\nmsh />")
    ps = replace(hello, name="ps")
    with pytest.raises(CommandTableError):
        Device(make_board(IOT_BOARD, dict(fork(PAGES))), port_to(broker), console=print, commands=[ps])


@pytest.mark.parametrize(("pause", "seconds"), [(10**30, 86400.0), (-5, 0.0), (1500, 1.5)])
def test_own_command_waits_within_reason(pause: int, seconds: float) -> None:
    @command("nap", "wait")
    def nap(context: Context, arguments: Sequence[str]) -> Iterator[int]:
        yield pause

    console = Console(commands=[nap]).online()
    console.type(b"nap\r")
    assert console.pauses == [seconds]


def test_own_command_that_waits_for_what_is_no_time_is_one_line() -> None:
    @command("nap", "wait")
    def nap(context: Context, arguments: Sequence[str]) -> Iterator[int]:
        yield "long"  # type: ignore[misc]

    console = Console(commands=[nap]).online()
    assert console.type(b"nap\r") == (
        "nap\nnap: TypeError: a command yields milliseconds, not 'long'\nmsh />"
    )


# --- Web Shell and Web Log ------------------------------------------------------------------------------


class ShellServer:
    """Waits for the prompt after each command; `answers` is what came before it."""

    def __init__(self, commands: Sequence[bytes]) -> None:
        self.commands = commands
        self.key = b""
        self.answers: list[str] = []
        self.listener = Listener(self._serve)

    def _serve(self, connection: socket.socket) -> None:
        self.key = connection.recv(48, socket.MSG_WAITALL)
        self.answers.append(self._until_prompt(connection))
        for each in self.commands:
            connection.sendall(each + b"\n")
            self.answers.append(self._until_prompt(connection))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    def _until_prompt(self, connection: socket.socket) -> str:
        data = b""
        while not data.endswith(b"msh />"):
            piece = connection.recv(4096)
            assert piece
            data += piece
        return data.removesuffix(b"msh />").decode()


def test_msh_answers_through_a_web_shell_and_comes_back(broker: Broker) -> None:
    server = ShellServer([b"ps", b"version", b"help", b"list_device"])
    with contextlib.closing(server.listener), running(port_to(broker), commands=[hello]) as (device, expect):
        comes_online(broker)
        expect("Subscribe #0")
        value = {"host": "127.0.0.1", "port": server.listener.port}
        broker.publish("/device/x", json.dumps({"data": [{"DP": 1025, "value": value}]}).encode())
        expect("Web Shell : start up success.")
        # Silent meanwhile; then its own again, with echo.
        assert plain(expect("Web Shell is closed.")) == "\n[I/cld.shell] "
        expect("(uart1).")
        device.type(b"hello\r")
        expect("\nhello\nHello RT-Thread!\nmsh />")
    assert server.key == (ACTIVATED_ENV["cld_did"] + ACTIVATED_ENV["cld_pwd"]).encode()
    state = iot_board(0, activity(["MQTT", "web_shell"]))
    table = (*board_commands(KERNEL), hello)
    wanted = [banner(KERNEL), thread_list(state), banner(KERNEL), help_text(table), device_list(state)]
    assert server.answers == [text.replace("\n", "\r\n") for text in wanted]


def test_line_ends_on_each_console() -> None:
    console = Console(commands=[hello]).online()
    assert console.type(b"hello\r") == "hello\nHello RT-Thread!\nmsh />"

    console.handle(ev.MqttMessage("/device", SHELL))
    console.handle(ev.TcpOpened("webshell-1"))
    assert console.sent("webshell-1") == banner(KERNEL).replace("\n", "\r\n").encode() + b"msh />"
    console.handle(ev.TcpData("webshell-1", b"hello\n"))
    assert console.sent("webshell-1") == b"Hello RT-Thread!\r\nmsh />"
    console.handle(ev.TcpData("webshell-1", b"wifi disc\n"))  # its first line ends in CR LF itself
    assert console.sent("webshell-1").startswith(b"wifi link down\r\r\n\x1b[32m[I/WLAN.mgnt]")
    console.handle(ev.TcpClosed("webshell-1", ev.TcpEnd.ORDERLY))

    console.handle(ev.MqttMessage("/device", LOG))
    console.handle(ev.TcpOpened("weblog-1"))
    assert console.type(b"hello\r") == "hello\nHello RT-Thread!\nmsh />"
    assert console.sent("weblog-1") == b"\x01\x00\x00\x05hello\x01\x00\x00\x10Hello RT-Thread!"
    console.type(b"wifi disc\r")
    assert console.sent("weblog-1").startswith(
        b"\x01\x00\x00\x0fmsh />wifi disc\x01\x00\x00\x0fwifi link down\r"
    )


def test_web_shell_takes_over_while_a_command_runs() -> None:
    console = Console().online()
    console.type(b"ping 10.0.0.5\r")
    console.handle(ev.MqttMessage("/device", SHELL))
    console.handle(ev.TcpOpened("webshell-1"))
    console.handle(ev.TcpData("webshell-1", b"x" * 1000 + b"\n"))  # the ring of the new device is larger
    console.shown = ""
    console.handle(ev.TimerFired("shell-pause"))
    assert console.sent("webshell-1").startswith(b"60 bytes from 10.0.0.5 icmp_seq=1")
    assert console.shown == ""


def test_reboot_from_the_web_shell_ends_the_run() -> None:
    console = Console().online()
    console.handle(ev.MqttMessage("/device", SHELL))
    console.handle(ev.TcpOpened("webshell-1"))
    console.handle(ev.TcpData("webshell-1", b"reboot\n"))
    assert console.sent("webshell-1") == b""
    assert console.application.client.run(start=False) is Exit.RESET
