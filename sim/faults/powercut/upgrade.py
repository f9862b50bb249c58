"""The subject the laboratory is made for: a board that is activated, downloads a task and installs it.

Bootloader, CloudSDK, journal and ENV are the real ones; the cloud lies in memory. The packages of the task
are what `new` means; `old` is what their partitions held before.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from cloudsdk.errors import CloudSdkError
from cloudsdk.limits import Limits
from cloudsdk.ota.header import HEADER_SIZE, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.package import read_package
from cloudsdk.ota.rt_ota import DOWNLOAD
from cloudsdk.ota.transport import rounded
from cloudsdk.profile import MANUAL, Profile
from cloudsdk.session import INITIAL_VERSION, NO_FIRMWARE, Session, Storage
from sim.application import ENV_PARTITION
from sim.board import Board
from sim.bootloader.outcome import BootOutcome, BootResult
from sim.faults.powercut.model import Judgement, Verdict
from sim.faults.powercut.sweep import EndlessError
from sim.faults.powercut.world import POWER_ON, Console, Step, World
from sim.flash.easyflash import EasyFlashEnv
from sim.flash.fal import FalTable
from sim.flash.layout import BoardLayout
from sim.flash.pages import MemoryPages
from sim.offline import TASK_VERSION, OfflineCloud, OfflineError, OfflinePort

_APPLICATION: Final = "application"
_SECOND_VERSION: Final = "1.2"
_MOST_STEPS: Final = 32  # of an undisturbed upgrade


class UpgradeError(CloudSdkError):
    """A board and a package that make no upgrade."""

    code: ClassVar[str] = "powercut.subject"
    exit_status: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class _Notes:
    """Seen from outside: how the last boot ended, the version last reported, the first damage."""

    boot: str = ""
    booted: bool = False
    reported: str = ""
    damage: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """A partition that the task updates: its content before, and the one in the package."""

    partition: str
    old: bytes
    new: bytes = field(repr=False)
    header: RblHeader


class Upgrade:
    """A board over `pages` (content by device name, not changed) with a task of `packages`, in this order.

    `boot` and `make_session`, which is called as `Session` is, are the bootloader and the SDK. Raises
    `PackageError` for a damaged package, `PartitionNameError` for one without a partition, and `UpgradeError`
    for one that does not fit or that the device leaves out because it has that version.

    `before` is an earlier task, which is installed undisturbed first: its traces are in flash then.
    """

    def __init__(
        self,
        layout: BoardLayout,
        pages: Mapping[str, MemoryPages],
        packages: Sequence[bytes],
        *,
        keys: PackageKeys | None = None,
        profile: Profile = MANUAL,
        before: Sequence[bytes] = (),
        boot: Callable[[Board, Console], BootResult] = Board.boot,
        make_session: Callable[..., Session] = Session,
    ) -> None:
        self.layout = layout
        self.packages = tuple(packages)
        self.profile = profile
        self.keys = keys or PackageKeys()
        self._boot_board = boot
        self._make_session = make_session
        self._pages = pages
        self._limits = Limits()
        self._version, self._old_version = TASK_VERSION, INITIAL_VERSION
        if before:
            earlier = Upgrade(
                layout, pages, before, keys=keys, profile=profile, boot=boot, make_session=make_session
            )
            self._pages = earlier._settled()
            self._version, self._old_version = _SECOND_VERSION, TASK_VERSION
        board = self._board(self.world())
        self._old_app = _content(board, layout.app.partition)
        self._targets = tuple(self._target(board, package) for package in packages)

    def world(self) -> World:
        pages = {name: pages.fork() for name, pages in self._pages.items()}
        return World.of(self.layout.devices, pages, _Notes())

    def step(self, world: World, console: Console) -> Step:
        if world.stage == POWER_ON:
            return self._boot(world, console)
        return self._application(world, console)

    def judge(self, world: World) -> Judgement:
        notes = _notes(world)
        if not notes.booted:
            return Judgement(Verdict.BRICK, notes.boot)
        if notes.damage:
            return Judgement(Verdict.SILENT_CORRUPTION, notes.damage)
        board = self._board(world)
        states = {target.partition: self._state(board, target) for target in self._targets}
        text = ", ".join(f"{name} is {state}" for name, state in states.items())
        told = f"reports {notes.reported}, {text}"
        if _DAMAGED in states.values():
            return Judgement(Verdict.SILENT_CORRUPTION, told)
        new = notes.reported == self._version
        if new != all(state == _NEW for state in states.values()):
            return Judgement(Verdict.SILENT_CORRUPTION if new else Verdict.WRONG_IMAGE, told)
        if new:
            return Judgement(Verdict.RECOVERED_NEW, told)
        whole = all(state == _OLD for state in states.values()) and notes.reported == self._old_version
        return Judgement(Verdict.RECOVERED_OLD if whole else Verdict.WRONG_IMAGE, told)

    def partition(self, device: str, offset: int) -> str:
        for entry in self.layout.partitions:
            if entry.device == device and entry.offset <= offset < entry.offset + entry.length:
                return entry.name
        return ""

    def _settled(self) -> dict[str, MemoryPages]:
        """The flash after the undisturbed upgrade. Raises `UpgradeError` when it fails."""
        world = self.world()
        for _ in range(_MOST_STEPS):
            if self.step(world, lambda _text: None) is Step.SETTLED:
                break
        judgement = self.judge(world)
        if judgement.verdict is not Verdict.RECOVERED_NEW:
            raise UpgradeError(f"the upgrade before it fails: {judgement.detail}")
        return {name: watched.pages for name, watched in world.pages.items()}

    # --- steps --------------------------------------------------------------------------------------

    def _boot(self, world: World, console: Console) -> Step:
        board = self._board(world)
        result = self._boot_board(board, console)
        notes = _notes(world)
        booted = result.outcome is BootOutcome.JUMP
        boot = f"{result.outcome.value}: {result.diagnosis}" if result.diagnosis else result.outcome.value
        world.notes = _Notes(
            boot, booted, notes.reported, notes.damage or (self._damage(board) if booted else "")
        )
        world.stage = _APPLICATION if booted else POWER_ON
        return Step.AGAIN if booted else Step.SETTLED

    def _application(self, world: World, console: Console) -> Step:
        board, cloud = self._board(world), self._cloud()
        store = EasyFlashEnv(board.partition(ENV_PARTITION), console=console)
        store.init()
        storage = Storage(board.partitions, store)
        session = self._make_session(OfflinePort(), storage, profile=self.profile, limits=self._limits)
        try:
            reset = cloud.run(session, console)
        except OfflineError as exc:
            raise EndlessError(str(exc)) from exc
        notes = _notes(world)
        world.notes = _Notes(notes.boot, notes.booted, cloud.reported, notes.damage)
        world.stage = POWER_ON
        return Step.AGAIN if reset else Step.SETTLED

    def _damage(self, board: Board) -> str:
        """What is wrong with the application that was just started."""
        partition = board.partition(self.layout.app.partition)
        new = [target.new for target in self._targets if target.partition == partition.name]
        if any(image and partition.read(0, len(image)) == image for image in [self._old_app, *new]):
            return ""
        return "an application was started that is neither the old nor the new one"

    # --- facts --------------------------------------------------------------------------------------

    def _board(self, world: World) -> Board:
        return Board(self.layout, FalTable(self.layout, world.devices), world.power, self.keys)

    def _cloud(self) -> OfflineCloud:
        return OfflineCloud(self.packages, self._version)

    def _target(self, board: Board, package: bytes) -> _Target:
        opened = read_package(io.BytesIO(package))
        header = opened.header
        new = b"".join(opened.extract(self.keys.key, self.keys.iv))
        name = header.name_text
        _require_upgrade(board, header, len(package))
        return _Target(name, _content(board, name, len(new)), new, header)

    def _state(self, board: Board, target: _Target) -> str:
        partition = board.partition(target.partition)
        if (
            partition.read(0, len(target.new)) == target.new
            and board.installed(target.partition) == target.header
        ):
            return _NEW
        return _OLD if partition.read(0, len(target.old)) == target.old else _DAMAGED


def _require_upgrade(board: Board, header: RblHeader, size: int) -> None:
    name, version = header.name_text, header.version_text
    installed = board.installed(name)
    if version == (installed.version_text if installed is not None else NO_FIRMWARE):
        raise UpgradeError(
            f"partition {name!r} holds version {version} already, and a device leaves out what it has; "
            "give a package of another version"
        )
    for partition, needed in (
        (board.partition(DOWNLOAD), rounded(size)),
        (board.partition(name), header.raw_size + HEADER_SIZE),
    ):
        if needed > partition.size:
            raise UpgradeError(
                f"the package of {name!r} needs {needed} bytes of partition {partition.name!r}, which has "
                f"{partition.size}; give a smaller one or another board"
            )


_NEW: Final = "new"
_OLD: Final = "old"
_DAMAGED: Final = "damaged"


def _notes(world: World) -> _Notes:
    assert isinstance(world.notes, _Notes)  # noqa: S101 - made by `Upgrade.world`
    return world.notes


def _content(board: Board, name: str, size: int = 0) -> bytes:
    """The image a partition holds; without a header its first `size` bytes, what an upgrade changes."""
    header = board.installed(name)
    return board.partition(name).read(0, header.raw_size if header is not None else size)
