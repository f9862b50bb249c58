"""The recorded ENV partitions, and what a cut leaves of them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[1] / "data/easyflash"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An image and what a start of the original found in it."""

    id: str
    image: bytes
    meta: dict[str, Any]

    @property
    def reload(self) -> dict[str, Any]:
        found: dict[str, Any] = self.meta["expected_after_reload"]
        return found

    @property
    def env(self) -> list[tuple[str, bytes]]:
        return [(name, value.encode("latin-1")) for name, value in self.reload["env"]]

    @property
    def start_wrote(self) -> bool:
        return bool(self.reload["boot_flash_ops"])


def load(name: str) -> Recorded:
    folder = VECTORS / name
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return Recorded(name, (folder / "image.bin").read_bytes(), meta)


def whole() -> list[Recorded]:
    """Vectors whose image is what is started on."""
    names = sorted(path.parent.name for path in VECTORS.glob("v*/meta.json"))
    return [vector for vector in map(load, names) if "expected_after_reload" in vector.meta]


def cut() -> list[Recorded]:
    """What each recorded loss of power left."""
    names = sorted(path.parent.name for path in VECTORS.glob("v*-cut-*/meta.json"))
    return [step for vector in map(load, names) if "steps" in vector.meta for step in _steps(vector)]


def _steps(vector: Recorded) -> Iterator[Recorded]:
    for step in vector.meta["steps"]:
        image = _stored(vector, step) if "image" in step else _replayed(vector, step)
        assert hashlib.sha256(image).hexdigest() == step["image_sha256"]
        yield Recorded(f"{vector.id}-{step['step']}", image, step)


def _stored(vector: Recorded, step: dict[str, Any]) -> bytes:
    return (VECTORS / vector.id / step["image"]).read_bytes()


def _replayed(vector: Recorded, step: dict[str, Any]) -> bytes:
    image = bytearray(vector.image)
    operations = vector.meta["flash_ops"][: step["after_primitive"]]
    for number, (name, offset, length, *data) in enumerate(operations, 1):
        if number == len(operations) and step["torn_bytes"] is not None:
            length = step["torn_bytes"]
        for index in range(length):
            at = offset + index
            image[at] = 0xFF if name == "erase" else image[at] & bytes.fromhex(data[0])[index]
    return bytes(image)
