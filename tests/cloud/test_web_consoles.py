"""Web Shell and Web Log with whole devices (cloudsdk-protocol 4 and 5, platform 5 and 6)."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from console_rig import FAST, Cloud, RunningDevice, in_loop, running_cloud, running_device, until

from cloudsdk.profile import MANUAL, V2_0_0, Profile
from cloudsdk.route import Address, Link
from sim.cloud.errors import DeviceBusyError
from sim.cloud.gateways.intake import End
from sim.cloud.gateways.log_control import LogState
from sim.cloud.gateways.shells import ShellSession
from sim.cloud.gateways.web_logs import LogViewer

SN = "EF4016D6658466CA3E3610"
both = pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)


async def shown_until(shell: ShellSession, text: bytes) -> bytes:
    """What the shell prints up to and with `text`."""
    output = b""
    async with asyncio.timeout(10):
        async for piece in shell:
            output += piece
            if text in output:
                return output
    raise AssertionError(f"the shell ended after {output!r}")


async def logged_until(viewer: LogViewer, text: str) -> list[str]:
    """The lines up to one with `text`."""
    lines: list[str] = []
    async with asyncio.timeout(10):
        async for batch in viewer:
            lines += [line.text for line in batch.lines]
            if any(text in line for line in lines):
                return lines
    raise AssertionError(f"the log ended after {lines!r}")


async def type_again_and_again(device: RunningDevice, line: bytes) -> None:
    while True:
        device.device.type(line)
        await asyncio.sleep(0.2)


async def switched_on(cloud: Cloud, device_id: str) -> None:
    await cloud.consoles.switch_log(device_id, on=True)
    assert (await cloud.consoles.log_settled(device_id, 10)).state is LogState.ON


@both
@in_loop
async def test_a_shell_shows_the_banner_runs_ps_and_ends_by_fin(profile: Profile, tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), profile) as device:
            await cloud.online(device_id)
            shell = await cloud.consoles.open_shell(device_id)
            assert b"- RT -     Thread Operating System\r\n" in await shown_until(shell, b"msh />")
            await shell.send(b"ps\r")
            listing = await shown_until(shell, b"msh />")
            assert listing.startswith(
                b"thread   pri  status      sp     stack size max used left tick  error\r\n"
            )
            assert b"web_shel" in listing
            with pytest.raises(DeviceBusyError):
                await cloud.consoles.open_shell(device_id)
            with pytest.raises(DeviceBusyError):
                await cloud.consoles.switch_log(device_id, on=True)
            await shell.close()
            await device.prints("Web Shell is closed. Console resume to local console(uart1).")
            assert (shell.end, device.boots) == (End.CLOSED, 1)


@in_loop
async def test_viewers_who_leave_in_the_middle_of_output_never_reset_the_device(tmp_path: Path) -> None:
    """Profile v2.0.0 crashes and boots again when its connection is reset (cloudsdk-protocol 4)."""
    async with running_cloud(tmp_path, replace(FAST, shell_output=64)) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), V2_0_0) as device:
            await cloud.online(device_id)
            for count in range(1, 6):
                shell = await cloud.consoles.open_shell(device_id)
                await shell.send(b"help\nps\n" * 20)
                await anext(shell)
                shell.hang_up()
                await shell.wait_ended()
                await device.prints("Web Shell is closed.", count)
            assert device.boots == 1


@in_loop
async def test_an_idle_shell_gives_the_console_back(tmp_path: Path) -> None:
    async with running_cloud(tmp_path, replace(FAST, shell_idle=0.2)) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), V2_0_0) as device:
            await cloud.online(device_id)
            shell = await cloud.consoles.open_shell(device_id)
            await device.prints("Web Shell is closed.")
            assert (shell.end, device.boots) == (End.IDLE, 1)


@both
@in_loop
async def test_a_log_arrives_in_order_and_is_turned_off(profile: Profile, tmp_path: Path) -> None:
    broker = "mosquitto" if profile is V2_0_0 else "embedded"
    async with running_cloud(tmp_path, broker=broker) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), profile) as device:
            await cloud.online(device_id)
            status = await cloud.consoles.switch_log(device_id, on=True)
            assert (status.wanted, status.state) == (True, LogState.STARTING)
            assert (await cloud.consoles.log_settled(device_id, 10)).state is LogState.ON
            viewer = await cloud.consoles.follow_log(device_id)
            device.device.type(b"version\r")
            lines = await logged_until(viewer, "rt-thread team")
            banner = lines.index("- RT -     Thread Operating System")
            assert lines[banner - 1 : banner + 3] == [
                " \\ | /",
                "- RT -     Thread Operating System",
                " / | \\     4.0.1 build Mar 27 2019",
                " 2006 - 2019 Copyright by rt-thread team",
            ]
            with pytest.raises(DeviceBusyError):
                await cloud.consoles.open_shell(device_id)
            assert (await cloud.consoles.switch_log(device_id, on=False)).state is LogState.STOPPING
            assert (await cloud.consoles.log_settled(device_id, 10)).state is LogState.OFF
            await device.prints("Web Log is closed. Console resume to local console(uart1).")
            lines += await logged_until(viewer, "Web Log is closing...")
            assert await cloud.stored(device_id) == lines
            assert device.boots == 1
            await switched_on(cloud, device_id)


@in_loop
async def test_a_log_without_data_turns_itself_off(tmp_path: Path) -> None:
    async with running_cloud(tmp_path, replace(FAST, log_idle=0.3)) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), V2_0_0) as device:
            await cloud.online(device_id)
            await switched_on(cloud, device_id)
            await device.prints("Web Log is closed.")
            await cloud.log_state(device_id, LogState.OFF)
            assert not cloud.consoles.log_status(device_id).wanted
            assert device.boots == 1


@both
@in_loop
async def test_a_log_goes_on_after_a_reboot(profile: Profile, tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), profile) as device:
            await cloud.online(device_id)
            await switched_on(cloud, device_id)
            viewer = await cloud.consoles.follow_log(device_id)
            device.device.type(b"reboot\r")
            await until(lambda: device.boots == 2)
            await device.prints("Web Log : start up success.", 2)
            typing = asyncio.create_task(type_again_and_again(device, b"version\r"))
            await logged_until(viewer, "rt-thread team")
            typing.cancel()
            assert cloud.consoles.log_status(device_id).state is LogState.ON


@in_loop
async def test_a_device_that_could_not_connect_once_is_blocked_until_it_reboots(tmp_path: Path) -> None:
    dead = True

    def route(link: Link, host: str, port: int) -> Address:
        if dead and link is Link.LOG:
            raise OSError("no way")
        return host, port

    async with running_cloud(tmp_path, replace(FAST, log_connect=0.5)) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), V2_0_0, route=route) as device:
            await cloud.online(device_id)
            await cloud.consoles.switch_log(device_id, on=True)
            await device.prints("Web Log entry failed!")
            await cloud.log_state(device_id, LogState.BLOCKED)
            dead = False
            await cloud.consoles.switch_log(device_id, on=True)  # in vain: the device ignores 1022
            await cloud.log_state(device_id, LogState.STARTING)
            await cloud.log_state(device_id, LogState.BLOCKED)
            device.device.type(b"reboot\r")
            await cloud.log_state(device_id, LogState.ON)
            assert device.boots == 2


@both
@in_loop
async def test_a_log_goes_on_after_a_restart_of_the_cloud(profile: Profile, tmp_path: Path) -> None:
    async with AsyncExitStack() as devices:
        async with running_cloud(tmp_path) as cloud:
            device_id = await cloud.add(SN)
            mqtt_port = urlsplit(cloud.server.mqtt_url).port
            device = await devices.enter_async_context(running_device(cloud.port(SN), profile))
            await cloud.online(device_id)
            await switched_on(cloud, device_id)
        await device.prints("Web Log is closed.")
        async with running_cloud(tmp_path, mqtt_port=mqtt_port) as cloud:
            await cloud.log_state(device_id, LogState.ON)
            assert device.boots == 1


@in_loop
async def test_a_device_that_is_offline_is_asked_when_it_comes(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        device_id = await cloud.add(SN)
        status = await cloud.consoles.switch_log(device_id, on=True)
        assert (status.state, status.note) == (LogState.WAITING, "the device is offline")
        async with running_device(cloud.port(SN), V2_0_0):
            await cloud.log_state(device_id, LogState.ON)
        await cloud.log_state(device_id, LogState.WAITING)


@in_loop
async def test_local_tools_find_the_consoles(tmp_path: Path) -> None:
    async with running_cloud(tmp_path, gateway_host="localhost") as cloud:
        endpoint = json.loads((tmp_path / "endpoint.json").read_text())
        assert endpoint["shell_address"] == str(cloud.consoles.shell_address)
        assert endpoint["log_address"] == str(cloud.consoles.log_address)
        assert cloud.consoles.log_address.host == "127.0.0.1"
