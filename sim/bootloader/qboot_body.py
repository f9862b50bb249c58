"""How QBoot V1.0.5 decodes a body: 1024 bytes are read, decrypted, decoded as far as they go; then the next.

Pure: bytes in, rounds out. Its work buffers are small, and nothing guards them (rbl-format 5.1).
"""

import zlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH
from cloudsdk.ota.errors import CodecError
from cloudsdk.ota.header import Compression, Encryption, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.padding import CIPHER_BLOCK_SIZE
from sim.bootloader.body import decrypted

PIECE: Final = 4096  # bytes of the buffer that one block or one inflate call fills
READ: Final = 1024  # bytes of the body that one round reads
WORK_BUFFER: Final = PIECE + READ  # bytes of body that wait for the rest of their block
GZIP_UNIT: Final = 32  # bytes; inflated firmware is written in multiples of this, the last one filled up
GZIP_WINDOW: Final = 47  # window bits: zlib or gzip, by the wrapper (rbl-format 2.4)
COMPRESSIONS: Final = (Compression.NONE, Compression.GZIP, Compression.QUICKLZ, Compression.FASTLZ)
ENCRYPTIONS: Final = (Encryption.NONE, Encryption.AES256)
#: Rounds after the end of a gzip body that are followed, each repeating its last bytes, until it is a hang.
MAX_IDLE_ROUNDS: Final = 4096
_MAX_LENGTH: Final = 2**31 - 1  # a block length is a signed int to QBoot; it waits for ever on a negative one


@dataclass(frozen=True, slots=True)
class Round:
    """What one read gives: decoded pieces, and the tail of a gzip body that is no whole unit.

    At most one of the rest is set: the data is `damaged`, or the text says why it is a `hang` or a `crash`.
    """

    pieces: tuple[bytes, ...] = ()
    tail: bytes = b""
    damaged: bool = False
    hang: str = ""
    crash: str = ""

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces)) + len(self.tail)


Rounds = Generator[Round, None, None]


def rounds(header: RblHeader, body: bytes, keys: PackageKeys, *, tail_size: int = 0) -> Rounds:
    """Decode `body` until `header.raw_size` bytes came out or something went wrong.

    Its algorithms are among `COMPRESSIONS` and `ENCRYPTIONS`. A gzip tail counts as `tail_size` bytes, 0
    meaning as many as it has.
    """
    # What QBoot makes of a partial cipher block is up to stale memory; here the missing bytes are zeros.
    filled = body + bytes(-len(body) % CIPHER_BLOCK_SIZE)
    plain = decrypted(header, filled, keys)[: len(body)]
    match header.compression:
        case Compression.NONE:
            return _plain(plain, header.raw_size)
        case Compression.GZIP:
            return _inflated(plain, header.raw_size, tail_size)
        case _:
            return _blocks(plain, header.raw_size, quick=header.compression is Compression.QUICKLZ)


def _plain(body: bytes, raw_size: int) -> Rounds:
    done = 0
    while done < raw_size:
        piece = body[done : done + READ]
        if not piece:
            yield _starved(done, raw_size)
            return
        yield Round((piece,))
        done += len(piece)


def _blocks(body: bytes, raw_size: int, *, quick: bool) -> Rounds:
    decode = _quicklz if quick else _fastlz
    begin = end = 0  # of the bytes in the work buffer
    done = 0
    while done < raw_size:
        taken = min(READ, len(body) - end)
        if not taken:
            yield _starved(done, raw_size)
            return
        if end - begin + taken > WORK_BUFFER:
            yield Round(
                crash=f"a block at {begin} of the body does not end in QBoot's work buffer of {WORK_BUFFER} "
                "bytes, which overflows (rbl-format 5.1)"
            )
            return
        end += taken
        pieces: list[bytes] = []
        while end - begin >= BLOCK_LENGTH.size:
            (length,) = BLOCK_LENGTH.unpack_from(body, begin)
            start = begin + BLOCK_LENGTH.size
            if not 0 < length <= _MAX_LENGTH or start + length > end:
                break
            try:
                piece = decode(body[start : start + length])
            except CodecError:
                yield Round(tuple(pieces), damaged=True)
                return
            except _BlockTooLargeError as error:
                yield Round(tuple(pieces), crash=str(error))
                return
            pieces.append(piece)
            done += len(piece)
            begin = start + length
        yield Round(tuple(pieces))


class _BlockTooLargeError(Exception):
    """A block is decoded over the end of its buffer."""


def _quicklz(block: bytes) -> bytes:
    raw_size = quicklz.read_header(block).raw_size
    if raw_size > PIECE:
        raise _BlockTooLargeError(f"a block of {raw_size} raw bytes overruns QBoot's buffer of {PIECE} bytes")
    return _not_empty(quicklz.decompress(block, PIECE))


def _fastlz(block: bytes) -> bytes:
    return _not_empty(fastlz.decompress(block, PIECE))


def _not_empty(raw: bytes) -> bytes:
    if not raw:
        raise CodecError("a block decodes to nothing")
    return raw


def _inflated(body: bytes, raw_size: int, tail_size: int) -> Rounds:
    inflater = zlib.decompressobj(GZIP_WINDOW)
    waiting_raw = b""  # less than a unit
    position = done = idle = 0
    while done < raw_size:
        stored = body[position : position + READ]
        position += len(stored)
        pieces: list[bytes] = []
        complete = False
        source = stored
        while not complete:
            space = PIECE - len(waiting_raw)
            try:
                raw = inflater.decompress(source, space)
            except zlib.error:
                yield Round(tuple(pieces), damaged=True)
                return
            source = inflater.unconsumed_tail
            complete = len(raw) < space
            raw = waiting_raw + raw
            whole = len(raw) - len(raw) % GZIP_UNIT
            waiting_raw = raw[whole:]
            if whole:
                pieces.append(raw[:whole])
                done += whole
        tail = waiting_raw if len(stored) < READ else b""
        if tail:
            done += tail_size or len(tail)
        if not (stored or pieces):
            idle += 1
            if not tail or idle > MAX_IDLE_ROUNDS:
                yield _starved(done, raw_size)
                return
        yield Round(tuple(pieces), tail)


def _starved(done: int, raw_size: int) -> Round:
    return Round(
        hang=f"the body ends after {done} of {raw_size} raw bytes, and QBoot goes on waiting for the rest "
        "(rbl-format 5.1)"
    )
