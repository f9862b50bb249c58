"""Codecs against other implementations, on bodies as packages have them: 4096 raw bytes per block.

    .venv/bin/pip install -e '.[bench]'
    .venv/bin/python benchmarks/codecs.py [--json]

Each cell is the best of many runs; the contestants take turns, so that a busy machine slows all of them. A
body is coded as a whole: where an implementation knows single blocks only, a loop like the one of
`codecs.framing` puts their lengths in front. `single` is one call for one block, with all that it costs.
"""

import argparse
import json
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import fastlz as pyfastlz  # of pyfastlz
import quicklz as pyquicklz  # of pyquicklz
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from cloudsdk.ota.codecs import fastlz, implementation, quicklz
from cloudsdk.ota.codecs.fnv import fnv1a32
from cloudsdk.ota.codecs.framing import BLOCK_LENGTH, frame
from cloudsdk.ota.codecs.pure import fastlz as pure_fastlz
from cloudsdk.ota.codecs.pure import fnv as pure_fnv
from cloudsdk.ota.codecs.pure import quicklz as pure_quicklz

PIECE_SIZE: Final = 4096
MAX_BLOCK_SIZE: Final = 128 * 1024
RAW_SIZE: Final = 25 * PIECE_SIZE  # bytes
FIRMWARE: Final = Path(__file__).parent.parent / "tests/data/rbl/raw/d_100k_fw.bin"
AES_SIZE: Final = 16 * 1024 * 1024  # bytes
AES_CHUNKS: Final = (1024, 4096, 8192, 16384, 32768, 65536, 262144, AES_SIZE)
ROUNDS: Final = 60
SLOW_ROUNDS: Final = 3

Row = dict[str, Any]

DATA: Final = {
    "firmware": FIRMWARE.read_bytes()[:RAW_SIZE],
    "random": random.Random(1).randbytes(RAW_SIZE),
    "0xFF": b"\xff" * RAW_SIZE,
}


@dataclass(frozen=True, slots=True)
class Contestant:
    """One implementation: a whole body, and one block, both ways."""

    codec: str
    name: str
    encode_body: Callable[[bytes], bytes]
    decode_body: Callable[[bytes], bytes]
    encode: Callable[[bytes], bytes]
    decode: Callable[..., bytes]
    rounds: int = ROUNDS
    limit: tuple[int, ...] = ()  # what `decode` takes behind the block


def block_decoder(decode: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A body, one block at a time."""

    def decode_body(body: bytes) -> bytes:
        pieces = []
        position = 0
        while position < len(body):
            (length,) = BLOCK_LENGTH.unpack_from(body, position)
            position += BLOCK_LENGTH.size
            pieces.append(decode(body[position : position + length]))
            position += length
        return b"".join(pieces)

    return decode_body


def by_block(
    codec: str,
    name: str,
    encode: Callable[[bytes], bytes],
    decode: Callable[[bytes], bytes],
    rounds: int = ROUNDS,
) -> Contestant:
    return Contestant(
        codec, name, lambda raw: frame(raw, PIECE_SIZE, encode), block_decoder(decode), encode, decode, rounds
    )


def core(name: str, module: ModuleType) -> Contestant:
    """Ours, the way `body` and `pack` call it."""

    def decode_body(body: bytes) -> bytes:
        waiting = bytearray(body)
        pieces = []
        while waiting:
            raw, used = module.decompress_front(waiting, MAX_BLOCK_SIZE)
            pieces.append(raw)
            del waiting[:used]
        return b"".join(pieces)

    return Contestant(
        name,
        "cloudsim C",
        lambda raw: module.compress_framed(raw, PIECE_SIZE),
        decode_body,
        module.compress,
        module.decompress,
        limit=(PIECE_SIZE,),
    )


def contestants() -> list[Contestant]:
    return [
        core("FastLZ", fastlz),
        by_block("FastLZ", "pyfastlz", pyfastlz.compress, pyfastlz.decompress),
        by_block(
            "FastLZ",
            "cloudsim Python",
            pure_fastlz.compress,
            lambda b: pure_fastlz.decompress(b, 4096),
            SLOW_ROUNDS,
        ),
        core("QuickLZ", quicklz),
        by_block("QuickLZ", "pyquicklz", pyquicklz.compress, pyquicklz.decompress),
        by_block(
            "QuickLZ",
            "cloudsim Python",
            pure_quicklz.compress,
            lambda b: pure_quicklz.decompress(b, 4096),
            SLOW_ROUNDS,
        ),
        by_block("zlib", "zlib", zlib.compress, zlib.decompress, ROUNDS // 4),
    ]


def best_times(calls: list[tuple[Callable[[], object], int]]) -> list[float]:
    """The shortest time of each call in seconds; they take turns, each as often as it is asked to."""
    best = [float("inf")] * len(calls)
    for turn in range(max(rounds for _, rounds in calls)):
        for index, (call, rounds) in enumerate(calls):
            if turn < rounds:
                start = time.perf_counter()
                call()
                best[index] = min(best[index], time.perf_counter() - start)
    return best


def each(function: Callable[..., bytes], items: list[tuple[object, ...]]) -> None:
    for item in items:
        function(*item)


def measure_codecs() -> list[Row]:
    rows: list[Row] = []
    for kind, raw in DATA.items():
        everyone = contestants()
        pieces = [raw[at : at + PIECE_SIZE] for at in range(0, len(raw), PIECE_SIZE)]
        bodies = [one.encode_body(raw) for one in everyone]
        blocks = [[one.encode(piece) for piece in pieces] for one in everyone]
        for one, body in zip(everyone, bodies, strict=True):
            assert one.decode_body(body) == raw, one.name
        actions: dict[str, list[tuple[Callable[[], object], int]]] = {
            "encode": [(partial(one.encode_body, raw), one.rounds) for one in everyone],
            "decode": [
                (partial(one.decode_body, body), one.rounds)
                for one, body in zip(everyone, bodies, strict=True)
            ],
            "single encode": [
                (partial(each, one.encode, [(piece,) for piece in pieces]), one.rounds) for one in everyone
            ],
            "single decode": [
                (partial(each, one.decode, [(block, *one.limit) for block in own]), one.rounds)
                for one, own in zip(everyone, blocks, strict=True)
            ],
        }
        times = {action: best_times(calls) for action, calls in actions.items()}
        for index, one in enumerate(everyone):
            rows.append(
                {"codec": one.codec, "data": kind, "implementation": one.name, "size": len(bodies[index])}
                | {action: round(len(raw) / taken[index] / 1e6, 1) for action, taken in times.items()}
            )
    return rows


def measure_fnv() -> dict[str, float]:
    raw = DATA["firmware"]
    c, python = best_times([(lambda: fnv1a32(raw), ROUNDS), (lambda: pure_fnv.fnv1a32(raw), SLOW_ROUNDS)])
    return {"cloudsim C": round(len(raw) / c / 1e6, 1), "cloudsim Python": round(len(raw) / python / 1e6, 1)}


def measure_aes() -> dict[int, float]:
    """AES-256-CBC decryption in MB/s, by the bytes of one update."""
    body = bytes(AES_SIZE)
    cipher = Cipher(AES(bytes(32)), CBC(bytes(16)))

    def decrypt(chunk: int) -> None:
        decryptor = cipher.decryptor()
        for at in range(0, len(body), chunk):
            decryptor.update(body[at : at + chunk])

    taken = best_times([(partial(decrypt, chunk), 8) for chunk in AES_CHUNKS])
    return {chunk: round(AES_SIZE / one / 1e6, 1) for chunk, one in zip(AES_CHUNKS, taken, strict=True)}


def measure_imports() -> dict[str, float]:
    """Milliseconds that importing the codecs adds to a bare interpreter, each way."""
    code = (
        "import time; start = time.perf_counter()\n"
        "from cloudsdk.ota.codecs import fastlz, fnv, quicklz\n"
        "print(time.perf_counter() - start)"
    )
    results = {}
    for name, value in (("cloudsim C", "0"), ("cloudsim Python", "1")):
        command, environment = [sys.executable, "-c", code], {"CLOUDSIM_PURE": value}
        taken = [float(subprocess.check_output(command, env=environment, text=True)) for _ in range(20)]
        results[name] = round(min(taken) * 1e3, 2)
    return results


def ratios(rows: list[Row]) -> list[Row]:
    """Ours by theirs, for each codec and kind of data."""
    found = {(row["codec"], row["data"], row["implementation"]): row for row in rows}
    result: list[Row] = []
    for codec, theirs in (("FastLZ", "pyfastlz"), ("QuickLZ", "pyquicklz")):
        for kind in DATA:
            our, their = found[codec, kind, "cloudsim C"], found[codec, kind, theirs]
            result.append(
                {"codec": codec, "data": kind, "against": theirs}
                | {
                    action: round(our[action] / their[action], 2)
                    for action in ("encode", "decode", "single encode", "single decode")
                }
            )
    return result


def table(rows: list[Row]) -> str:
    names = list(rows[0])
    lines = [names, ["---"] * len(names)] + [[str(row[name]) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def listed(values: Mapping[Any, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def main() -> int:
    parser = argparse.ArgumentParser(description="Codecs against other implementations")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    wants_json = parser.parse_args().json
    if implementation() != "c":
        print("the C core is not in use: install with a C compiler, without CLOUDSIM_PURE", file=sys.stderr)
        return 1
    rows = measure_codecs()
    compared, fnv, aes, imports = ratios(rows), measure_fnv(), measure_aes(), measure_imports()
    if wants_json:
        print(json.dumps({"codecs": rows, "ratios": compared, "fnv": fnv, "aes": aes, "import": imports}))
        return 0
    print(f"MB/s, {RAW_SIZE} raw bytes\n\n{table(rows)}\n\nratios, ours by theirs\n\n{table(compared)}\n")
    print("FNV-1a, MB/s:", listed(fnv))
    print("AES-256-CBC decryption, MB/s by bytes of one update:", listed(aes))
    print(f"fastest update: {max(aes, key=lambda chunk: aes[chunk])} bytes")
    print("import, ms:", listed(imports))
    return 0


if __name__ == "__main__":
    sys.exit(main())
