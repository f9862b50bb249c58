"""Turn a package into what the packer of the other flavour would have written (rbl-format 1, 2.6 and 5)."""

from typing import BinaryIO

from cloudsdk.ota.body import BodyReader, check_algorithm
from cloudsdk.ota.errors import FieldError
from cloudsdk.ota.header import Flavour, RblHeader
from cloudsdk.ota.pack import text_limits
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY, Package
from cloudsdk.ota.writer import PackageWriter


def convert(
    package: Package,
    target: BinaryIO,
    flavour: Flavour,
    key: bytes | None = DEFAULT_KEY,
    iv: bytes | None = DEFAULT_IV,
) -> RblHeader:
    """Write `package` in another flavour to the seekable `target` and return the new header.

    Hash, `algo2` and padding become those of `flavour`; text, timestamp and compressed blocks stay, since
    both packers use the same encoders (rbl-format 5). Converting to the flavour a package has already gives
    it that flavour's padding.

    Raises a `PackageError` like `Package.extract` before anything is written, and `FieldError` for text that
    does not fit the flavour.
    """
    header = package.header
    for _ in package.extract(key, iv):  # no new checksums over something that is damaged
        pass
    text = {"name": header.name, "version": header.version, "product_code": header.product_code}
    for field, stored in text.items():
        limit = getattr(text_limits(flavour), field)
        if stored[limit:].strip(b"\0"):
            raise FieldError(
                f"the {field.replace('_', ' ')} has more than the {limit} characters of a {flavour} package: "
                "pack again with a shorter one"
            )
    compression, encryption = check_algorithm(header)
    reader = BodyReader(header, package.body(), key, iv)
    writer = PackageWriter(
        target, compression=compression, encryption=encryption, key=key, iv=iv, flavour=flavour
    )
    missing = header.raw_size
    for frame in reader.frames():
        raw = frame.raw[:missing]
        missing -= len(raw)
        writer.add_raw(raw)
        writer.add_stored(frame.stored)
    return writer.finish(timestamp=header.timestamp, **text)
