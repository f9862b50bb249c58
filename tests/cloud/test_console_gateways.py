"""The console gateways over sockets against scripted devices, the hostile ones among them."""

import asyncio
import contextlib
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import replace

import pytest
from console_rig import in_loop, until

from cloudsdk.datapoints import Topics
from cloudsdk.errors import CloudSdkError
from cloudsdk.shell.web_log import frame
from sim.cloud.errors import StorageError, UnknownDeviceError
from sim.cloud.gateways.consoles import Consoles
from sim.cloud.gateways.intake import End
from sim.cloud.gateways.limits import ConsoleLimits
from sim.cloud.gateways.log_control import LogState
from sim.cloud.gateways.shells import ShellSession
from sim.cloud.gateways.web_logs import LogBatch, LogViewer
from sim.cloud.logs import LogLine
from sim.cloud.messages import Outgoing, ServerAddress
from sim.cloud.notices import News, Notice

DEVICE, OTHER = "9017444f3bec4453", "aaaaaaaaaaaaaaaa"
PASSWORD = b"d32a11a42d956d347d9863510e024f19"
KEY = DEVICE.encode() + PASSWORD
LIMITS = ConsoleLimits(
    key_timeout=0.2,
    close_patience=0.2,
    stop_patience=2.0,
    shell_connect=2.0,
    log_answer=0.2,
    log_connect=0.3,
    log_settle=0.01,
    log_retry=0.05,
    log_flush=0.01,
)


class MemoryRecords:
    """A database of two devices."""

    def __init__(self) -> None:
        self.lines: dict[str, list[LogLine]] = {}
        self.wanted: set[str] = set()
        self.audits: list[tuple[str, str, str]] = []
        self.logins = 0
        self.is_broken = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def topics(self, device_id: str) -> Topics:
        if device_id not in (DEVICE, OTHER):
            raise UnknownDeviceError("no such device")
        return Topics("8fa1b2c3d4e5f607", device_id)

    async def login(self, device_id: str, password: bytes) -> bool:
        self.logins += 1
        await asyncio.sleep(0)
        if self.is_broken:
            raise StorageError("the disk is full")
        return password == PASSWORD

    async def audit(self, action: str, subject: str, detail: str) -> None:
        self.audits.append((action, subject, detail))

    async def switches(self) -> list[Topics]:
        return [await self.topics(each) for each in self.wanted]

    async def set_switch(self, device_id: str, now_ms: int, *, on: bool) -> None:
        await self.topics(device_id)
        (self.wanted.add if on else self.wanted.discard)(device_id)

    async def append(self, batches: Mapping[str, Sequence[LogLine]]) -> dict[str, list[LogLine]]:
        await self.gate.wait()
        if self.is_broken:
            raise StorageError("the disk is full")
        for device_id, lines in batches.items():
            kept = self.lines.setdefault(device_id, [])
            kept += [replace(line, id=len(kept) + number) for number, line in enumerate(lines, 1)]
        return {device_id: self.lines[device_id][-len(lines) :] for device_id, lines in batches.items()}

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.lines.get(DEVICE, [])]


class Gateways:
    def __init__(self, limits: ConsoleLimits, records: MemoryRecords) -> None:
        self.records = records
        self.sent: list[tuple[str, int, object]] = []
        self.now_ms = 1_539_684_200_000
        self.consoles = Consoles(self.records, self._publish, limits, clock_ms=self._clock_ms)

    def _clock_ms(self) -> int:
        self.now_ms += 1
        return self.now_ms

    async def _publish(self, message: Outgoing) -> None:
        (point,) = json.loads(message.payload)["data"]
        self.sent.append((message.topic.split("/")[3], point["DP"], point["value"]))

    def tell(self, news: News, device_id: str = DEVICE) -> None:
        self.consoles.notice(Notice(device_id, news))

    async def said(self, dp: int, value: object = None, count: int = 1) -> None:
        """The cloud has sent this data point to the device so often."""
        wanted = (DEVICE, dp, value)
        await until(
            lambda: sum(each == wanted or (value is None and each[1] == dp) for each in self.sent) >= count
        )

    async def dial(self, address: ServerAddress, data: bytes = b"") -> "Peer":
        connection = socket.socket()
        connection.setblocking(False)
        for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # a device has little room, too
            connection.setsockopt(socket.SOL_SOCKET, buffer, 16384)
        await asyncio.get_running_loop().sock_connect(connection, (address.host, address.port))
        peer = Peer(connection)
        await peer.send(data)
        return peer

    async def shell(self) -> tuple[ShellSession, "Peer"]:
        asked = asyncio.create_task(self.consoles.open_shell(DEVICE))
        await self.said(1025)
        peer = await self.dial(self.consoles.shell_address, KEY)
        return await asked, peer

    async def log(self) -> "Peer":
        """Turn it on, as a device that does what it is told."""
        calls = sum(each[1] == 1022 for each in self.sent)
        await self.consoles.switch_log(DEVICE, on=True)
        self.tell(News.LOG_ON)
        await self.said(1022, count=calls + 1)
        peer = await self.dial(self.consoles.log_address, frame(KEY))
        await self.state(LogState.ON)
        return peer

    async def state(self, wanted: LogState) -> None:
        await until(lambda: self.consoles.log_status(DEVICE).state is wanted)


class Peer:
    """The device's end of a connection. A reset fails whatever it does."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(10):
            await self._loop.sock_sendall(self._socket, data)

    async def receive(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._loop.sock_recv(self._socket, 65536)

    async def receive_all(self) -> bytes:
        """Up to the server's FIN."""
        received = b""
        while piece := await self.receive():
            received += piece
        return received

    def close(self) -> None:
        self._socket.close()


@contextlib.asynccontextmanager
async def gateways(
    limits: ConsoleLimits = LIMITS, records: MemoryRecords | None = None
) -> AsyncIterator[Gateways]:
    found = Gateways(limits, records or MemoryRecords())
    await found.consoles.start("127.0.0.1", 0, 0, "127.0.0.1")
    found.tell(News.ONLINE)
    try:
        yield found
    finally:
        await found.consoles.stop()


async def refused(work: Awaitable[object]) -> str:
    with pytest.raises(CloudSdkError) as error:
        await work
    assert "\n" not in str(error.value)
    return error.value.code


async def read(shell: ShellSession, count: int) -> bytes:
    output = b""
    async with asyncio.timeout(10):
        while len(output) < count:
            output += await anext(shell)
    return output


async def lines_of(viewer: LogViewer, count: int) -> list[LogLine]:
    lines: list[LogLine] = []
    async with asyncio.timeout(10):
        while len(lines) < count:
            lines += (await anext(viewer)).lines
    return lines


# --- Web Shell -------------------------------------------------------------------------------------------


@in_loop
async def test_a_shell_is_a_stream_both_ways() -> None:
    async with gateways() as cloud:
        shell, device = await cloud.shell()
        host, port = cloud.consoles.shell_address.host, cloud.consoles.shell_address.port
        assert cloud.sent == [(DEVICE, 1025, {"host": host, "port": port})]
        await device.send(b"\r\n \\ | /\r\nmsh />")
        assert await read(shell, 15) == b"\r\n \\ | /\r\nmsh />"
        await shell.send(b"ps\r")
        assert await device.receive() == b"ps\r"
        device.close()
        await shell.wait_ended()
        assert [piece async for piece in shell] == []
        assert shell.end is End.DEVICE
        assert await refused(shell.send(b"x")) == "cloud.shell-ended"


@in_loop
async def test_what_was_typed_before_a_close_reaches_the_device_and_then_fin() -> None:
    async with gateways() as cloud:
        shell, device = await cloud.shell()
        await shell.send(b"reboot\r")
        closing = asyncio.create_task(shell.close())
        assert await device.receive_all() == b"reboot\r"
        await device.send(b"still talking" * 1000)  # no reset answers this
        assert await device.receive() == b""
        device.close()
        await closing
        assert shell.end is End.CLOSED


@in_loop
async def test_a_shell_needs_a_known_device_that_is_online() -> None:
    async with gateways() as cloud:
        assert await refused(cloud.consoles.open_shell("nobody")) == "cloud.unknown-device"
        assert await refused(cloud.consoles.open_shell(OTHER)) == "cloud.device-offline"
        cloud.tell(News.OFFLINE)
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.device-offline"
        assert cloud.sent == []


@in_loop
async def test_a_second_shell_is_refused_until_the_device_has_closed_the_first() -> None:
    async with gateways() as cloud:
        asked = asyncio.create_task(cloud.consoles.open_shell(DEVICE))
        await cloud.said(1025)
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.device-busy"
        device = await cloud.dial(cloud.consoles.shell_address, KEY)
        shell = await asked
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.device-busy"
        await shell.close()
        # The server's FIN is out, but to the device its session is still open.
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.device-busy"
        assert await device.receive() == b""
        device.close()
        await shell.wait_ended()
        assert len(cloud.sent) == 1
        again, device = await cloud.shell()
        assert again.end is None
        device.close()


@in_loop
async def test_a_device_that_does_not_connect_is_told_and_closed_when_it_does() -> None:
    async with gateways(replace(LIMITS, shell_connect=0.05)) as cloud:
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.shell-timeout"
        # Two 1025 at a time crash CloudSDK 2.0.0.
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.device-busy"
        late = await cloud.dial(cloud.consoles.shell_address, KEY + b"banner")
        assert await late.receive() == b""
        late.close()
        await until(lambda: not cloud.consoles._shells.occupies(DEVICE))


@in_loop
async def test_a_device_that_never_connects_may_be_asked_again_later() -> None:
    async with gateways(replace(LIMITS, shell_connect=0.02, shell_settle=0.1)) as cloud:
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.shell-timeout"
        await until(lambda: not cloud.consoles._shells.occupies(DEVICE))
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.shell-timeout"


@in_loop
async def test_a_caller_who_gives_up_leaves_no_shell_behind() -> None:
    async with gateways() as cloud:
        asked = asyncio.create_task(cloud.consoles.open_shell(DEVICE))
        await cloud.said(1025)
        asked.cancel()
        device = await cloud.dial(cloud.consoles.shell_address, KEY)
        assert await device.receive() == b""
        device.close()
        await until(lambda: not cloud.consoles._shells.occupies(DEVICE))


@in_loop
async def test_a_device_that_goes_offline_ends_the_wait_for_its_shell() -> None:
    async with gateways() as cloud:
        asked = asyncio.create_task(cloud.consoles.open_shell(DEVICE))
        await cloud.said(1025)
        cloud.tell(News.OFFLINE)
        assert await refused(asked) == "cloud.device-offline"


@in_loop
async def test_shells_are_limited() -> None:
    async with gateways(replace(LIMITS, shells=1)) as cloud:
        _shell, device = await cloud.shell()
        cloud.tell(News.ONLINE, OTHER)
        assert await refused(cloud.consoles.open_shell(OTHER)) == "cloud.console-limit"
        device.close()


@in_loop
async def test_an_idle_shell_is_closed() -> None:
    async with gateways(replace(LIMITS, shell_idle=0.1)) as cloud:
        shell, device = await cloud.shell()
        assert await device.receive() == b""
        device.close()
        assert [piece async for piece in shell] == []
        assert shell.end is End.IDLE


@in_loop
async def test_a_viewer_who_does_not_read_stops_the_device_and_loses_nothing() -> None:
    async with gateways() as cloud:
        shell, device = await cloud.shell()
        total = 1024 * 1024
        sending = asyncio.create_task(device.send(b"x" * total))
        done, _ = await asyncio.wait({sending}, timeout=0.3)
        assert not done, "everything was taken in"
        assert len(shell._output) <= LIMITS.shell_output + LIMITS.receive_size
        assert await read(shell, total) == b"x" * total
        await sending
        device.close()


@in_loop
async def test_a_viewer_who_never_reads_loses_the_shell_and_the_device_goes_on() -> None:
    async with gateways(replace(LIMITS, shell_stall=0.1)) as cloud:
        shell, device = await cloud.shell()
        await device.send(b"x" * 4 * 1024 * 1024)  # ends, since a closing connection is drained
        assert shell.end is End.STALLED
        assert await device.receive() == b""
        device.close()
        kept = b"".join([piece async for piece in shell])
        assert 0 < len(kept) <= LIMITS.shell_output + LIMITS.receive_size


@in_loop
async def test_a_device_that_does_not_read_stops_the_typing() -> None:
    async with gateways() as cloud:
        shell, device = await cloud.shell()
        typed = bytes(index % 251 for index in range(1024 * 1024))
        typing = asyncio.create_task(shell.send(typed))
        done, _ = await asyncio.wait({typing}, timeout=0.3)
        assert not done, "everything was taken in"
        received = b""
        while len(received) < len(typed):
            received += await device.receive()
        assert received == typed
        await typing
        # And an end while it waits is told.
        typing = asyncio.create_task(shell.send(typed))
        await asyncio.wait({typing}, timeout=0.1)
        device.close()
        assert await refused(typing) == "cloud.shell-ended"


# --- who is let in ---------------------------------------------------------------------------------------


@in_loop
async def test_a_wrong_key_is_closed_by_fin_and_audited() -> None:
    async with gateways() as cloud:
        asked = asyncio.create_task(cloud.consoles.open_shell(DEVICE))
        await cloud.said(1025)
        wrong = DEVICE.encode() + b"0" * 32
        stranger = await cloud.dial(cloud.consoles.shell_address, wrong + b"more than the key")
        assert await stranger.receive() == b""
        stranger.close()
        assert cloud.records.audits == [("shell.refused", DEVICE, "bad-key")]
        device = await cloud.dial(cloud.consoles.shell_address, KEY)  # the device itself is let in
        assert (await asked).end is None
        second = await cloud.dial(cloud.consoles.shell_address, KEY)
        assert await second.receive() == b""
        assert cloud.records.audits[1:] == [("shell.refused", DEVICE, "unexpected")]
        for each in (device, second):
            each.close()


@in_loop
async def test_nobody_is_let_in_who_was_not_asked() -> None:
    async with gateways() as cloud:
        for address, greeting in (
            (cloud.consoles.shell_address, KEY),
            (cloud.consoles.log_address, frame(KEY)),
        ):
            stranger = await cloud.dial(address, greeting)
            assert await stranger.receive() == b""
            stranger.close()
        assert [each[::2] for each in cloud.records.audits] == [
            ("shell.refused", "unexpected"),
            ("log.refused", "unexpected"),
        ]
        assert cloud.records.logins == 0  # strangers cost no look into the database


@in_loop
async def test_of_two_with_the_same_key_one_is_let_in() -> None:
    async with gateways() as cloud:
        asked = asyncio.create_task(cloud.consoles.open_shell(DEVICE))
        await cloud.said(1025)
        peers = [await cloud.dial(cloud.consoles.shell_address, KEY) for _ in range(2)]
        shell = await asked
        await until(lambda: len(cloud.records.audits) == 1)
        await shell.send(b"x")
        assert sorted([await peer.receive() for peer in peers]) == [b"", b"x"]
        for peer in peers:
            peer.close()


@in_loop
async def test_a_key_that_drips_is_closed_in_time_and_others_are_let_in_meanwhile() -> None:
    async with gateways(replace(LIMITS, strangers=2)) as cloud:
        loris = [await cloud.dial(cloud.consoles.shell_address, b"9") for _ in range(6)]
        shell, device = await cloud.shell()
        assert shell.end is None
        for each in loris:
            assert await each.receive() == b""
            each.close()
        device.close()


@in_loop
async def test_a_stranger_who_stays_after_fin_is_cut_off() -> None:
    async with gateways() as cloud:
        stranger = await cloud.dial(cloud.consoles.shell_address, b"?" * 48)
        assert await stranger.receive() == b""
        await until(lambda: not cloud.consoles._shell_listener._connections)
        stranger.close()


@in_loop
async def test_a_database_that_fails_refuses_by_fin() -> None:
    async with gateways() as cloud:
        asked = asyncio.create_task(cloud.consoles.open_shell(DEVICE))
        await cloud.said(1025)
        cloud.records.is_broken = True
        device = await cloud.dial(cloud.consoles.shell_address, KEY)
        assert await device.receive() == b""
        device.close()
        asked.cancel()


# --- Web Log ---------------------------------------------------------------------------------------------


@in_loop
async def test_lines_are_stored_with_their_times_and_shown() -> None:
    async with gateways() as cloud:
        viewer = await cloud.consoles.follow_log(DEVICE)
        device = await cloud.log()
        await device.send(frame(b"hello") + frame(b"Hello RT-Thread!")[:7])
        await device.send(frame(b"Hello RT-Thread!")[7:] + frame(b"\x1b[31m<b>\xff"))
        lines = await lines_of(viewer, 3)
        assert [line.text for line in lines] == ["hello", "Hello RT-Thread!", "\x1b[31m<b>\ufffd"]
        assert lines == cloud.records.lines[DEVICE]
        assert [line.id for line in lines] == [1, 2, 3]
        assert sorted(line.at_ms for line in lines) == [line.at_ms for line in lines]
        device.close()


@in_loop
async def test_off_is_answered_before_the_server_closes() -> None:
    async with gateways() as cloud:
        device = await cloud.log()
        assert cloud.records.wanted == {DEVICE}
        await cloud.consoles.switch_log(DEVICE, on=False)
        await cloud.said(1020, False)
        assert cloud.records.wanted == set()
        await device.send(frame(b"Web Log is closing..."))
        await until(lambda: cloud.records.texts == ["Web Log is closing..."])
        cloud.tell(News.LOG_OFF)
        assert await device.receive() == b""
        await device.send(frame(b"the last words"))
        device.close()
        assert (await cloud.consoles.log_settled(DEVICE, 10)).state is LogState.OFF
        await until(lambda: cloud.records.texts[1:] == ["the last words"])


@in_loop
async def test_a_log_without_data_is_turned_off_and_stays_off() -> None:
    async with gateways(replace(LIMITS, log_idle=0.2)) as cloud:
        device = await cloud.log()
        await cloud.said(1020, False)
        cloud.tell(News.LOG_OFF)
        assert await device.receive() == b""
        device.close()
        await cloud.state(LogState.OFF)
        assert cloud.consoles.log_status(DEVICE).note == "turned off after 0.2 s without data"
        assert cloud.records.wanted == set()
        cloud.tell(News.ONLINE)
        assert [each[1:] for each in cloud.sent].count((1020, True)) == 1


@in_loop
async def test_shell_and_log_exclude_each_other() -> None:
    async with gateways() as cloud:
        device = await cloud.log()
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.device-busy"
        await cloud.consoles.switch_log(DEVICE, on=False)
        assert await refused(cloud.consoles.open_shell(DEVICE)) == "cloud.device-busy"  # not closed yet
        cloud.tell(News.LOG_OFF)
        assert await device.receive() == b""
        device.close()
        await cloud.state(LogState.OFF)
        shell, device = await cloud.shell()
        assert await refused(cloud.consoles.switch_log(DEVICE, on=True)) == "cloud.device-busy"
        device.close()
        await shell.wait_ended()
        both = await asyncio.gather(
            cloud.consoles.switch_log(DEVICE, on=True),
            cloud.consoles.open_shell(DEVICE),
            return_exceptions=True,
        )
        assert [getattr(each, "code", "") for each in both] == ["", "cloud.device-busy"]


@in_loop
async def test_a_device_that_does_not_connect_is_blocked_until_it_is_online_again() -> None:
    async with gateways() as cloud:
        await cloud.consoles.switch_log(DEVICE, on=True)
        cloud.tell(News.LOG_ON)
        await cloud.state(LogState.BLOCKED)
        assert "until its next reboot" in cloud.consoles.log_status(DEVICE).note
        cloud.tell(News.OFFLINE)
        await cloud.state(LogState.WAITING)
        cloud.tell(News.ONLINE)
        await cloud.said(1020, True, count=2)
        cloud.tell(News.LOG_ON)
        await cloud.said(1022, count=2)
        device = await cloud.dial(cloud.consoles.log_address, frame(KEY))
        await cloud.state(LogState.ON)
        device.close()


@in_loop
async def test_a_rebooted_device_replaces_its_dead_connection() -> None:
    async with gateways() as cloud:
        before = await cloud.log()
        cloud.tell(News.ONLINE)
        await cloud.said(1020, True, count=2)
        cloud.tell(News.LOG_ON)
        await cloud.said(1022, count=2)
        after = await cloud.dial(cloud.consoles.log_address, frame(KEY) + frame(b"booted"))
        assert await before.receive() == b""
        before.close()
        await until(lambda: cloud.records.texts == ["booted"])
        assert cloud.consoles.log_status(DEVICE).state is LogState.ON
        after.close()


@in_loop
async def test_a_lost_connection_is_asked_for_again() -> None:
    async with gateways() as cloud:
        (await cloud.log()).close()
        await cloud.said(1020, True, count=2)
        cloud.tell(News.LOG_ON)
        await cloud.said(1022, count=2)


@in_loop
async def test_a_switch_outlives_the_server() -> None:
    records = MemoryRecords()
    async with gateways(records=records) as cloud:
        device = await cloud.log()
        stopping = asyncio.create_task(cloud.consoles.stop())
        assert await device.receive() == b""  # FIN, and the device has time to close
        device.close()
        await stopping
    async with gateways(records=records) as cloud:
        await cloud.said(1020, True)
        assert cloud.consoles.log_status(DEVICE).wanted


@in_loop
async def test_garbage_in_a_log_ends_that_connection_only() -> None:
    async with gateways() as cloud:
        device = await cloud.log()
        await device.send(frame(b"fine") + b"GET / HTTP/1.1\r\n\r\n" + b"x" * 100_000)
        assert await device.receive() == b""
        await device.send(b"more" * 1000)
        device.close()
        await cloud.said(1020, True, count=2)


@in_loop
async def test_ten_megabytes_without_a_line_end_are_bounded() -> None:
    async with gateways() as cloud:
        device = await cloud.log()
        flood = b"x" * 10_000_000
        tracemalloc.start()
        try:
            await device.send(frame(b"x" * 65535) * 2)
            await until(lambda: len(cloud.records.texts) == 32)
            assert {len(text) for text in cloud.records.texts} == {4096, 4095}
            cloud.records.lines.clear()
            raw = await cloud.dial(cloud.consoles.log_address, b"x" * 1000)
            assert await raw.receive() == b""
            with contextlib.suppress(OSError):  # a stranger is cut off at some point
                await raw.send(flood)
            raw.close()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 5_000_000
        device.close()


@in_loop
async def test_a_slow_database_stops_the_device_and_loses_nothing() -> None:
    async with gateways(replace(LIMITS, log_pending=100)) as cloud:
        device = await cloud.log()
        cloud.records.gate.clear()
        count = 20_000
        sending = asyncio.create_task(device.send(frame(b"a line of the log") * count))
        done, _ = await asyncio.wait({sending}, timeout=0.3)
        assert not done, "everything was taken in"
        cloud.records.gate.set()
        await sending
        await until(lambda: len(cloud.records.texts) == count)
        device.close()


@in_loop
async def test_a_database_that_fails_does_not_keep_lines_from_viewers() -> None:
    async with gateways() as cloud:
        device = await cloud.log()
        viewer = await cloud.consoles.follow_log(DEVICE)
        cloud.records.is_broken = True
        await device.send(frame(b"unstored"))
        [line] = await lines_of(viewer, 1)
        assert (line.text, line.id) == ("unstored", None)
        cloud.records.is_broken = False
        await device.send(frame(b"stored"))
        await until(lambda: cloud.records.texts == ["stored"])
        device.close()


@in_loop
async def test_a_viewer_who_does_not_read_is_told_what_it_lost() -> None:
    async with gateways(replace(LIMITS, log_viewer_lines=10)) as cloud:
        device = await cloud.log()
        slow = await cloud.consoles.follow_log(DEVICE)
        for start in (0, 20):
            await device.send(b"".join(frame(b"%d" % number) for number in range(start, start + 20)))
            await until(lambda start=start: len(cloud.records.texts) == start + 20)
        batch = await anext(slow)
        assert isinstance(batch, LogBatch)
        assert batch.lost == 30
        assert [line.text for line in batch.lines] == [str(number) for number in range(30, 40)]
        slow.close()
        assert [each async for each in slow] == []
        device.close()


@in_loop
async def test_viewers_of_a_log_are_limited() -> None:
    async with gateways(replace(LIMITS, log_viewers=1)) as cloud:
        viewer = await cloud.consoles.follow_log(DEVICE)
        assert await refused(cloud.consoles.follow_log(DEVICE)) == "cloud.console-limit"
        assert await refused(cloud.consoles.follow_log("nobody")) == "cloud.unknown-device"
        viewer.close()
        (await cloud.consoles.follow_log(DEVICE)).close()


@in_loop
async def test_stopping_ends_sessions_in_good_order_and_bounded_time() -> None:
    async with gateways(replace(LIMITS, stop_patience=0.2)) as cloud:
        shell, stubborn = await cloud.shell()
        await cloud.consoles.stop()
        assert shell.end is End.STOPPED
        assert await stubborn.receive() == b""
        stubborn.close()
