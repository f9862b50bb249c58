"""The board layouts that come with the package, as YAML text. `sim.flash.layout` gives them meaning."""

from typing import Final

from flash_images import texts

_FOLDER: Final = "boards"


def names() -> tuple[str, ...]:
    """Names of the boards, sorted."""
    return texts.names(_FOLDER)


def text(name: str) -> str:
    """The YAML of the board `name`. Raises `KeyError` unless `names()` has it."""
    return texts.text(_FOLDER, name)
