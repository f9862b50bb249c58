"""Web Shell and Web Log: the order of the messages, the connections, and how they end
(cloudsdk-protocol 4, 5)."""

import struct
import time
from typing import Final

from cloudsdk.activation import Credentials
from cloudsdk.cjson import Json, member
from cloudsdk.datapoints import DataPoint, is_on
from sim.conformance.case import Severity, expect, expect_equal, violated
from sim.conformance.cloud.bench import SUITE, CloudBench, Identity
from sim.conformance.cloud.hook import IdleHook, ShellView
from sim.conformance.cloud.mqtt_device import MqttDevice
from sim.conformance.stream import Address, Stream

MAX_HOST: Final = 127  # characters (2.4)
IDLE_LIMIT: Final = 300.0  # seconds (platform 6.3)
_FRAME: Final = struct.Struct("!BBH")
PROMPT: Final = b"msh />"


class _Console:
    """A device that is online, and the connection that the cloud sends it to."""

    def __init__(self, bench: CloudBench) -> None:
        self.bench = bench
        self.identity: Identity = bench.identity()
        self.credentials: Credentials = bench.activate(self.identity)
        self.mqtt: MqttDevice = bench.serving(self.identity, self.credentials)

    @property
    def key(self) -> bytes:
        return (self.credentials.device_id + self.credentials.password).encode()

    @property
    def names(self) -> tuple[str, str]:
        return self.identity.product.product_id, self.identity.sn

    def ask(self) -> ShellView:
        return self.bench.shell.ask_for_shell(*self.names)

    def dial(self, dp: DataPoint) -> Stream:
        """Connect where the data point says, at once and once, as the original does."""
        address = _server(self.mqtt.needs(dp, "with the address of the server").value)
        try:
            return Stream(self.bench.scope, address)
        except ConnectionError as exc:
            violated(f"a server that listens before {int(dp)} is sent", exc)

    def switch(self, *, on: bool) -> None:
        self.bench.log.switch_log(*self.names, on=on)

    def log_started(self) -> Stream:
        """The log connection, up to its key."""
        self.switch(on=True)
        self.wait_switch(on=True)
        self.mqtt.say(DataPoint.LOG_STATE, True)
        stream = self.dial(DataPoint.LOG_SERVER)
        stream.send(frame(self.key))
        return stream

    def wait_switch(self, *, on: bool) -> None:
        found = self.mqtt.needs(DataPoint.LOG_SWITCH, f"to turn the log {'on' if on else 'off'}")
        expect_equal(is_on(found.value), on, "1020 with")


def _server(value: Json) -> Address:
    host, port = member(value, "host"), member(value, "port")
    parts = host.split(".") if isinstance(host, str) else []
    dotted = len(parts) == 4 and all(part.isdigit() and int(part) < 256 for part in parts)
    expect(dotted and len(str(host)) <= MAX_HOST, "`host` as dotted IPv4", host)
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        violated("`port` as a number", port)
    return Address(str(host), port)


def frame(data: bytes) -> bytes:
    return _FRAME.pack(1, 0, len(data)) + data


def _seen(bench: CloudBench, view: ShellView, wanted: bytes) -> bytes:
    """What the view has shown until `wanted` was in it, or for some seconds."""
    shown = b""
    end = time.monotonic() + bench.target.patience
    while wanted not in shown and (left := end - time.monotonic()) > 0:
        shown += view.read(left)
    return shown


def _ends_with_fin(bench: CloudBench, stream: Stream, what: str) -> None:
    """The server half-closes and takes what the device still sends."""
    end = time.monotonic() + bench.target.patience
    while (left := end - time.monotonic()) > 0:
        try:
            data = stream.receive(left)
        except ConnectionResetError:
            violated(f"FIN at the end of {what}", "a reset")
        if data == b"":
            break
    else:
        violated(f"FIN at the end of {what}", "an open connection")
    try:
        stream.send(b"last words\r\n")
        time.sleep(bench.settle)  # for a reset to come back
        stream.send(b"and more\r\n")
    except (BrokenPipeError, ConnectionResetError):
        violated(f"a server that reads until the device closes {what}", "a reset")


@SUITE.case(
    "shell-listener",
    "The shell's server listens before 1025 is sent",
    "cloudsdk-protocol 4, 9",
    needs=["admin", "shell"],
)
def shell_listener(bench: CloudBench) -> None:
    """The device tries once, and its thread ends."""
    console = _Console(bench)
    console.ask()
    console.dial(DataPoint.SHELL_SERVER)


@SUITE.case(
    "shell-stream",
    "Both directions are a stream without frames",
    "cloudsdk-protocol 4",
    needs=["admin", "shell"],
)
def shell_stream(bench: CloudBench) -> None:
    """The key goes first; the server answers nothing to it and passes on every byte."""
    console = _Console(bench)
    view = console.ask()
    stream = console.dial(DataPoint.SHELL_SERVER)
    stream.send(console.key)
    stream.send(b"\r\n \\ | /\r\n- RT -" + PROMPT)
    shown = _seen(bench, view, PROMPT)
    expect(console.key not in shown, "no key in the terminal", "the key")
    expect(shown.endswith(PROMPT) and b"- RT -" in shown, "the device's output in the terminal", shown)
    view.type(b"ps\n")
    typed = b""
    while not typed.endswith((b"\n", b"\r")) and (piece := stream.receive(bench.target.patience)):
        typed += piece
    expect(typed in (b"ps\n", b"ps\r"), "what was typed, with one line end", typed)


@SUITE.case("shell-wrong-key", "A stranger gets no shell", "cloudsdk-protocol 9", needs=["admin", "shell"])
def shell_wrong_key(bench: CloudBench) -> None:
    """Who connects first could print what he likes into an engineer's terminal."""
    console = _Console(bench)
    view = console.ask()
    stream = console.dial(DataPoint.SHELL_SERVER)
    stream.send(b"0" * 48 + b"hello from a stranger")
    shown = _seen_within(view, bench.settle)
    expect(b"stranger" not in shown, "nothing of a stranger in the terminal", shown)


def _seen_within(view: ShellView, seconds: float) -> bytes:
    shown, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        shown += view.read(left)
    return shown


@SUITE.case("shell-once", "1025 is sent once", "cloudsdk-protocol 4", needs=["admin", "shell"])
def shell_once(bench: CloudBench) -> None:
    """Two threads of the device would share one session."""
    console = _Console(bench)
    console.ask()
    console.dial(DataPoint.SHELL_SERVER).send(console.key + PROMPT)
    console.mqtt.drain(bench.settle)
    expect_equal(console.mqtt.count(DataPoint.SHELL_SERVER), 1, "messages 1025:")


@SUITE.case(
    "shell-fin", "A shell ends by FIN, never by a reset", "cloudsdk-protocol 4", needs=["admin", "shell"]
)
def shell_fin(bench: CloudBench) -> None:
    """A reset makes CloudSDK 2.0.0 print the error into the dead shell, whose send fails and prints again,
    until the stack is gone."""
    console = _Console(bench)
    view = console.ask()
    stream = console.dial(DataPoint.SHELL_SERVER)
    stream.send(console.key + PROMPT)
    _seen(bench, view, PROMPT)
    view.close()
    _ends_with_fin(bench, stream, "the shell")


@SUITE.case(
    "log-order", "1020, then 1021 of the device, then 1022", "cloudsdk-protocol 5", needs=["admin", "log"]
)
def log_order(bench: CloudBench) -> None:
    """A device that has not said 1021 true is not ready for 1022."""
    console = _Console(bench)
    console.switch(on=True)
    console.wait_switch(on=True)
    console.mqtt.drain(bench.settle)
    expect_equal(console.mqtt.count(DataPoint.LOG_SERVER), 0, "messages 1022 before 1021:")
    console.mqtt.say(DataPoint.LOG_STATE, True)
    console.dial(DataPoint.LOG_SERVER)


@SUITE.case(
    "log-lines",
    "The lines of the frames are stored",
    "cloudsdk-protocol 5, platform 6.1",
    needs=["admin", "log"],
)
def log_lines(bench: CloudBench) -> None:
    """Frames of a burst share segments, and one frame may come in many."""
    console = _Console(bench)
    stream = console.log_started()
    wanted = ["hello", "Hello RT-Thread!", "msh />abc"]
    data = b"".join(frame(line.encode()) for line in wanted)
    stream.send(data[:7])
    console.mqtt.drain(bench.settle)
    stream.send(data[7:])
    bench.scope.until(lambda: len(bench.log.log_lines(*console.names)) >= len(wanted), bench.target.patience)
    expect_equal(list(bench.log.log_lines(*console.names))[-3:], wanted, "the lines")


@SUITE.case(
    "log-off",
    "1020 false, 1021 false, and the server ends by FIN",
    "cloudsdk-protocol 5",
    needs=["admin", "log"],
)
def log_off(bench: CloudBench) -> None:
    """The device does not close; and a reset has the same danger as in the shell."""
    console = _Console(bench)
    stream = console.log_started()
    stream.send(frame(b"one line"))
    console.switch(on=False)
    console.wait_switch(on=False)
    console.mqtt.say(DataPoint.LOG_STATE, False)
    _ends_with_fin(bench, stream, "the log")


@SUITE.case(
    "log-idle",
    "After five minutes without data the log is turned off",
    "platform 6.3",
    needs=["admin", "log", "log-idle"],
)
def log_idle(bench: CloudBench) -> None:
    """The hook shortens the five minutes."""
    limit = bench.hook(IdleHook).log_idle_limit()  # type: ignore[type-abstract]
    expect(limit <= IDLE_LIMIT, "a limit of at most five minutes", limit)
    console = _Console(bench)
    console.log_started()
    found = console.mqtt.point(DataPoint.LOG_SWITCH, limit + bench.target.patience)
    expect(found is not None and not is_on(found.value), f"1020 false after {limit:g} s", found)


@SUITE.case(
    "shell-excludes-log",
    "No shell is opened while the log is on",
    "platform 6.4",
    severity=Severity.SHOULD,
    needs=["admin", "log", "shell"],
)
def excluded(bench: CloudBench) -> None:
    """The two are not used together: both take the console over."""
    console = _Console(bench)
    console.log_started()
    try:
        console.ask()
    except Exception:
        return  # refused, as it should be
    console.mqtt.drain(bench.settle)
    expect_equal(console.mqtt.count(DataPoint.SHELL_SERVER), 0, "messages 1025 while the log is on:")
