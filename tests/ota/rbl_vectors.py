"""The recorded packages of tests/data/rbl, and packages with planted faults."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cloudsdk.ota.header import HEADER_SIZE, RblHeader

DATA = Path(__file__).parent.parent / "data" / "rbl"
EDGE = DATA / "edge"
KEY = b"0123456789ABCDEF0123456789ABCDEF"
IV = b"0123456789ABCDEF"
RAW_16 = bytes(range(16))


@dataclass(frozen=True, slots=True)
class Vector:
    id: str
    facts: dict[str, Any]

    @property
    def path(self) -> Path:
        return DATA / str(self.facts["rbl"])

    @property
    def package(self) -> bytes:
        return self.path.read_bytes()

    @property
    def raw(self) -> bytes:
        return (DATA / str(self.facts["raw"])).read_bytes()

    @property
    def official(self) -> bool:
        return bool(self.facts["flavour"] == "official")

    @property
    def product_code(self) -> str:
        return str(self.facts["sn" if self.official else "product"])


VECTORS = [
    Vector(f"{facts['flavour']}-{facts['case']}", facts)
    for facts in json.loads((DATA / "index.json").read_text(encoding="utf-8"))
]


def vector(identity: str) -> Vector:
    return next(v for v in VECTORS if v.id == identity)


def blocks_of(body: bytes) -> Iterator[bytes]:
    """The blocks of an unencrypted QuickLZ or FastLZ body."""
    position = 0
    while position < len(body):
        length = int.from_bytes(body[position : position + 4], "big")
        yield body[position + 4 : position + 4 + length]
        position += 4 + length


def rebuild(package: bytes, body: bytes | None = None, **changes: Any) -> bytes:
    """`package` with another body or other header fields, lengths and CRCs made right again."""
    header = RblHeader.unpack(package)
    fields = {name: getattr(header, name) for name in ("algo", "algo2", "timestamp", "name", "version")}
    fields |= {name: getattr(header, name) for name in ("product_code", "raw_hash", "raw_size")}
    fields |= changes
    body = package[HEADER_SIZE:] if body is None else body
    fields |= {"body_crc32": zlib.crc32(body), "body_size": len(body)}
    return RblHeader.build(**fields).pack() + body


def with_header(package: bytes, **changes: Any) -> bytes:
    """`package` with header fields overwritten and nothing but the header CRC made right."""
    header = replace(RblHeader.unpack(package), **changes)
    return header.with_crc().pack() + package[HEADER_SIZE:]
