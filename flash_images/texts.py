"""YAML texts that come with the package, by folder and name."""

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

_SUFFIX: Final = ".yaml"


def _folder(folder: str) -> Traversable:
    return resources.files("flash_images") / folder


def names(folder: str) -> tuple[str, ...]:
    """Names of the texts in `folder`, sorted."""
    files = (entry.name for entry in _folder(folder).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


def text(folder: str, name: str) -> str:
    """The text `name` of `folder`. Raises `KeyError` unless `names(folder)` has it."""
    if name not in names(folder):
        raise KeyError(name)
    return (_folder(folder) / (name + _SUFFIX)).read_text(encoding="utf-8")
