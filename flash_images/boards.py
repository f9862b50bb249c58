"""The board layouts that come with the package, as YAML text. `sim.flash.layout` gives them meaning."""

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

_SUFFIX: Final = ".yaml"


def _folder() -> Traversable:
    return resources.files("flash_images") / "boards"


def names() -> tuple[str, ...]:
    """Names of the boards, sorted."""
    files = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


def text(name: str) -> str:
    """The YAML of the board `name`. Raises `KeyError` unless `names()` has it."""
    if name not in names():
        raise KeyError(name)
    return (_folder() / (name + _SUFFIX)).read_text(encoding="utf-8")
