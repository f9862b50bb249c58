"""Coverage-guided fuzzing of everything that reads a package, with atheris.

usage: fuzz_packages.py TARGET [libFuzzer options] [corpus directory ...]

A target takes any bytes and returns; the only exceptions it lets pass are defects.
"""

import sys
from collections.abc import Callable
from types import ModuleType

TARGET_NAMES = ("header", "framing", "quicklz", "fastlz", "padding")


def load() -> dict[str, Callable[[bytes], None]]:
    """The targets. Imported here, so that atheris can instrument what they use."""
    from cloudsdk.errors import CloudSdkError
    from cloudsdk.ota.body import decode
    from cloudsdk.ota.codecs.native import fastlz as c_fastlz
    from cloudsdk.ota.codecs.native import quicklz as c_quicklz
    from cloudsdk.ota.codecs.pure import fastlz as pure_fastlz
    from cloudsdk.ota.codecs.pure import quicklz as pure_quicklz
    from cloudsdk.ota.header import Compression, Encryption, RblHeader

    key, iv, limit = b"0123456789ABCDEF" * 2, b"0123456789ABCDEF", 20_000
    compressions = [c for c in Compression if c is not Compression.HPATCHLITE]
    raw = b"push {r4, lr}; mov r0, #0; pop {r4, pc}; " * 20

    def header_for(algo: int, raw_size: int) -> RblHeader:
        return RblHeader(b"RBL\0", algo, 0, 0, bytes(16), bytes(24), bytes(24), 0, 0, raw_size, 0, 0)

    def header(data: bytes) -> None:
        try:
            found = RblHeader.unpack(data)
        except CloudSdkError:
            return
        if found.pack() != data[: len(found.pack())]:
            raise AssertionError("a header changed on its way")

    def framing(data: bytes) -> None:
        if len(data) < 2:
            return
        compression = compressions[data[0] % len(compressions)]
        encryption = (Encryption.NONE, Encryption.AES256)[data[0] >> 7]
        step = data[1] + 1
        pieces = (data[at : at + step] for at in range(2, len(data), step))
        decoded = 0
        try:
            for piece in decode(header_for(compression | encryption, limit), pieces, key, iv):
                decoded += len(piece)
        except CloudSdkError:
            pass
        if decoded > limit:
            raise AssertionError("more than the raw size came out")

    def twins(python: ModuleType, c: ModuleType) -> Callable[[bytes], None]:
        def outcome(codec: ModuleType, data: bytes) -> object:
            try:
                return codec.decompress(data, limit)
            except CloudSdkError as error:
                return error.code, str(error)

        def target(data: bytes) -> None:
            if outcome(python, data) != outcome(c, data):
                raise AssertionError("the C core and its twin do not agree on a block")
            if data:
                block = c.compress(data)
                if block != python.compress(data) or c.decompress(block, len(data)) != data:
                    raise AssertionError("the C core and its twin do not agree on raw data")

        return target

    def padding(data: bytes) -> None:
        """Whatever follows the blocks, the firmware before it is whole."""
        for compression, codec in ((Compression.QUICKLZ, c_quicklz), (Compression.FASTLZ, c_fastlz)):
            body = codec.compress_framed(raw, 4096) + data
            if b"".join(decode(header_for(compression, len(raw)), [body], key, iv)) != raw:
                raise AssertionError("padding reached the firmware")
            try:
                decoded = b"".join(decode(header_for(compression, limit), [body], key, iv))
            except CloudSdkError:
                continue
            if not decoded.startswith(raw):
                raise AssertionError("padding changed the firmware")

    functions = (
        header,
        framing,
        twins(pure_quicklz, c_quicklz),
        twins(pure_fastlz, c_fastlz),
        padding,
    )
    return dict(zip(TARGET_NAMES, functions, strict=True))


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=["cloudsdk.ota"]):
        targets = load()
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
