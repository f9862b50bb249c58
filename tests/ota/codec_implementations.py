"""Where the two implementations of a codec are, and whether there has to be a C core here."""

import importlib
import os
import shutil
import sysconfig
from types import ModuleType

import pytest

IMPLEMENTATIONS = {"python": "pure", "c": "native"}


def compiler() -> str | None:
    """The C compiler an installation would use here."""
    wanted = os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc")
    return shutil.which(wanted.split()[0])


def codec(name: str, implementation: str) -> ModuleType:
    """One codec's module. Without the C core this fails, but for a developer who has no compiler."""
    try:
        return importlib.import_module(f"cloudsdk.ota.codecs.{IMPLEMENTATIONS[implementation]}.{name}")
    except ImportError as error:
        if compiler() or os.environ.get("CI"):
            pytest.fail(f"the C core is not built, install again: {error}")
        pytest.skip("no C compiler here, so the C core is not built")
