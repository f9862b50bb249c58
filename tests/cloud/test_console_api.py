"""Web Shell and Web Log over the API, with whole devices (platform 5 and 6)."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result
from console_rig import FAST, PATIENCE, Cloud, RunningDevice, in_loop, running_cloud, running_device, until
from starlette.websockets import WebSocketState
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from cloudsdk.errors import CloudSdkError
from sim.certs import CertificatePlan, make_certificates
from sim.cli.cloud import cloud as cloud_commands
from sim.cli.cloud.shell import LocalEcho
from sim.cloud.api import consoles as console_routes
from sim.cloud.api import shells as shell_routes
from sim.cloud.client import AdminClient
from sim.cloud.client.shell import ShellClient
from sim.cloud.gateways.intake import End
from sim.cloud.gateways.log_control import LogState
from sim.cloud.logs import LogFilter
from sim.cloud.model.work import Scope
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.tls import ServerTls

SN = "EF4016D6658466CA3E3610"


@contextlib.asynccontextmanager
async def one_device(tmp_path: Path, **more: Any) -> AsyncIterator[tuple[Cloud, RunningDevice, str]]:
    async with running_cloud(tmp_path, **more) as cloud:
        device_id = await cloud.add(SN)
        async with running_device(cloud.port(SN)) as device:
            await cloud.online(device_id)
            yield cloud, device, device_id


def shown_until(output: Iterator[bytes], text: bytes) -> bytes:
    shown = b""
    for piece in output:
        shown += piece
        if text in shown:
            return shown
    raise AssertionError(f"the shell ended after {shown!r}")


def refused(call: Callable[..., object], *args: Any, **more: Any) -> str:
    with pytest.raises(CloudSdkError) as error:
        call(*args, **more)
    return error.value.code


@contextlib.contextmanager
def dial(cloud: Cloud, device_id: str, **headers: str) -> Iterator[Any]:
    url = cloud.server.http_url.replace("http", "ws", 1)
    with connect(f"{url}/api/v1/devices/{device_id}/shell", additional_headers=headers, proxy=None) as socket:
        yield socket


def last_words(cloud: Cloud, device_id: str, **headers: str) -> tuple[dict[str, Any], int]:
    """The last text frame and the close code."""
    with dial(cloud, device_id, **headers) as socket:
        told = json.loads(socket.recv(PATIENCE))
        with pytest.raises(ConnectionClosed):
            socket.recv(PATIENCE)
        assert socket.close_code is not None
        return told, socket.close_code


def session_of(cloud: Cloud, name: str) -> str:
    """The cookie of a new account's session."""
    url = cloud.server.http_url + "/api/v1/session"
    cloud.admin.create_account(name, "long enough")
    answer = requests.post(url, json={"name": name, "password": "long enough"}, timeout=10)
    return f"cloudsim_session={answer.cookies['cloudsim_session']}"


def actions(cloud: Cloud, device_id: str) -> list[str]:
    """What was noted about the consoles of the device, oldest first."""
    found = cloud.admin.page_audit(subject=device_id)["items"][::-1]
    return [row["action"] for row in found if row["action"].startswith(("shell.", "log."))]


@in_loop
async def test_a_shell_over_a_websocket_shows_the_banner_runs_ps_and_ends_by_fin(tmp_path: Path) -> None:
    async with one_device(tmp_path) as (cloud, device, device_id):

        def use() -> None:
            with cloud.admin.open_shell(SN) as shell:
                output = iter(shell)
                assert b"- RT -     Thread Operating System\r\n" in shown_until(output, b"msh />")
                shell.send(b"ps\r")
                assert b"web_shel" in shown_until(output, b"msh />")
                assert refused(cloud.admin.open_shell, SN) == "cloud.device-busy"
                assert refused(cloud.admin.switch_log, SN, True) == "cloud.device-busy"

        await asyncio.to_thread(use)
        await device.prints("Web Shell is closed. Console resume to local console(uart1).")
        await until(lambda: not cloud.consoles._shells.occupies(device_id))
        assert device.boots == 1
        noted = await asyncio.to_thread(actions, cloud, device_id)
        assert noted == ["shell.open", "shell.close"]


@in_loop
async def test_a_shell_that_the_cloud_ends_says_why(tmp_path: Path) -> None:
    async with one_device(tmp_path, limits=replace(FAST, shell_idle=0.3)) as (cloud, _device, _device_id):

        def use() -> None:
            with cloud.admin.open_shell(SN) as shell:
                list(shell)
                assert shell.end == "idle"
                assert refused(shell.send, b"ps\r") == "cloud.shell-ended"

        await asyncio.to_thread(use)


class Deaf:
    """A caller that neither reads nor types."""

    client_state = WebSocketState.CONNECTED

    async def receive(self) -> Any:
        await asyncio.Event().wait()

    async def send_bytes(self, _data: bytes) -> None:
        await asyncio.Event().wait()

    async def send_text(self, _text: str) -> None:
        await asyncio.Event().wait()


class Chatty:
    """A shell that prints until it ends, here because nobody reads."""

    end = End.STALLED

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b"x"

    async def wait_ended(self) -> None:
        await asyncio.sleep(0.05)


@in_loop
async def test_a_caller_who_does_not_read_is_left_when_the_shell_ends() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shell_routes, "LAST_OUTPUT", 0.05)
        patch.setattr(shell_routes, "_watch", lambda _socket: asyncio.Event().wait())
        socket: Any = Deaf()
        shell: Any = Chatty()
        await asyncio.wait_for(
            shell_routes._bridge(socket, shell, asyncio.create_task(socket.receive())), PATIENCE
        )


@in_loop
async def test_a_caller_who_goes_before_the_device_comes_leaves_no_shell(tmp_path: Path) -> None:
    async with running_cloud(tmp_path, replace(FAST, shell_settle=0.5)) as cloud:
        device_id = await cloud.add(SN)
        told = await asyncio.to_thread(refused, cloud.admin.open_shell, "nobody")
        assert told == "cloud.unknown-device"
        told = await asyncio.to_thread(refused, cloud.admin.open_shell, SN)
        assert told == "cloud.device-offline"
        cloud.consoles._shells.came_online(device_id)  # but it never connects
        token = f"Bearer {cloud.server.admin_token}"

        def leave() -> None:
            with dial(cloud, device_id, Authorization=token):
                pass

        await asyncio.to_thread(leave)
        await until(lambda: not cloud.consoles._shells.occupies(device_id))
        assert await asyncio.to_thread(actions, cloud, device_id) == []


@in_loop
async def test_shells_are_for_those_who_may(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        device_id = await cloud.add(SN)

        def knock() -> None:
            own = cloud.server.http_url
            told, code = last_words(cloud, device_id)
            assert (told["code"], told["status"], code) == ("cloud.unauthorized", 401, 4401)
            told, code = last_words(cloud, device_id, Authorization="Bearer cs_wrong")
            assert (told["code"], code) == ("cloud.unauthorized", 4401)

            cloud.admin.create_account("mallory", "long enough")
            stranger = cloud.admin.create_token("any", list(Scope), account="mallory")["token"]
            told, code = last_words(cloud, device_id, Authorization=f"Bearer {stranger}")
            assert (told["code"], code) == ("cloud.unknown-device", 4404)
            reader = cloud.admin.create_token("reader", [s for s in Scope if s is not Scope.CONSOLE])["token"]
            told, code = last_words(cloud, device_id, Authorization=f"Bearer {reader}")
            assert (told["code"], code) == ("cloud.forbidden", 4403)

            cookie = session_of(cloud, "anna")
            told, code = last_words(cloud, device_id, Cookie=cookie, Origin=own)
            assert (told["code"], code) == ("cloud.unknown-device", 4404)
            for headers in (
                {"Cookie": cookie},
                {"Cookie": cookie, "Origin": "http://evil.example"},
                {"Cookie": cookie, "Origin": "null"},
                {"Cookie": cookie, "Origin": own, "Sec-Fetch-Site": "cross-site"},
                {"Authorization": f"Bearer {reader}", "Origin": "http://evil.example"},
            ):
                with pytest.raises(InvalidStatus) as denied, dial(cloud, device_id, **headers):
                    pass
                assert denied.value.response.status_code == 403

        await asyncio.to_thread(knock)


@in_loop
async def test_what_is_typed_comes_in_frames_of_bytes_that_are_not_huge(tmp_path: Path) -> None:
    async with one_device(tmp_path) as (cloud, _device, device_id):

        def use(frame: str | bytes) -> str:
            token = f"Bearer {cloud.server.admin_token}"
            with dial(cloud, device_id, Authorization=token) as socket:
                assert json.loads(socket.recv(PATIENCE))["type"] == "open"
                socket.send(frame)
                while isinstance(message := socket.recv(PATIENCE), bytes):
                    pass
                return str(json.loads(message)["code"])

        assert await asyncio.to_thread(use, "text") == "cloud.bad-request"
        await until(lambda: not cloud.consoles._shells.occupies(device_id))
        assert await asyncio.to_thread(use, bytes(shell_routes.MAX_TYPED + 1)) == "cloud.too-large"


@in_loop
async def test_a_shell_ends_with_the_right_to_it(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shell_routes, "RECHECK", 0.1)
        async with one_device(tmp_path) as (cloud, _device, _device_id):

            def use() -> str:
                token = cloud.admin.create_token("short-lived", list(Scope))
                with contextlib.closing(AdminClient(cloud.server.http_url, token["token"])) as client:
                    with client.open_shell(SN) as shell:
                        cloud.admin.delete_token(token["id"])
                        return refused(lambda: list(shell))

            assert await asyncio.to_thread(use) == "cloud.unauthorized"


@in_loop
async def test_a_log_is_switched_read_searched_downloaded_and_cleared(tmp_path: Path) -> None:
    async with one_device(tmp_path) as (cloud, device, device_id):
        admin = cloud.admin

        def switch(on: bool) -> tuple[bool, str]:
            info = admin.switch_log(SN, on)
            found = admin.log_state(device_id)
            assert (found["wanted"], found["state"]) == (info["wanted"], info["state"])
            return info["wanted"], info["state"]

        assert await asyncio.to_thread(switch, True) == (True, LogState.ON)
        assert await asyncio.to_thread(refused, admin.open_shell, SN) == "cloud.device-busy"
        device.device.type(b"version\rhello-there\r")

        def arrive() -> None:
            deadline = time.monotonic() + PATIENCE
            while not admin.page_log(SN, LogFilter(text="HELLO-THERE"))["items"]:
                assert time.monotonic() < deadline

        await asyncio.to_thread(arrive)
        assert await asyncio.to_thread(switch, False) == (False, LogState.OFF)

        def read() -> None:
            stored = admin.page_log(SN, limit=1000, newest_first=False)["items"]
            assert [line["text"] for line in stored]
            first = admin.page_log(SN, limit=1, newest_first=False)
            second = admin.page_log(SN, limit=1, newest_first=False, after=first["next"] or 0)
            assert [*first["items"], *second["items"]] == stored[:2]
            newest = admin.page_log(SN, limit=1000)["items"]
            assert newest == stored[::-1]
            after = LogFilter(since_ms=stored[-1]["at_ms"] + 1)
            assert admin.page_log(SN, after) == {"items": [], "next": None}

            file = tmp_path / "device.log"
            assert admin.download_log(SN, file) == file.stat().st_size
            assert len(file.read_text().splitlines()) == len(stored)
            assert admin.clear_log(SN) == {"deleted": len(stored)}
            assert admin.page_log(SN)["items"] == []
            assert actions(cloud, device_id) == ["log.on", "log.off", "log.clear"]

        await asyncio.to_thread(read)


class Follower:
    """Follows a log in a thread of its own."""

    def __init__(self, admin: AdminClient, seen: int | None = None) -> None:
        self.lines: list[str] = []
        self.ids: list[int | None] = []
        self._admin = admin
        self._seen = seen
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        for batch in self._admin.follow_log(SN, seen=self._seen):
            self.lines += [line["text"] for line in batch["lines"]]
            self.ids += [line["id"] for line in batch["lines"]]


@in_loop
async def test_who_follows_a_log_misses_and_repeats_nothing_and_does_not_hold_up_the_end(
    tmp_path: Path,
) -> None:
    started = 0.0
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as devices:
        async with running_cloud(tmp_path) as cloud:
            device_id = await cloud.add(SN)
            device = await devices.enter_async_context(running_device(cloud.port(SN)))
            await cloud.online(device_id)
            await asyncio.to_thread(cloud.admin.switch_log, SN, True)
            early = Follower(AdminClient(cloud.server.http_url, cloud.server.admin_token))
            await until(lambda: bool(cloud.consoles._logs._links[device_id].viewers))
            device.device.type(b"one-thing\r")
            await until(lambda: any("one-thing" in line for line in early.lines))
            late = Follower(AdminClient(cloud.server.http_url, cloud.server.admin_token), early.ids[0])
            await until(lambda: late.lines == early.lines[1:])
            device.device.type(b"another-thing\r")
            for follower in (early, late):
                await until(lambda each=follower: any("another-thing" in line for line in each.lines))  # type: ignore[misc]
            await until(lambda: late.ids == early.ids[1:])
            started = loop.time()
        await until(lambda: early.is_over and late.is_over)
        assert loop.time() - started < 2 + FAST.stop_patience


@in_loop
async def test_a_follower_who_goes_is_forgotten_and_one_without_rights_is_sent_away(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console_routes, "KEEP_ALIVE", 0.1)
        async with running_cloud(tmp_path) as cloud:
            device_id = await cloud.add(SN)
            url = f"{cloud.server.http_url}/api/v1/devices/{device_id}/log/live"

            def follow(token: str) -> requests.Response:
                headers = {"Authorization": f"Bearer {token}"}
                return requests.get(url, headers=headers, stream=True, timeout=10)

            def viewers() -> int:
                link = cloud.consoles._logs._links.get(device_id)
                return len(link.viewers) if link is not None else 0

            answer = await asyncio.to_thread(follow, cloud.server.admin_token)
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            await until(lambda: viewers() == 1)
            answer.close()
            await until(lambda: viewers() == 0)

            token = await asyncio.to_thread(cloud.admin.create_token, "short-lived", ["read"])
            answer = await asyncio.to_thread(follow, token["token"])
            await until(lambda: viewers() == 1)
            await asyncio.to_thread(cloud.admin.delete_token, token["id"])
            assert set((await asyncio.to_thread(lambda: answer.text)).split("\n\n")) <= {
                ": follows",
                ": alive",
                "",
            }


def invoke(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cloud_commands, [*arguments, "--data", str(data)])


def shell_process(data: Path, typed: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from sim.cli.main import main; main()", "cloud", "shell", SN]
    return subprocess.run(
        [*command, "--data", data], input=typed, capture_output=True, text=True, timeout=30, check=False
    )


@in_loop
async def test_shell_and_log_on_the_command_line(tmp_path: Path) -> None:
    data = tmp_path / "cloud"
    async with one_device(data) as (cloud, device, device_id):
        typed = await asyncio.to_thread(shell_process, data, "version\nlist_device\n")
        assert typed.returncode == 0, typed.stderr
        assert "msh />version\n" in typed.stdout
        assert typed.stdout.count("msh />") == 3
        await until(lambda: not cloud.consoles._shells.occupies(device_id))

        ended = await asyncio.to_thread(shell_process, data, "reboot\n")
        assert (ended.returncode, "[cloud.shell-ended]" in ended.stderr) == (1, True), ended
        await until(lambda: device.boots == 2)
        await device.prints("Subscribe #0", 2)
        await until(lambda: not cloud.consoles._shells.occupies(device_id))

        def log(*arguments: str) -> str:
            result = invoke(data, "log", SN, *arguments)
            assert result.exit_code == 0, result
            return result.output

        def read() -> None:
            deadline = time.monotonic() + PATIENCE
            while "say-something" not in log("--search", "SAY-"):
                assert time.monotonic() < deadline
            shown = log()
            file = tmp_path / "console.log"
            log("--download", str(file))
            assert file.read_text().endswith(shown)
            cleared = json.loads(log("--clear", "--yes", "--json"))
            assert cleared["deleted"] == len(file.read_text().splitlines())
            assert json.loads(log("--off", "--json"))["state"] == "off"

        switched = await asyncio.to_thread(log, "--on", "--json")
        assert json.loads(switched)["state"] == "on"
        device.device.type(b"say-something\r")
        await asyncio.to_thread(read)


def test_without_a_server_the_switch_waits_and_a_shell_says_what_it_needs(tmp_path: Path) -> None:
    invoke(tmp_path, "product", "create", "lamp")
    invoke(tmp_path, "device", "add", "--product", "lamp", "--sn", SN)
    assert json.loads(invoke(tmp_path, "log", SN, "--on", "--json").output)["state"] == "waiting"
    assert json.loads(invoke(tmp_path, "log", SN, "--json").output) == {"items": [], "next": None}
    for arguments in (("shell", SN), ("log", SN, "--follow")):
        error = invoke(tmp_path, *arguments).exception
        assert isinstance(error, CloudSdkError)
        assert error.code == "cloud.not-running"
    for arguments in (("--follow", "--clear"), ("--follow", "--search", "x"), ("--clear", "--search", "x")):
        error = invoke(tmp_path, "log", SN, *arguments).exception
        assert isinstance(error, CloudSdkError)
        assert error.code == "cloudsim.usage"


def test_only_what_a_terminal_can_show_is_echoed() -> None:
    echo = LocalEcho()
    typed: Sequence[bytes] = (b"ps", b"\x1b[", b"A\x1bOB", b"\x7f\t\x03", b"\xc3\xa9\r", b"\x1b[1;5Cx\x1bay")
    assert b"".join(map(echo.shown, typed)) == b"ps\xc3\xa9\r\nxy"


def test_a_shell_over_tls_trusts_the_ca_it_is_given_only(tmp_path: Path) -> None:
    made = make_certificates(tmp_path / "pki", CertificatePlan(), datetime.now(UTC))
    tls = ServerTls(made.server.certificate, made.server.key)
    with CloudServer(CloudConfig(tmp_path / "cloud", http_port=0, mqtt_port=0, tls=tls)) as server:
        with contextlib.closing(
            AdminClient(server.http_url, server.admin_token, made.ca.certificate)
        ) as admin:
            admin.create_product("lamp")
            device_id = admin.add_device("lamp", SN)["device_id"]
            assert refused(admin.open_shell, SN) == "cloud.device-offline"
        assert refused(ShellClient, server.http_url, server.admin_token, device_id) == "cloud.unreachable"
