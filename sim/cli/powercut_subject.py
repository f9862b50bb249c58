"""What `cloudsim powercut` sweeps: the options that say it, and the command that says it again."""

import functools
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from cloudsdk.errors import UsageError
from cloudsdk.ota.header import Compression, Encryption, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from cloudsdk.profile import PROFILES, profile_named
from flash_images import samples
from sim.board import copy_board, furnish, make_board
from sim.cli.board import read_input
from sim.cli.keys import GivenKeys, key_options
from sim.faults.powercut.results import Swept, SweptPackage
from sim.faults.powercut.upgrade import Upgrade
from sim.flash.facts import BOOTLOADER_KINDS
from sim.flash.layout import BoardLayout, load_board, with_bootloader
from sim.flash.pages import MemoryPages

DEFAULT_BOARD: Final = "iot-board"
OLD_VERSION: Final = "1.0.0"
BEFORE_VERSION: Final = "1.5.0"
SAMPLE_VERSION: Final = "2.0.0"
SAMPLE_TIMESTAMP: Final = 1546300800  # seconds since 1970
MIN_SIZE: Final = 1024  # bytes of a sample, which begins with a vector table
MAX_SIZE: Final = 4 * 1024 * 1024
_COMPRESSIONS: Final = {each.name.lower(): each for each in Compression if each is not Compression.HPATCHLITE}
_ENCRYPTIONS: Final = {"none": Encryption.NONE, "aes256": Encryption.AES256}
_SAMPLE_OPTIONS: Final = ("size", "compress", "encrypt", "used")
#: What a replay has to repeat; keys on the command line are not shown again.
_REPEATED: Final = (
    "directory",
    "board",
    "bootloader",
    "packages",
    *_SAMPLE_OPTIONS,
    "key_file",
    "profile",
    "torn",
    "torn_style",
)
_HIDDEN: Final = ("key", "iv")


def subject_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Board, packages, keys and profile, which reach `command` as `subject: Upgrade` and `swept: Swept`."""

    @click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
    @click.option(
        "--board", metavar="NAME|FILE", help=f"A new board in place of DIR's. Default: {DEFAULT_BOARD}."
    )
    @click.option(
        "--bootloader",
        type=click.Choice(BOOTLOADER_KINDS),
        help="Another one than the board's layout names.",
    )
    @click.option(
        "--package",
        "packages",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Upgrade to this .rbl instead of a generated application; may be repeated, order counts.",
    )
    @click.option(
        "--size",
        type=click.IntRange(MIN_SIZE, MAX_SIZE),
        default=100_000,
        show_default=True,
        help="Bytes of the generated application.",
    )
    @click.option("--compress", type=click.Choice([*_COMPRESSIONS]), default="quicklz", show_default=True)
    @click.option("--encrypt", type=click.Choice([*_ENCRYPTIONS]), default="none", show_default=True)
    @click.option("--used", is_flag=True, help="After an upgrade of the same kind, with its traces in flash.")
    @key_options
    @click.option("--profile", type=click.Choice([*PROFILES]), default="manual", show_default=True)
    @functools.wraps(command)
    def wrapper(
        *args: Any,
        directory: Path | None,
        board: str | None,
        bootloader: str | None,
        packages: tuple[Path, ...],
        size: int,
        compress: str,
        encrypt: str,
        used: bool,
        given: GivenKeys,
        profile: str,
        **options: Any,
    ) -> Any:
        layout, pages, keys = _board(directory, board, bootloader, given)
        if packages:
            _refuse_sample_options()
            bodies = [_read(path, layout) for path in packages]
            subject = Upgrade(layout, pages, bodies, keys=keys, profile=profile_named(profile))
        else:
            sample = _Sample(layout, size, _COMPRESSIONS[compress], _ENCRYPTIONS[encrypt], keys)
            before = [sample.package(BEFORE_VERSION)] if used else []
            bodies = [sample.package(SAMPLE_VERSION)]
            subject = Upgrade(layout, pages, bodies, keys=keys, profile=profile_named(profile), before=before)
        return command(*args, subject=subject, swept=_swept(subject, bodies), **options)

    return wrapper


def _board(
    directory: Path | None, name: str | None, bootloader: str | None, given: GivenKeys
) -> tuple[BoardLayout, dict[str, MemoryPages], PackageKeys]:
    if directory is not None:
        if name is not None:
            raise UsageError("the board in DIR has a layout: leave --board out")
        if bootloader is not None:
            raise UsageError("the board in DIR has a bootloader: leave --bootloader out")
        if given.source == "command line":
            raise UsageError("the board in DIR has keys: leave --key, --iv and --key-file out")
        return copy_board(directory)
    layout = load_board(name or DEFAULT_BOARD)
    if bootloader is not None:
        layout = with_bootloader(layout, bootloader)
    pages = {device.name: MemoryPages(device.size) for device in layout.devices}
    furnish(make_board(layout, dict(pages)), app_version=OLD_VERSION)
    return layout, pages, given.keys


def _refuse_sample_options() -> None:
    context = click.get_current_context()
    for name in _SAMPLE_OPTIONS:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name} is for the generated application: leave it or --package out")


def _read(path: Path, layout: BoardLayout) -> bytes:
    limit = max((entry.length for entry in layout.partitions), default=0)
    package = read_input(path, limit + 1)
    if len(package) > limit:
        raise UsageError(f"{str(path)!r} is larger than any partition of board {layout.name}")
    return package


@dataclass(frozen=True, slots=True)
class _Sample:
    """How the generated packages are made."""

    layout: BoardLayout
    size: int
    compression: Compression
    encryption: Encryption
    keys: PackageKeys

    def package(self, version: str) -> bytes:
        app = self.layout.app
        return pack(
            samples.application(version, link_address=app.link_address, size=self.size),
            name=app.partition,
            version=version,
            timestamp=SAMPLE_TIMESTAMP,
            compression=self.compression,
            encryption=self.encryption,
            flavour="qboot" if self.layout.bootloader.kind == "qboot" else "official",
            key=self.keys.key,
            iv=self.keys.iv,
        )


def _swept(subject: Upgrade, packages: list[bytes]) -> Swept:
    headers = [RblHeader.unpack(package) for package in packages]
    loader = subject.layout.bootloader
    return Swept(
        board=subject.layout.name,
        bootloader=f"{loader.kind} {loader.version}",
        profile=subject.profile.name,
        packages=tuple(
            SweptPackage(header.name_text, header.version_text, len(package))
            for header, package in zip(headers, packages, strict=True)
        ),
        replay=_replay_command(click.get_current_context()),
    )


def _replay_command(context: click.Context) -> str:
    """The options that were given and matter to one point, with `--replay` at the end."""
    words = context.command_path.split()
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        values = context.params[name] if parameter.multiple else [context.params[name]]
        for value in values if name in _REPEATED else ():
            words += (
                [*parameter.opts[:1], str(value)] if isinstance(parameter, click.Option) else [str(value)]
            )
        if name in _HIDDEN:
            words += [parameter.opts[0], name.upper()]
    return shlex.join([*words, "--replay"])
