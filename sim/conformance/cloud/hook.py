"""What the cases need from a cloud beyond what a device sees: the admin hook.

`--admin-hook module:factory` names a function without arguments that returns an `AdminHook`. Shell and log
are abilities of their own: a hook that has them is a `ShellHook` or `LogHook`, too.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

from cloudsdk.errors import UsageError

_NAME: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Product:
    product_id: str
    product_key: str = field(repr=False)


@runtime_checkable
class AdminHook(Protocol):
    """Every method blocks and raises any exception to say that it cannot do it."""

    def make_product(self, name: str) -> Product: ...

    def add_device(self, product_id: str, sn: str) -> None: ...

    def upload(self, product_id: str, package: bytes) -> str:
        """The cloud's name for the firmware."""
        ...

    def create_task(self, product_id: str, version: str, firmware: Sequence[str], sns: Sequence[str]) -> str:
        """The cloud's name for the task; `firmware` in the order of installation."""
        ...

    def cancel_task(self, task: str) -> None: ...

    def is_online(self, product_id: str, sn: str) -> bool: ...


class ShellView(Protocol):
    """What an engineer has in front of him."""

    def type(self, data: bytes) -> None: ...

    def read(self, seconds: float) -> bytes:
        """What the device printed, b"" if nothing came within `seconds`."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class ShellHook(Protocol):
    def ask_for_shell(self, product_id: str, sn: str) -> ShellView:
        """Make the cloud send 1025; returns at once, the view fills when the device has connected."""
        ...


@runtime_checkable
class LogHook(Protocol):
    def switch_log(self, product_id: str, sn: str, *, on: bool) -> None:
        """Returns at once; what follows happens between cloud and device."""
        ...

    def log_lines(self, product_id: str, sn: str) -> Sequence[str]:
        """The stored lines, oldest first."""
        ...


@runtime_checkable
class IdleHook(Protocol):
    def log_idle_limit(self) -> float:
        """Seconds without data after which the cloud turns a log off; shortened for the test."""
        ...


#: Ability -> what a hook must be to have it.
ABILITIES: Final = {"admin": AdminHook, "shell": ShellHook, "log": LogHook, "log-idle": IdleHook}


def load_hook(name: str) -> AdminHook:
    """The hook that `module:factory` makes. Raises `UsageError` when there is none."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"--admin-hook must be module:factory, not {name!r}")
    module, _, factory = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError) as exc:
        raise UsageError(f"cannot load the admin hook {name}: {exc}") from exc
    if not isinstance(made, AdminHook):
        raise UsageError(f"{name} makes no admin hook: see sim.conformance.cloud.hook")
    return made


def abilities_of(hook: AdminHook | None) -> tuple[str, ...]:
    return tuple(name for name, kind in ABILITIES.items() if isinstance(hook, kind))
