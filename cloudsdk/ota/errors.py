"""What can be wrong with an `.rbl` package. Every code is listed here and stable across releases."""

from typing import ClassVar

from cloudsdk.errors import CloudSdkError


class PackageError(CloudSdkError):
    """A package, or the request to make one, that cannot be honoured."""

    code: ClassVar[str] = "rbl.error"


class HeaderShortError(PackageError):
    """Fewer bytes than one header."""

    code = "rbl.header-short"


class MagicError(PackageError):
    """The first four bytes are not "RBL" and a NUL."""

    code = "rbl.magic"


class HeaderCrcError(PackageError):
    """The header's own CRC-32 does not match: none of its fields can be trusted."""

    code = "rbl.header-crc"


class LengthError(PackageError):
    """The body is shorter or longer than the header says."""

    code = "rbl.length"


class BodyCrcError(PackageError):
    """The CRC-32 over the body as stored does not match."""

    code = "rbl.body-crc"


class AlgorithmError(PackageError):
    """A compression or encryption that is unknown, or that cannot be done here."""

    code = "rbl.algorithm"


class CodecError(PackageError):
    """A compressed or encrypted body that breaks the rules of its format."""

    code = "rbl.codec"


class PackageKeyError(PackageError):
    """A missing or unusable AES key or IV. The text of the error never holds either."""

    code = "rbl.key"
    exit_status = 2


class FieldError(PackageError):
    """A value that the header cannot hold."""

    code = "rbl.field"
    exit_status = 2


class ImageError(PackageError):
    """An input file that is no usable firmware image."""

    code = "rbl.image"
    exit_status = 2


class RawSizeError(PackageError):
    """The body decodes to fewer bytes than the header promises."""

    code = "rbl.raw-size"


class HashError(PackageError):
    """The decoded firmware does not have the hash of the header."""

    code = "rbl.hash"


class VerifyError(PackageError):
    """At least one check of a package failed."""

    code = "rbl.verify"


class LintError(PackageError):
    """A package that the board it was checked for cannot install."""

    code = "rbl.lint"


class IncomparableError(PackageError):
    """Two packages of which at least one cannot be decoded."""

    code = "rbl.incomparable"
    exit_status = 2
