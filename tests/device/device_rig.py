"""Cloud and network in memory, for single events of a `Session` and for whole power cycles of a board."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from cloudsdk import events as ev
from cloudsdk.env import EnvError
from cloudsdk.limits import Limits
from cloudsdk.ota.header import Compression, Encryption, RblHeader
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY
from cloudsdk.ota.transport import cipher, rounded
from cloudsdk.port import OtaStatus, Port
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.session import Session, Storage
from cloudsdk.shell.console_device import ConsoleShell
from flash_images import samples
from sim.board import Board, install, make_board
from sim.bootloader.outcome import BootOutcome
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.layout import BoardLayout, load_board
from sim.flash.pages import MemoryPages

PRODUCT_ID, DEVICE_ID = "8fa1b2c3d4e5f607", "9017444f3bec4453"
DEVICE_KEY = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
PASSWORD = "d32a11a42d956d347d9863510e024f19"
PRODUCT_KEY, SN = "d1234567-89ab-4cde-9f01-23456789abcd", "EF4016D6658466CA3E3610"
SIGN = "e4212076805b1aadfe3bf8935938e116"
SECRETS = (DEVICE_KEY, PASSWORD, PRODUCT_KEY, SIGN)
IDENTITY = {"DeviceId": DEVICE_ID, "DeviceKey": DEVICE_KEY}
ACTIVATED_ENV = {
    "cld_usr": DEVICE_ID,
    "cld_pwd": PASSWORD,
    "cld_did": DEVICE_ID,
    "cld_dkey": DEVICE_KEY,
    "cld_sn": SN,
    "cld_dev_mver": "0.0",
    "cld_act": "true",
}
VERSION_QUERY = b'{"data":[{"DP":1010}]}'
PIECE = 1024  # bytes per HttpData event
IOT_BOARD = load_board("iot-board")
OLD_APP = samples.application("1.0.0", link_address=IOT_BOARD.app.link_address, size=3000)


def with_nor(*, block_size: int = 4096, program_unit: int = 1) -> BoardLayout:
    """The IoT Board with another external flash."""
    onchip, nor = IOT_BOARD.devices
    return replace(
        IOT_BOARD, devices=(onchip, replace(nor, block_size=block_size, program_unit=program_unit))
    )


class TestPort(Port):
    """Notes the OTA hooks and asks for a reset unless told otherwise."""

    __test__ = False

    def __init__(self, sn: str = SN) -> None:
        super().__init__(sn, PRODUCT_ID, PRODUCT_KEY, "http://10.0.0.5:8090", "mqtt://10.0.0.5")
        self.hooks: list[str] = []
        self.resets = True

    def ota_start(self) -> None:
        self.hooks.append("start")

    def ota_end(self, status: OtaStatus) -> bool:
        self.hooks.append(f"end {int(status)}")
        return super().ota_end(status) and self.resets


@dataclass(frozen=True)
class Package:
    """A package and the body its download has."""

    data: bytes
    url: str

    @property
    def header(self) -> RblHeader:
        return RblHeader.unpack(self.data)

    @property
    def body(self) -> bytes:
        return cipher(DEVICE_KEY).encryptor().update(self.data.ljust(rounded(len(self.data)), b"\0"))

    def element(self, **changes: object) -> dict[str, object]:
        """Its element in a task."""
        header = self.header
        values = {
            "type": header.name_text,
            "file_version": header.version_text,
            "file_url": self.url,
            "upgrade_mode": 1,
            "file_size": len(self.data),
            "index": 1,
        }
        return values | changes


def package(
    name: str, version: str, raw: bytes, compression: Compression = Compression.NONE, *, aes: bool = False
) -> Package:
    secret = {"encryption": Encryption.AES256, "key": DEFAULT_KEY, "iv": DEFAULT_IV} if aes else {}
    data = pack(raw, name=name, version=version, timestamp=1600000000, compression=compression, **secret)  # type: ignore[arg-type]
    return Package(data, f"http://10.0.0.5:8090/fw/{name}-{version}.rbl")


def application(version: str, size: int = 7000) -> bytes:
    return samples.application(version, link_address=IOT_BOARD.app.link_address, size=size)


def task(*elements: Mapping[str, object], version: str = "1.1") -> bytes:
    """A 1012 message."""
    value = {"createdTime": 1539684200, "version": version, "firmwares": list(elements)}
    return json.dumps({"data": [{"DP": 1012, "value": value}]}).encode()


def data_points(publishes: list[ev.MqttPublish]) -> list[tuple[int, object]]:
    elements = [json.loads(publish.payload)["data"] for publish in publishes]
    return [(element["DP"], element["value"]) for (element,) in elements]


class Driver:
    """Hands events to a session, keeps its timers and its console, and hands effects out by type."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.timers: dict[str, float] = {}
        self.console = ""
        self.effects: list[ev.Effect] = []

    def handle(self, event: ev.Event) -> list[ev.Effect]:
        self.effects = self.session.handle(event)
        for effect in self.effects:
            match effect:
                case ev.ConsoleText(text):
                    self.console += text
                case ev.StartTimer(name, seconds):
                    self.timers[name] = seconds
                case ev.StopTimer(name):
                    self.timers.pop(name, None)
        return self.effects

    def fire(self, name: str) -> list[ev.Effect]:
        del self.timers[name]
        return self.handle(ev.TimerFired(name))

    def message(self, payload: bytes) -> list[ev.Effect]:
        return self.handle(ev.MqttMessage(f"/device/{PRODUCT_ID}/{DEVICE_ID}/x", payload))

    def published(self) -> list[tuple[int, object]]:
        return data_points([effect for effect in self.effects if isinstance(effect, ev.MqttPublish)])

    @property
    def request(self) -> ev.HttpRequest:
        (request,) = (effect for effect in self.effects if isinstance(effect, ev.HttpRequest))
        return request

    def has(self, effect: type[ev.Effect]) -> bool:
        return any(isinstance(each, effect) for each in self.effects)

    def lines(self) -> list[str]:
        """Console lines so far, colours and line ends removed; the console starts afresh."""
        text, self.console = re.sub("\x1b\\[[0-9;]*[A-Zm]", "", self.console), ""
        return text.splitlines()

    def online(self) -> None:
        """From power on of an activated device to SUBACK."""
        self.handle(ev.Started())
        self.handle(ev.MqttConnected())
        self.handle(ev.MqttSubscribed())
        self.lines()


def make_pages(layout: BoardLayout, env: Mapping[str, str] = ACTIVATED_ENV) -> dict[str, MemoryPages]:
    """The flash of a small activated board: bootloader, application 1.0.0, ENV."""
    pages = {device.name: MemoryPages(device.size) for device in layout.devices}
    board = make_board(layout, dict(pages))
    install(board, "bootloader", bytes(range(256)), version="1.3", timestamp=1545134551)
    install(board, "app", OLD_APP, version="1.0.0", timestamp=1539410981)
    store = EasyFlashEnv(board.partition("easyflash"))
    store.init()
    for key, value in env.items():
        store.set(key, value)
    store.save()
    return pages


def fork(pages: Mapping[str, MemoryPages]) -> dict[str, MemoryPages]:
    return {name: store.fork() for name, store in pages.items()}


class Cloud:
    """Sends its task once per connection that reports another version; serves packages with ranges and ETags.

    `arrived` is how much of each package the device has handled without losing power. A device may report the
    task's version only while `is_complete`.
    """

    def __init__(self, packages: list[Package], version: str = "1.1") -> None:
        self.is_complete: Callable[[], bool] = lambda: True
        self._told = False
        self.packages = {each.url: each for each in packages}
        self.bodies = {each.url: each.body for each in packages}
        self.version = version
        self.task = task(*(each.element() for each in packages), version=version)
        self.reports: list[str] = []
        self.ranges: list[tuple[str, int]] = []
        self.arrived = dict.fromkeys(self.packages, 0)

    def answer(self, request: ev.HttpRequest) -> Iterator[ev.Event]:
        """The events of a response; the one after an event is asked for when that was handled."""
        body, headers = self.bodies[request.url], dict(request.headers)
        start = int(headers["Range"].removeprefix("bytes=").removesuffix("-")) if "Range" in headers else 0
        self.ranges.append((request.url, start))
        fields = {"etag": '"1"'}
        if start:
            fields["content-range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        yield ev.HttpOpened(request.request, 206 if start else 200, fields)
        for offset in range(start, len(body), PIECE):
            piece = body[offset : offset + PIECE]
            yield ev.HttpData(request.request, piece)
            self.arrived[request.url] = max(self.arrived[request.url], offset + len(piece))
        yield ev.HttpEnded(request.request)

    def heard(self, publish: ev.MqttPublish) -> list[bytes]:
        """What the cloud sends because of a message."""
        match data_points([publish]):
            case [(1000, True)]:
                self._told = False
                return [VERSION_QUERY]
            case [(1011, {"version": version})]:
                self.reports.append(str(version))
                assert version != self.version or self.is_complete(), "the version of an incomplete set"
                if version != self.version and not self._told:
                    self._told = True
                    return [self.task, VERSION_QUERY]
        return []


def play(session: Session, cloud: Cloud) -> bool:
    """Run a session against a cloud until it is idle; returns whether it asked for a reset."""
    driver = Driver(session)
    waiting: deque[ev.Event] = deque([ev.Started()])
    downloads: dict[str, Iterator[ev.Event]] = {}
    while True:
        if waiting:
            effects = driver.handle(waiting.popleft())
        elif event := _next_event(downloads):
            effects = driver.handle(event)
        elif timer := _next_timer(driver.timers):
            effects = driver.fire(timer)
        else:
            return False
        for effect in effects:
            match effect:
                case ev.MqttConnect():
                    waiting.append(ev.MqttConnected())
                case ev.MqttSubscribe():
                    waiting.append(ev.MqttSubscribed())
                case ev.MqttPublish():
                    waiting.extend(ev.MqttMessage("/device", message) for message in cloud.heard(effect))
                case ev.HttpRequest(request):
                    downloads[request] = cloud.answer(effect)
                case ev.HttpCancel(request):
                    # Told of the last event's end first: it was handled.
                    next(downloads.pop(request, iter(())), None)
                case ev.Reset():
                    return True


def _next_event(downloads: Mapping[str, Iterator[ev.Event]]) -> ev.Event | None:
    for stream in downloads.values():
        if (event := next(stream, None)) is not None:
            return event
    return None


def _next_timer(timers: Mapping[str, float]) -> str | None:
    """The next to fire; silence is no reason to go on."""
    due = {
        name: seconds for name, seconds in timers.items() if name not in ("mqtt-silence", "download-stall")
    }
    return min(due, key=due.__getitem__, default=None)


@dataclass
class Device:
    """A board that is powered on and off, with the cloud it talks to."""

    board: Board
    cloud: Cloud
    profile: Profile = MANUAL
    boots: int = 0
    in_application: bool = False
    on_boot: Callable[[], None] = lambda: None

    def power_on(self, most_boots: int = 10) -> None:
        """Boot, run, boot again after each reset, until the device is idle. `PowerCut` passes through."""
        self.boots = 0
        while True:
            self.boots += 1
            assert self.boots <= most_boots, "the device does not settle"
            self.in_application = False
            result = self.board.boot(lambda _text: None)
            assert result.outcome is BootOutcome.JUMP, result
            self.on_boot()
            self.in_application = True
            store = EasyFlashEnv(self.board.partition("easyflash"))
            store.init()
            storage = Storage(self.board.partitions, store)
            if not play(Session(TestPort(), storage, profile=self.profile), self.cloud):
                return


class MemoryEnv:
    """ENV in memory. From the `save` number `fails_at` on saving fails; `full` refuses every change."""

    def __init__(
        self, values: Mapping[str, str] = ACTIVATED_ENV, *, fails_at: int = 0, full: bool = False
    ) -> None:
        self.values = dict(values)
        self.saved = dict(values)
        self.saves = 0
        self.fails_at = fails_at
        self.full = full

    def get(self, key: str) -> str | None:
        return self.values.get(key)

    def set(self, key: str, value: str) -> None:
        if self.full:
            raise EnvError("ENV is full", 6)
        self.values[key] = value

    def delete(self, key: str) -> None:
        del self.values[key]

    def save(self) -> None:
        self.saves += 1
        if 0 < self.fails_at <= self.saves:
            raise EnvError("flash fails", 3)
        self.saved = dict(self.values)


@dataclass
class Bench:
    """A session under test with its board, port and ENV."""

    driver: Driver
    board: Board
    port: TestPort
    env: MemoryEnv


_PAGES = make_pages(IOT_BOARD, {})


def bench(
    *,
    profile: Profile = MANUAL,
    env: MemoryEnv | None = None,
    port: TestPort | None = None,
    limits: Limits | None = None,
    board: Board | None = None,
    shell: ConsoleShell | None = None,
) -> Bench:
    """A device with application 1.0.0, activated unless `env` says otherwise."""
    env, port = env or MemoryEnv(), port or TestPort()
    board = board or make_board(IOT_BOARD, dict(fork(_PAGES)))
    session = Session(port, Storage(board.partitions, env), profile=profile, limits=limits, shell=shell)
    return Bench(Driver(session), board, port, env)
