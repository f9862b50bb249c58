"""Web Shell and Web Log with whole devices: sockets, broker, msh (cloudsdk-protocol 4 and 5, platform 5 and 6)."""

import asyncio
from pathlib import Path

import pytest
from console_rig import Cloud, in_loop, running_cloud, running_device, until

from cloudsdk.profile import MANUAL, V2_0_0, Profile
from sim.cloud.gateways.intake import End
from sim.cloud.gateways.log_control import LogState
from sim.cloud.gateways.shells import ShellSession

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


async def online(cloud: Cloud, device_id: str) -> None:
    await until(lambda: device_id in cloud.consoles._shells._online)


@both
@in_loop
async def test_a_shell_shows_the_banner_runs_ps_and_ends_by_fin(profile: Profile, tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), profile) as device:
            await online(cloud, device_id)
            shell = await cloud.consoles.open_shell(device_id)
            assert b"- RT -     Thread Operating System\r\n" in await shown_until(shell, b"msh />")
            await shell.send(b"ps\r")
            listing = await shown_until(shell, b"msh />")
            assert listing.startswith(
                b"thread   pri  status      sp     stack size max used left tick  error\r\n"
            )
            assert b"web_shel" in listing
            await shell.close()
            await device.prints("Web Shell is closed. Console resume to local console(uart1).")
            assert (shell.end, device.boots) == (End.CLOSED, 1)
            again = await cloud.consoles.open_shell(device_id)
            await shown_until(again, b"msh />")
            await again.close()
            assert device.boots == 1


@both
@in_loop
async def test_a_log_arrives_in_order_and_is_turned_off(profile: Profile, tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN), profile) as device:
            await online(cloud, device_id)
            status = await cloud.consoles.switch_log(device_id, on=True)
            assert (status.wanted, status.state) == (True, LogState.STARTING)
            assert (await cloud.consoles.log_settled(device_id, 10)).state is LogState.ON
            viewer = await cloud.consoles.follow_log(device_id)
            device.device.type(b"version\r")
            lines: list[str] = []
            async for batch in viewer:
                lines += [line.text for line in batch.lines]
                if any("rt-thread team" in line for line in lines):
                    break
            assert "- RT -     Thread Operating System" in lines
            assert (await cloud.consoles.switch_log(device_id, on=False)).state is LogState.STOPPING
            assert (await cloud.consoles.log_settled(device_id, 10)).state is LogState.OFF
            await device.prints("Web Log is closed. Console resume to local console(uart1).")
            assert device.boots == 1
