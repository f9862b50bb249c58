"""What calls.c offers."""

from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable[..., bytes])

def bind(name: str, otherwise: _Function, /) -> _Function: ...
