"""What is refused: the old application stays and is started (rbl-format 3, 5, threats)."""

import zlib

from cloudsdk.ota.header import HEADER_SIZE, Compression, RblHeader
from cloudsdk.ota.keys import PackageKeys
from sim.conformance.bootloader.bench import SUITE, BootBench, with_header
from sim.conformance.case import expect


@SUITE.case("refuse-rubbish", "What is no package is left alone", "rbl-format 3.2")
def rubbish(bench: BootBench) -> None:
    """`download` is also a place for whatever the application keeps there."""
    bench.refuses(bytes(index * 13 & 0xFF for index in range(5000)))


@SUITE.case("refuse-header-crc", "A header with a wrong CRC is refused", "rbl-format 1")
def header_crc(bench: BootBench) -> None:
    """It is what is left when power went during the download of the first block."""
    package = bench.package()
    bench.refuses(with_header(package, header_crc32=RblHeader.unpack(package).header_crc32 ^ 1))


@SUITE.case("refuse-body-crc", "A body that does not fit its CRC is refused", "rbl-format 1, 3.2")
def body_crc(bench: BootBench) -> None:
    """The CRC is what a device and a cloud have looked at, too; the firmware behind it is sound here."""
    package = bench.package()
    bench.refuses(with_header(package, body_crc32=RblHeader.unpack(package).body_crc32 ^ 1))


@SUITE.case(
    "refuse-flipped-bit", "A body with a flipped bit is refused", "rbl-format 3.2, threats: bit flips"
)
def flipped_bit(bench: BootBench) -> None:
    """Nothing is erased before the whole package was checked."""
    package = bytearray(bench.package())
    package[HEADER_SIZE + 4321] ^= 0x10
    bench.refuses(bytes(package))


@SUITE.case("refuse-truncated", "A package that ends early is refused", "threats: truncated body")
def truncated(bench: BootBench) -> None:
    """The rest of the partition is erased flash."""
    bench.refuses(bench.package()[:-1000])


@SUITE.case(
    "refuse-unknown-partition",
    "A package for a partition that is not there is refused",
    "threats: wrong partition name",
)
def unknown_partition(bench: BootBench) -> None:
    """The target of a typing error is nothing, not the application."""
    bench.refuses(bench.package(name="nosuch"))


@SUITE.case(
    "refuse-wrong-key", "A package for another key is refused", "threats: wrong key or IV, incorrect signing"
)
def wrong_key(bench: BootBench) -> None:
    """The CRC of the body is right; only the decoded firmware tells."""
    keys = PackageKeys(bench.target.keys.key[::-1], bench.target.keys.iv)
    bench.refuses(bench.package(compression=Compression.QUICKLZ, encrypted=True, keys=keys))


@SUITE.case("refuse-wrong-hash", "A firmware that does not fit its hash is refused", "rbl-format 1, 3.2")
def wrong_hash(bench: BootBench) -> None:
    """The hash covers the raw firmware, behind decryption and decompression."""
    package = bench.package()
    bench.refuses(with_header(package, raw_hash=RblHeader.unpack(package).raw_hash ^ 1))


@SUITE.case(
    "refuse-corrupt-stream",
    "A compressed stream that is none is refused",
    "threats: corrupt compressed stream",
)
def corrupt_stream(bench: BootBench) -> None:
    """Its CRC is right: it was damaged, or made, before it was packed."""
    package = bytearray(bench.package(compression=Compression.QUICKLZ))
    package[HEADER_SIZE + 4 :] = bytes(byte ^ 0xA5 for byte in package[HEADER_SIZE + 4 :])
    bench.refuses(with_header(bytes(package), body_crc32=zlib.crc32(bytes(package[HEADER_SIZE:]))))


@SUITE.case("refuse-algorithm", "An algorithm that the bootloader does not have is refused", "rbl-format 1.1")
def algorithm(bench: BootBench) -> None:
    """Later packers have more of them."""
    bench.refuses(with_header(bench.package(), algo=0x0F00))


@SUITE.case("refuse-too-large", "A firmware beyond its partition is refused", "threats: longer than declared")
def too_large(bench: BootBench) -> None:
    """The partition behind belongs to somebody else."""
    size = next(entry.length for entry in bench.layout.partitions if entry.name == bench.layout.app.partition)
    boot = bench.refuses(with_header(bench.package(), raw_size=size + 4096))
    expect(boot.started, "an application started", "none")
