"""The main job from end to end: a board is upgraded through the cloud, with a loss of power on the way.

Nothing is faked: the cloud listens on loopback sockets, the device runs the CloudSDK against it, and the
bootloader installs what lies in flash. Every step checks what it left behind; the first deviation ends the
run.
"""

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from cloudsdk import env
from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.header import Compression, Encryption, RblHeader
from cloudsdk.ota.journal import Journal
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import failures, read_package
from cloudsdk.ota.rt_ota import DOWNLOAD
from cloudsdk.ota.transport import rounded
from cloudsdk.port import OtaStatus, Port
from flash_images import samples
from sim.application import ENV_PARTITION
from sim.board import Board, PartitionNameError, create_board, open_board
from sim.bootloader.outcome import BootResult
from sim.bootloader.rt_ota import APP
from sim.cloud.client import AdminClient
from sim.cloud.errors import DuplicateAccountError
from sim.cloud.rollout import Selection
from sim.cloud.server import CloudConfig, CloudServer
from sim.cloud.shapes import DeviceInfo, FirmwareInfo, ProductInfo, TaskInfo, TransferInfo
from sim.device import Dead, Device
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.layout import load_board
from sim.flash.power import CutMoment, FlashOperation, PowerCut

ACCOUNT: Final = "demo"
PRODUCT: Final = "demo"
CUT_SHARE: Final = 0.57  # of the first download
ONLINE_TIMEOUT: Final = 15.0  # seconds
UPGRADE_TIMEOUT: Final = 120.0  # seconds, for all downloads, installations and reports together
POLL: Final = 0.02  # seconds between two looks at a state that only the cloud's API shows
APP_VERSION: Final = "2.0.0"
FILESYSTEM_VERSION: Final = "1.0.0"
TIMESTAMP: Final = 1546300800  # seconds since 1970; of the generated packages
#: Bootloader errors that belong to a normal boot: nothing to install, or no firmware installed before.
_NORMAL_ERRORS: Final = ("get_fw_hdr:149", "rt_ota_check_upgrade:464", "rt_ota_check_upgrade:477")
_DOWNLOAD_ERROR: Final = re.compile(r"\[E/cld\.ota\] (.*?)\s*\x1b")
_BOOT_ERROR: Final = re.compile(r"\[E/OTA\] \((\w+:\d+)\) (.*?)\s*\x1b")
_WHOLE: Final = ("magic", "header-crc", "length", "body-crc")
STEPS: Final = (
    "cloud",
    "board",
    "activation",
    "task",
    "download and power cut",
    "resume and installation",
    "report",
)


class DeviationError(CloudSdkError):
    """Something did not come out as the main job demands; `step` is its number."""

    code = "demo.deviation"

    def __init__(self, step: int, message: str) -> None:
        super().__init__(f"step {step} ({STEPS[step - 1]}): {message}")
        self.step = step


class PackageUnusableError(CloudSdkError):
    """A package that this demo cannot even offer to the device."""

    code = "demo.package"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoConfig:
    """`data` is kept; `packages` replaces the generated ones."""

    data: Path
    packages: Sequence[Path] = ()
    keys: PackageKeys = field(default_factory=PackageKeys)
    board: str = "iot-board"
    broker: Literal["embedded", "mosquitto"] = "embedded"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One row of the summary. Bytes are of the transfer, `resumed` those a break point saved."""

    partition: str
    old_version: str
    new_version: str
    package_size: int
    bytes_downloaded: int
    bytes_resumed: int
    flash_operations: int


@dataclass(frozen=True, slots=True)
class Report:
    sn: str
    device_id: str
    task_version: str
    cut_offset: int
    break_point: int
    upgrades: tuple[Upgrade, ...]
    transfers: tuple[TransferInfo, ...]
    seconds: float


class _DemoPort(Port):
    """Notes that a download was given up."""

    download_failed = False

    def ota_end(self, status: OtaStatus) -> bool:
        self.download_failed = status is not OtaStatus.OK
        return super().ota_end(status)


@dataclass(frozen=True, slots=True)
class _Package:
    path: Path
    header: RblHeader

    @property
    def total(self) -> int:
        """Bytes that are sent for it."""
        return rounded(self.path.stat().st_size)


def run(config: DemoConfig, *, console: Callable[[str], None], narrate: Callable[[int, str], None]) -> Report:
    """Do it. `console` gets the device's console, `narrate` a step number and what happens.

    Raises `DeviationError` or another `CloudSdkError`; the data directory stays usable.
    """
    started = time.monotonic()
    layout = load_board(config.board)
    known = [entry.name for entry in layout.partitions]
    packages = [_read(path, known) for path in config.packages] or _generate(config, layout.app.link_address)
    narrate(1, "starting the reference cloud")
    cloud = CloudConfig(config.data / "cloud", http_port=0, mqtt_port=0, broker=config.broker)
    with (
        CloudServer(cloud) as server,
        contextlib.closing(AdminClient(server.http_url, server.admin_token)) as admin,
    ):
        narrate(1, f"cloud listens on {server.http_url} and {server.mqtt_url} ({config.broker} broker)")
        product, device = _register(admin)
        narrate(1, f"account {ACCOUNT}, product {PRODUCT} ({product['product_id']}), device {device['sn']}")

        directory = config.data / "boards" / device["sn"]
        old_version = _old_app_version(packages)
        create_board(directory, layout, app_version=old_version, keys=config.keys)
        narrate(2, f"board {layout.name} in {directory} with application {old_version}")
        key = admin.show_product(product["product_id"], keys=True)["product_key"]
        port = _DemoPort(device["sn"], product["product_id"], key, server.activation_url, server.mqtt_url)
        with open_board(directory) as board:
            job = _Job(admin, board, port, packages, console, narrate)
            return job.run(device, started)


class _Job:
    """Steps 3 to 7, for a registered device and its board."""

    def __init__(
        self,
        admin: AdminClient,
        board: Board,
        port: _DemoPort,
        packages: Sequence[_Package],
        console: Callable[[str], None],
        narrate: Callable[[int, str], None],
    ) -> None:
        self._admin = admin
        self._board = board
        self._port = port
        self._packages = packages
        self._console = console
        self._narrate = narrate
        self._text: list[str] = []
        self._refusal = ""
        self._marks: list[int] = []  # operations counted when each package was found installed
        self._old_versions: list[str] = []
        self._meter = _DownloadMeter(board, [package.total for package in packages])

    def run(self, device: DeviceInfo, started: float) -> Report:
        sn = device["sn"]
        self._old_versions = [self._installed_version(package) for package in self._packages]
        self._narrate(3, "power on")
        with self._powered_on() as power:
            self._await(
                3, power, lambda: self._is_online(sn), ONLINE_TIMEOUT, "the device did not come online"
            )
            self._check_env(device)
            self._narrate(3, f"device {device['device_id']} is activated and online, its identity is in ENV")
            firmware = [self._admin.upload_firmware(package.path, PRODUCT) for package in self._packages]
            self._board.power.arm(self._meter)
            self._marks.append(self._board.power.operations)
            task = self._create_task(firmware, sn)
            self._narrate(4, f"task {task['id']} (version {task['version']}): {self._names()}")
            self._await(
                5, power, lambda: power.cut is not None, UPGRADE_TIMEOUT, "the download never got that far"
            )
        total = self._packages[0].total
        self._narrate(5, f"power cut in the write at byte {self._meter.cut_at} of {total}")
        self._narrate(6, "power on again")
        with self._powered_on() as power:
            self._await(
                7,
                power,
                lambda: self._is_done(task),
                UPGRADE_TIMEOUT,
                "the device did not report the task version",
            )
        self._board.power.disarm()
        break_point = self._meter.break_point
        transfers = tuple(self._admin.transfers(sn, product=PRODUCT))
        self._check_transfers(transfers, firmware[0]["id"], break_point)
        upgrades = self._check_installed(break_point)
        self._narrate(
            7,
            f"device reports version {task['version']}; the server sent nothing before the break point twice",
        )
        return Report(
            sn=sn,
            device_id=device["device_id"],
            task_version=task["version"],
            cut_offset=self._meter.cut_at or 0,
            break_point=break_point,
            upgrades=upgrades,
            transfers=transfers,
            seconds=round(time.monotonic() - started, 3),
        )

    # --- the device ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _powered_on(self) -> Iterator["_PowerOn"]:
        """The device running in a thread of its own; stopped at the end if it still runs."""
        self._text.clear()
        device = Device(self._board, self._port, console=self._device_text, after_boot=self._after_boot)
        power = _PowerOn(device)
        power.thread.start()
        try:
            yield power
        finally:
            device.stop()
            power.thread.join()

    def _device_text(self, text: str) -> None:
        self._text.append(text)
        self._console(text)

    def _after_boot(self, _boot: BootResult) -> bool:
        """Between bootloader and application: was something refused, was something installed?"""
        text = "".join(self._text).rpartition("RT-Thread Bootloader Starting...")[2]
        self._text.clear()
        errors = [
            f"({where}) {what}" for where, what in _BOOT_ERROR.findall(text) if where not in _NORMAL_ERRORS
        ]
        self._refusal = errors[0] if errors else ""
        done = len(self._marks) - 1
        while 0 <= done < len(self._packages) and self._is_installed(self._packages[done]):
            self._marks.append(self._board.power.operations)
            self._meter.current = done = done + 1
        return not self._refusal

    def _await(
        self, step: int, power: "_PowerOn", condition: Callable[[], bool], timeout: float, otherwise: str
    ) -> None:
        """Wait for `condition`. Raises `DeviationError` when it cannot come any more or time is up."""
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while not condition():
            if self._refusal:
                raise DeviationError(
                    6, f"the bootloader refused {self._current()}: {self._refusal}{self._hint()}"
                )
            if self._port.download_failed:
                errors = _DOWNLOAD_ERROR.findall("".join(self._text))
                raise DeviationError(step, f"the device gave up {self._current()}: {' '.join(errors[-1:])}")
            if not power.thread.is_alive() and power.cut is None:
                if power.failure is not None:
                    raise DeviationError(step, f"the device failed: {power.failure}") from power.failure
                dead = power.dead
                why = f"the bootloader ended in {dead.outcome.value}: {dead.diagnosis}" if dead else otherwise
                raise DeviationError(6 if dead else step, why)
            if time.monotonic() > deadline:
                raise DeviationError(step, f"{otherwise} within {timeout:.0f} s")
            pause.wait(POLL)

    def _current(self) -> str:
        package = self._packages[min(self._meter.current, len(self._packages) - 1)]
        return f"{str(package.path)!r} for partition {package.header.name_text!r}"

    def _hint(self) -> str:
        package = self._packages[min(self._meter.current, len(self._packages) - 1)]
        if package.header.encryption is Encryption.AES256:
            return " (the package is encrypted: are --key and --iv the ones it was packed with?)"
        return ""

    # --- checks -------------------------------------------------------------------------------------

    def _is_online(self, sn: str) -> bool:
        device = self._admin.show_device(sn, product=PRODUCT)
        return device["state"] == "activated" and device["online"] and device["version"] is not None

    def _is_done(self, task: TaskInfo) -> bool:
        return all(device["state"] == "done" for device in self._admin.show_task(task["id"])["devices"])

    def _create_task(self, firmware: Sequence[FirmwareInfo], sn: str) -> TaskInfo:
        return self._admin.create_task(
            PRODUCT, firmware_ids=[package["id"] for package in firmware], selection=Selection((sn,))
        )

    def _names(self) -> str:
        headers = [package.header for package in self._packages]
        return ", then ".join(f"{header.name_text} {header.version_text}" for header in headers)

    def _check_env(self, device: DeviceInfo) -> None:
        """What a second reader finds in the ENV partition."""
        store = EasyFlashEnv(self._board.partition(ENV_PARTITION))
        store.init()
        wanted = {env.ACTIVATED: "true", env.SN: device["sn"], env.DEVICE_ID: device["device_id"]}
        for name, value in wanted.items():
            if store.get(name) != value:
                raise DeviationError(3, f"{name} in ENV is not {value!r}")

    def _check_transfers(self, transfers: Sequence[TransferInfo], firmware_id: int, break_point: int) -> None:
        """The server's own count: after the first request, nothing before the break point was sent again."""
        first, *later = [transfer for transfer in transfers if transfer["firmware_id"] == firmware_id]
        if first["first_byte"] != 0:
            raise DeviationError(5, f"the first request began at byte {first['first_byte']}")
        total = self._packages[0].total
        if break_point < total and not later:
            raise DeviationError(6, "the download was never taken up again")
        if later and (
            later[0]["first_byte"] != break_point or min(t["first_byte"] for t in later) < break_point
        ):
            begins = ", ".join(str(transfer["first_byte"]) for transfer in later)
            raise DeviationError(
                6, f"the download went on at byte {begins}, not at the break point {break_point}"
            )

    def _check_installed(self, break_point: int) -> tuple[Upgrade, ...]:
        upgrades = []
        for index, package in enumerate(self._packages):
            name = package.header.name_text
            if not self._is_installed(package) or index + 1 >= len(self._marks):
                raise DeviationError(
                    6, f"partition {name!r} does not hold version {package.header.version_text}"
                )
            resumed = break_point if index == 0 else 0
            operations = self._marks[index + 1] - self._marks[index]
            upgrades.append(
                Upgrade(
                    name, self._old_versions[index], package.header.version_text, package.total,
                    self._meter.received[index], resumed, operations,
                )
            )  # fmt: skip
        return tuple(upgrades)

    def _is_installed(self, package: _Package) -> bool:
        return self._board.installed(package.header.name_text) == package.header

    def _installed_version(self, package: _Package) -> str:
        header = self._board.installed(package.header.name_text)
        return header.version_text if header is not None else "-"


class _PowerOn:
    """One run of a device in a thread, from power on to power off."""

    def __init__(self, device: Device) -> None:
        self.cut: PowerCut | None = None
        self.dead: BootResult | None = None
        self.failure: Exception | None = None
        self._device = device
        self.thread = threading.Thread(target=self._run, name="device", daemon=True)

    def _run(self) -> None:
        try:
            outcome = self._device.run()
        except PowerCut as exc:
            self.cut = exc
        except Exception as exc:  # told by the thread that waits
            self.failure = exc
        else:
            self.dead = outcome.boot if isinstance(outcome, Dead) else None


class _DownloadMeter:
    """Counts the bytes that downloads write, and cuts the power in a write at `CUT_SHARE` of the first."""

    def __init__(self, board: Board, totals: Sequence[int]) -> None:
        self.received = [0] * len(totals)
        self.current = 0  # index of the package that is downloaded
        self.cut_at: int | None = None
        self._download = board.partition(DOWNLOAD)
        self._journals = [Journal(self._download, total) for total in totals]
        self._target: int | None = int(totals[0] * CUT_SHARE)

    @property
    def break_point(self) -> int:
        """Where the download that was cut has to go on."""
        journal = self._journals[0]
        return (self.cut_at or 0) // journal.step * journal.step if journal.fits else 0

    def __call__(self, _index: int, operation: FlashOperation) -> CutMoment | None:
        if (
            operation.op != "write"
            or operation.device != self._download.device_name
            or self.current >= len(self._journals)
        ):
            return None
        position = self._journals[self.current].position(operation.offset - self._download.offset)
        if position is None:
            return None
        if self._target is not None and position <= self._target < position + operation.length:
            self.cut_at, self._target = position, None
            return CutMoment.TORN
        self.received[self.current] += operation.length
        return None


# --- preparations ---------------------------------------------------------------------------------------


def _read(path: Path, partitions: Sequence[str]) -> _Package:
    """A user's package: whole, and for a partition the board has."""
    package = read_package(path)
    bad = [check for check in failures(package.verify()) if check.name in _WHOLE]
    if bad:
        raise PackageUnusableError(f"{str(path)!r} is no sound package: {bad[0].detail}")
    name = package.header.name_text
    if name not in partitions:
        raise PartitionNameError(
            f"{str(path)!r} is for partition {name!r}; the board has only {', '.join(partitions)}"
        )
    return _Package(path, package.header)


def _generate(config: DemoConfig, link_address: int) -> list[_Package]:
    """The two packages of the manual: an application, AES256 only, and a file system, QuickLZ only."""
    keys = config.keys
    application = pack(
        samples.application(APP_VERSION, link_address=link_address),
        name=APP,
        version=APP_VERSION,
        timestamp=TIMESTAMP,
        encryption=Encryption.AES256,
        key=keys.key,
        iv=keys.iv,
    )
    filesystem = pack(
        samples.filesystem(FILESYSTEM_VERSION),
        name="filesystem",
        version=FILESYSTEM_VERSION,
        timestamp=TIMESTAMP,
        compression=Compression.QUICKLZ,
    )
    folder = config.data / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    packages = []
    for data in (application, filesystem):
        header = RblHeader.unpack(data)
        path = folder / f"{header.name_text}-{header.version_text}.rbl"
        path.write_bytes(data)
        packages.append(_Package(path, header))
    return packages


def _old_app_version(packages: Sequence[_Package]) -> str:
    """Of the application before the upgrade; it must differ from what is offered."""
    offered = {package.header.version_text for package in packages if package.header.name_text == APP}
    return next(version for version in ("1.0.0", "0.9.0", "0.8.0") if version not in offered)


def _register(admin: AdminClient) -> tuple[ProductInfo, DeviceInfo]:
    """Account, product and a new device; the first two may be there from an earlier run."""
    with contextlib.suppress(DuplicateAccountError):
        admin.create_account(ACCOUNT, secrets.token_urlsafe(16))
    found = [product for product in admin.list_products() if product["name"] == PRODUCT]
    product = found[0] if found else admin.create_product(PRODUCT, account=ACCOUNT)
    taken = {device["sn"] for device in admin.list_devices(product["product_id"])}
    number = next(number for number in range(1, len(taken) + 2) if f"DEMO{number:06}" not in taken)
    return product, admin.add_device(product["product_id"], f"DEMO{number:06}")
