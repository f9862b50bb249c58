"""Writes what fuzzing starts from: the blocks and raw firmware of the recorded packages, and corner cases.

usage: fuzz_corpus.py FILE [DIRECTORY]
FILE gets the records of fuzz_core (u32le length, bytes), DIRECTORY whole packages as a corpus for atheris.
"""

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "ota"))

from rbl_vectors import DATA, VECTORS, blocks_of

from cloudsdk.ota.codecs import fastlz, quicklz
from cloudsdk.ota.header import HEADER_SIZE

RECORD_LENGTH = struct.Struct("<I")
SIZES = (1, 3, 9, 10, 12, 31, 32, 33, 215, 216, 1000, 4096)


def records() -> Iterator[bytes]:
    seen: set[bytes] = set()
    for v in VECTORS:
        if v.id.endswith(("quicklz__plain", "fastlz__plain")):
            seen.update(blocks_of(v.package[HEADER_SIZE:]))
            seen.add(v.package[HEADER_SIZE:][:12_000])
        seen.add(v.raw[:5000])
    rng = random.Random(0)
    for size in SIZES:
        for raw in (rng.randbytes(size), b"\xff" * size, bytes(size), bytes(range(256)) * 16, b"ab" * size):
            piece = raw[:4096]
            seen |= {piece, quicklz.compress(piece), fastlz.compress(piece)}
    # Level 2, which no recorded package has: a far match, and a match that goes on after 255.
    runs = b"".join(bytes((31,)) + rng.randbytes(32) for _ in range(258))
    seen.add(bytes((runs[0] | 1 << 5,)) + runs[1:] + bytes.fromhex("3fff0010"))
    seen.add(bytes.fromhex("22 616263 e0") + b"\xff" * 40 + bytes.fromhex("00 02"))
    return iter(sorted(seen))


def main(file: str, directory: str | None = None) -> None:
    Path(file).write_bytes(b"".join(RECORD_LENGTH.pack(len(record)) + record for record in records()))
    if directory is not None:
        for path in sorted(DATA.rglob("*.rbl")):
            if path.stat().st_size < 20_000:
                (Path(directory) / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
