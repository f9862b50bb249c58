"""What is installed: every algorithm, every partition, again after a loss of power (rbl-format 2, 3, 5)."""

from typing import Final

from cloudsdk.ota.header import HEADER_SIZE, Compression
from flash_images import samples
from sim.board import Board
from sim.conformance.bootloader.bench import NEW, SUITE, BootBench, with_header
from sim.conformance.case import Severity, expect, expect_equal

OTHER: Final = "filesystem"
_MARK: Final = b"\x5a" * 8  # one unit of the on-chip flash
_SHORT: Final = 3000  # bytes that were written before the power went
_MIN_BODY: Final = 128  # bytes; shorter recorded packages hang rt_ota V0.2.1 (rbl-format 3.4)


def _installs(bench: BootBench, compression: Compression, *, encrypted: bool) -> None:
    raw = bench.image()
    package = bench.package(raw, compression=compression, encrypted=encrypted)
    bench.download(package)
    bench.started()
    bench.holds(raw)
    expect(
        bench.header().pack() == package[:HEADER_SIZE],
        "the package's header at the end of the partition",
        "another",
    )


@SUITE.case("boot-application", "Without a package the application is started", "rbl-format 3.2")
def plain_boot(bench: BootBench) -> None:
    """It is what a board does all day."""
    bench.started()
    bench.keeps_old()


@SUITE.case("boot-no-application", "Without an application none is started", "rbl-format 3.2 step 9, 5.1")
def no_application(bench: BootBench) -> None:
    """A jump into erased flash is a fault that nobody sees."""

    def wipe(board: Board) -> None:
        partition = board.partition(bench.layout.app.partition)
        partition.erase(0, partition.size)

    bench.change(wipe)
    boot = bench.boot()
    expect(not boot.started, "another exit status than 0", "an application started")


@SUITE.case("install-plain", "A plain package is installed", "rbl-format 3.2")
def plain(bench: BootBench) -> None:
    """The simplest package there is."""
    _installs(bench, Compression.NONE, encrypted=False)


@SUITE.case("install-aes", "An encrypted package is installed", "rbl-format 2.5")
def aes(bench: BootBench) -> None:
    """AES-256-CBC over the whole body, the key as ASCII."""
    _installs(bench, Compression.NONE, encrypted=True)


@SUITE.case("install-quicklz", "A QuickLZ package is installed", "rbl-format 2.1, 2.2")
def quicklz(bench: BootBench) -> None:
    """Level 3; a decoder built for level 1, the default of the public sources, refuses it."""
    _installs(bench, Compression.QUICKLZ, encrypted=False)


@SUITE.case("install-quicklz-aes", "An encrypted QuickLZ package is installed", "rbl-format 2")
def quicklz_aes(bench: BootBench) -> None:
    """Compression comes first, and padding behind the last block must end it."""
    _installs(bench, Compression.QUICKLZ, encrypted=True)


@SUITE.case("install-fastlz", "A FastLZ package is installed", "rbl-format 2.1, 2.3")
def fastlz(bench: BootBench) -> None:
    """The other compression of the packer."""
    _installs(bench, Compression.FASTLZ, encrypted=False)


@SUITE.case("install-fastlz-aes", "An encrypted FastLZ package is installed", "rbl-format 2")
def fastlz_aes(bench: BootBench) -> None:
    """As with QuickLZ."""
    _installs(bench, Compression.FASTLZ, encrypted=True)


@SUITE.case("install-gzip", "A gzip package is installed", "rbl-format 2.4", needs=["qboot"])
def gzip(bench: BootBench) -> None:
    """The bootloader of the IoT Board has no gzip, QBoot has."""
    _installs(bench, Compression.GZIP, encrypted=False)


@SUITE.case("install-gzip-aes", "An encrypted gzip package is installed", "rbl-format 2.4", needs=["qboot"])
def gzip_aes(bench: BootBench) -> None:
    """The padding behind the gzip member is not part of it."""
    _installs(bench, Compression.GZIP, encrypted=True)


@SUITE.case("install-odd-size", "A firmware of any size is installed whole", "rbl-format 2.5")
def odd_size(bench: BootBench) -> None:
    """Sizes of one byte less and more than a block end in the middle of chunks."""
    for size in (4095, 4097):
        raw = bench.image(f"{size}", size)
        bench.download(bench.package(raw, version=str(size), compression=Compression.QUICKLZ, encrypted=True))
        bench.started()
        bench.holds(raw)


@SUITE.case(
    "install-other-partition", "The name in the header picks the partition", "rbl-format 3.2, platform 10.2"
)
def other_partition(bench: BootBench) -> None:
    """A file system is upgraded by the same means, and the application stays as it is."""
    raw = samples.filesystem(NEW, size=16_384)
    bench.download(bench.package(raw, name=OTHER))
    bench.started()
    bench.holds(raw, OTHER)
    bench.keeps_old()


@SUITE.case("install-previous-version", "An older version is installed as well", "rbl-format 3.2, 5.1")
def previous(bench: BootBench) -> None:
    """Versions have no order for the bootloader; who wants to go back can."""
    raw = bench.image("0.9.0")
    bench.download(bench.package(raw, version="0.9.0"))
    bench.started()
    bench.holds(raw)


@SUITE.case("install-once", "An installed package is not installed again", "rbl-format 3.2 step 8, 5.1")
def once(bench: BootBench) -> None:
    """Flash wears out; a boot that installs is a boot that can be cut."""
    raw = bench.image()
    package = bench.package(raw)
    bench.download(package)
    bench.started()
    mark = bench.app()
    at = len(mark) - HEADER_SIZE - len(_MARK)

    def spoil(board: Board) -> None:
        # Between firmware and header, in the block of the header: gone if that is written once more.
        board.partition(bench.layout.app.partition).write(at, _MARK)

    bench.change(spoil)
    bench.started()
    found = bench.app()
    expect(found[at : at + len(_MARK)] == _MARK, "an application that was not written again", "one that was")
    expect(found[:at] == mark[:at], "the same application", "another")


@SUITE.case("install-back-to-back", "One package after the other is installed", "threats: back-to-back")
def back_to_back(bench: BootBench) -> None:
    """What the first left in `download` must not spoil the second."""
    for version in ("2.0.0", "2.0.1"):
        raw = bench.image(version)
        bench.download(bench.package(raw, version=version))
        bench.started()
        bench.holds(raw)


@SUITE.case("power-cut-reentry", "A half-written application is installed again", "rbl-format 3.3, 5.1")
def reentry(bench: BootBench) -> None:
    """Power went after the erase and a few writes; the package is still in `download`."""
    raw = bench.image()
    bench.download(bench.package(raw))

    def half(board: Board) -> None:
        partition = board.partition(bench.layout.app.partition)
        partition.erase(0, partition.size)
        partition.write(0, raw[:_SHORT])

    bench.change(half)
    bench.started()
    bench.holds(raw)


@SUITE.case(
    "recorded-packages",
    "The packages of the official packers are installed",
    "tests/data/rbl",
    needs=["vectors"],
)
def recorded(bench: BootBench) -> None:
    """What is really in the field. They go to another partition, since they hold no application."""
    rows = bench.vectors()
    for row in rows:
        gzip = row["compress"] == "gzip" and not bench.target.is_qboot
        if gzip or row["size_package"] < _MIN_BODY or row["size_raw"] < _MIN_BODY:
            continue
        folder = bench.target.vectors
        assert folder is not None  # noqa: S101 - the case needs it
        package = with_header((folder / row["rbl"]).read_bytes(), name=OTHER.encode())
        bench.download(package)
        bench.started()
        bench.holds((folder / row["raw"]).read_bytes(), OTHER)
        bench.keeps_old()


@SUITE.case(
    "download-released", "The first block of `download` is erased", "rbl-format 3.2 step 8", needs=["rt_ota"]
)
def released(bench: BootBench) -> None:
    """It is how rt_ota marks a package as done; a device that resumes a download must know of it."""
    bench.download(bench.package())
    bench.started()
    expect(bench.read("download", 0, 4096) == b"\xff" * 4096, "4096 erased bytes", "others")


@SUITE.case(
    "release-sign", "The release sign is written behind the package", "rbl-format 5.1", needs=["qboot"]
)
def sign(bench: BootBench) -> None:
    """QBoot does not erase `download`; the sign says that the package is done."""
    package = bench.package()
    bench.download(package)
    bench.started()
    offset = -(-len(package) // 32) * 32
    expect_equal(bench.read("download", offset, 4), bytes(4), "the sign")


@SUITE.case(
    "console-rt-ota",
    "The console tells of the upgrade",
    "rbl-format 3.2",
    severity=Severity.SHOULD,
    needs=["rt_ota"],
)
def console_rt_ota(bench: BootBench) -> None:
    """Tools and people wait for these lines."""
    bench.download(bench.package())
    _tells(
        bench,
        "Verify 'download' partition(fw ver: 2.0.0, timestamp: 1546300800) success.",
        "OTA firmware(app) upgrade(1.0.0->2.0.0) startup.",
        "Verify 'app' partition(fw ver: 2.0.0, timestamp: 1546300800) success.",
        "The Bootloader will go to user application now.",
    )


@SUITE.case(
    "console-qboot",
    "The console tells of the release",
    "rbl-format 5.1",
    severity=Severity.SHOULD,
    needs=["qboot"],
)
def console_qboot(bench: BootBench) -> None:
    """Tools and people wait for these lines."""
    bench.download(bench.package())
    _tells(bench, "Release firmware success from download to app.", "Jump to application running ...")


def _tells(bench: BootBench, *lines: str) -> None:
    console = bench.started().console
    at = 0
    for line in lines:
        found = console.find(line, at)
        expect(found >= 0, f"the line {line!r}", "none, or in another order")
        at = found
