"""What was decoded is remembered by content, and never answers for another content."""

from collections.abc import Generator
from dataclasses import dataclass

import pytest
from boot_bench import app_image, board_of, booted, cut_at, put, with_header

from cloudsdk.ota.codecs.fnv import fnv1a32
from cloudsdk.ota.header import Compression, Encryption, RblHeader
from cloudsdk.ota.keys import PackageKeys
from cloudsdk.ota.pack import pack
from cloudsdk.ota.package import DEFAULT_IV, DEFAULT_KEY
from sim.bootloader import qboot, qboot_body, rt_ota
from sim.bootloader.decoded import DecodeCache, DecodeKey


@dataclass(frozen=True)
class Piece:
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


KEY = DecodeKey("test", b"header", PackageKeys())


class Decoder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Generator[Piece, None, int]:
        self.calls += 1
        yield Piece(b"one")
        yield Piece(b"two")
        return 7


def drained(source: Generator[Piece, None, int]) -> tuple[list[bytes], int]:
    pieces = []
    while True:
        try:
            pieces.append(next(source).data)
        except StopIteration as stop:
            return pieces, stop.value


def test_second_decode_is_a_comparison() -> None:
    cache, decoder = DecodeCache(), Decoder()
    for _ in range(3):
        assert drained(cache.decoded(KEY, b"body", decoder)) == ([b"one", b"two"], 7)
    assert (decoder.calls, cache.hits) == (1, 2)


@pytest.mark.parametrize(
    ("key", "body"),
    [
        (DecodeKey("other", b"header", PackageKeys()), b"body"),
        (DecodeKey("test", b"Header", PackageKeys()), b"body"),
        (DecodeKey("test", b"header", PackageKeys(b"K" * 32)), b"body"),
        (DecodeKey("test", b"header", PackageKeys(iv=b"I" * 16)), b"body"),
        (KEY, b"Body"),
        (KEY, b"body "),
    ],
)
def test_anything_else_is_decoded_anew(key: DecodeKey, body: bytes) -> None:
    cache, decoder = DecodeCache(), Decoder()
    drained(cache.decoded(KEY, b"body", decoder))
    drained(cache.decoded(key, body, decoder))
    assert (decoder.calls, cache.hits) == (2, 0)


def test_a_decode_left_early_is_not_kept() -> None:
    cache, decoder = DecodeCache(), Decoder()
    next(cache.decoded(KEY, b"body", decoder))
    assert cache.size == 0
    assert drained(cache.decoded(KEY, b"body", decoder)) == ([b"one", b"two"], 7)


def test_used_longest_ago_goes_first() -> None:
    cache, decoder = DecodeCache(limit=30), Decoder()
    for body in (b"aaaa", b"bbbb", b"cccc"):  # 10 bytes each
        drained(cache.decoded(KEY, body, decoder))
    drained(cache.decoded(KEY, b"aaaa", decoder))
    drained(cache.decoded(KEY, b"dddd", decoder))
    assert cache.size == 30
    assert decoder.calls == 4
    drained(cache.decoded(KEY, b"aaaa", decoder))
    assert decoder.calls == 4
    drained(cache.decoded(KEY, b"bbbb", decoder))
    assert decoder.calls == 5


def test_larger_than_the_limit_passes_through() -> None:
    cache, decoder = DecodeCache(limit=9), Decoder()
    for _ in range(2):
        assert drained(cache.decoded(KEY, b"body", decoder)) == ([b"one", b"two"], 7)
    assert (decoder.calls, cache.size) == (2, 0)


def test_hash() -> None:
    cache = DecodeCache()
    for content in (b"", b"a", b"b", b"a"):
        assert cache.fnv1a32(content) == fnv1a32(content)
    assert cache.hits == 1


def test_keys_do_not_show() -> None:
    cache = DecodeCache()
    drained(cache.decoded(KEY, b"body", Decoder()))
    assert DEFAULT_KEY.decode() not in repr(cache) + repr(KEY)


@pytest.mark.parametrize("kind", ["rt_ota", "qboot"])
def test_boots_are_the_same_with_and_without(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same console, result and flash after every boot of an upgrade that loses power, then is repeated."""
    flavour = "qboot" if kind == "qboot" else "official"
    package = pack(
        app_image(60000, 3),
        name="app",
        version="2.0.0",
        timestamp=1,
        compression=Compression.QUICKLZ,
        encryption=Encryption.AES256,
        key=DEFAULT_KEY,
        iv=DEFAULT_IV,
        flavour=flavour,  # type: ignore[arg-type]
    )
    cache = DecodeCache()
    decodes = 0
    module, name = (qboot, "rounds") if kind == "qboot" else (rt_ota, "_decompressed")
    original = getattr(module, name)

    def counted(*args: object, **options: object) -> object:
        nonlocal decodes
        decodes += 1
        return original(*args, **options)

    monkeypatch.setattr(module, name, counted)
    for cut in (None, 5, 9):
        boards = [board_of(kind, cache=cache), board_of(kind)]
        for board in boards:
            put(board, package)
            if cut is not None:
                cut_at(board, cut)
        assert booted(boards[0]) == booted(boards[1])
        for board in boards:
            board.power.disarm()
        assert booted(boards[0]) == booted(boards[1])
        app = [board.partition("app") for board in boards]
        assert app[0].read(0, app[0].size) == app[1].read(0, app[1].size)
        assert boards[0].installed("app") == RblHeader.unpack(package)
    assert decodes > 0
    decodes = 0
    board = board_of(kind, cache=cache)
    put(board, package)
    booted(board)
    assert decodes == 0


def test_another_key_decodes_anew() -> None:
    cache = DecodeCache()
    package = pack(
        app_image(20000, 3),
        name="app",
        version="2",
        timestamp=1,
        encryption=Encryption.AES256,
        key=DEFAULT_KEY,
        iv=DEFAULT_IV,
    )
    for keys, good in ((PackageKeys(), True), (PackageKeys(b"F" * 32), False)):
        board = board_of("rt_ota", keys=keys, cache=cache)
        put(board, package)
        booted(board)
        assert (board.installed("app") == RblHeader.unpack(package)) is good


def test_decoded_body_is_bounded_by_the_raw_size() -> None:
    """A bomb: 64 KiB of gzip that would give 64 MiB."""
    raw = bytes(64 * 1024 * 1024)
    package = pack(raw, name="app", version="2", timestamp=1, compression=Compression.GZIP, flavour="qboot")
    header = RblHeader.unpack(with_header(package, raw_size=5000))
    steps = list(qboot_body.rounds(header, package[96:], PackageKeys()))
    assert sum(step.size for step in steps) < 4 * 1024 * 1024
