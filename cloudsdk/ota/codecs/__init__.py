"""Codecs of the `.rbl` body. Every decoder is bounded: bad input raises `CodecError` and nothing else.

Each codec exists twice, in C and in Python, with the same results and the same errors. The C core is taken
where it was built at installation; `CLOUDSIM_PURE=1` in the environment takes the Python twin anyway.
"""

import os
from typing import Final, Literal

PURE_VARIABLE: Final = "CLOUDSIM_PURE"


def implementation() -> Literal["c", "python"]:
    """Which implementation the codecs use in this process."""
    return "c" if _USE_CORE else "python"


def _core_usable() -> bool:
    if os.environ.get(PURE_VARIABLE, "0") not in ("", "0"):
        return False
    try:
        from cloudsdk.ota.codecs import _calls, _core  # noqa: F401 - built where there was a compiler
    except ImportError:
        return False
    return True


_USE_CORE: Final = _core_usable()
