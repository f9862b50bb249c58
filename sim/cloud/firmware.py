"""How a firmware file goes out: transport encryption, ranges and validators (cloudsdk-protocol 3.3 to 3.5,
RFC 9110 sections 13 and 14). Pure, but for reading the file.

The body is one AES-256-CBC stream over the whole package, zero padded to whole blocks. All offsets are bytes
of that body.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cloudsdk.ota.transport import cipher, rounded
from sim.cloud.errors import StorageError

PIECE: Final = 64 * 1024  # bytes per piece of a body; whole cipher blocks
_MAX_DIGITS: Final = 18  # of an offset; more than any file needs

_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE | re.ASCII)
_ENTITY_TAG: Final = re.compile(r'(W/)?("[^"]*")')


@dataclass(frozen=True, slots=True)
class FirmwareRequest:
    """The parts of an HTTP request that decide the response; None where a field is absent."""

    method: str
    range: str | None = None
    if_range: str | None = None
    if_none_match: str | None = None


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """Status, header fields, and the bytes [start, end) of the body that follow."""

    status: int
    headers: tuple[tuple[str, str], ...]
    start: int
    end: int


class _UnsatisfiableError(Exception):
    """The range begins behind the body."""


def entity_tag(device_key: str, sha256: str) -> str:
    """A strong entity tag, quoted. The body depends on content and DeviceKey, so the tag does too."""
    digest = hmac.new(device_key.encode(), sha256.encode(), hashlib.sha256).hexdigest()
    return f'"{digest[:32]}"'


def plan_response(request: FirmwareRequest, size: int, etag: str) -> ResponsePlan:
    """What to answer for a body of `size` bytes with the strong tag `etag`.

    A range that cannot be parsed and a request for several ranges get the whole body, as RFC 9110 14.2
    allows; the device asks for one open range (3.3).
    """
    common = (("ETag", etag), ("Accept-Ranges", "bytes"), ("Cache-Control", "private, no-transform"))
    if request.if_none_match is not None and _none_match(request.if_none_match, etag):
        return ResponsePlan(304, common, 0, 0)
    kind = ("Content-Type", "application/octet-stream")
    wanted: tuple[int, int] | None = None
    # RFC 9110 14.2: Range is defined for GET only. 13.1.5: If-Range needs a strong match.
    if request.method == "GET" and request.range is not None and request.if_range in (None, etag):
        try:
            wanted = _parse_range(request.range, size)
        except _UnsatisfiableError:
            headers = (*common, ("Content-Range", f"bytes */{size}"), ("Content-Length", "0"))
            return ResponsePlan(416, headers, 0, 0)
    start, end = wanted or (0, size)
    headers = (*common, kind, ("Content-Length", str(end - start)))
    if wanted is None:
        return ResponsePlan(200, headers, start, end if request.method == "GET" else start)
    return ResponsePlan(206, (*headers, ("Content-Range", f"bytes {start}-{end - 1}/{size}")), start, end)


def ranged_body(path: Path, size: int, device_key: str, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes [start, end) of the encrypted body in pieces of at most `PIECE` bytes.

    `size` is the length of the package in bytes. CBC chains from the first block, so the part before `start`
    is encrypted too and dropped. Raises `StorageError` if the file cannot be read or is shorter than `size`.
    """
    encryptor = cipher(device_key).encryptor()
    try:
        with path.open("rb") as file:
            for offset in range(0, min(end, rounded(size)), PIECE):
                plain = file.read(min(PIECE, size - offset))
                if len(plain) < min(PIECE, size - offset):
                    raise StorageError("a stored package is shorter than it was")
                encrypted = encryptor.update(plain.ljust(rounded(len(plain)), b"\0"))
                piece = encrypted[max(start - offset, 0) : end - offset]
                if piece:
                    yield piece
    except OSError as exc:
        raise StorageError(f"cannot read a stored package: {exc.strerror}") from exc


def _parse_range(text: str, size: int) -> tuple[int, int] | None:
    """[start, end) of a single byte range; None to ignore the header."""
    match = _RANGE.fullmatch(text)
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = (_number(digits) if digits else None for digits in match.groups())
    if first is None:
        if not last:
            raise _UnsatisfiableError
        return max(size - last, 0), size
    if last is not None and last < first:
        return None
    if first >= size:
        raise _UnsatisfiableError
    return first, size if last is None else min(last + 1, size)


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def _none_match(header: str, etag: str) -> bool:
    # RFC 9110 13.1.2: weak comparison, which looks at the opaque tag only.
    return header.strip() == "*" or any(tag == etag for _weak, tag in _ENTITY_TAG.findall(header))
