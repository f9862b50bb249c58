"""How the C core is built: `setup.py` and `scripts/fuzz.sh` use this, nothing imports it at run time."""

from pathlib import Path

from cffi import FFI

_HERE = Path(__file__).parent
_MODULE = "cloudsdk.ota.codecs._core"


def _declarations(header: str) -> str:
    """What of `header` cffi reads: everything but the lines of the preprocessor."""
    return "\n".join(line for line in header.splitlines() if not line.startswith("#"))


ffibuilder = FFI()
ffibuilder.cdef(_declarations((_HERE / "core.h").read_text(encoding="utf-8")))
ffibuilder.set_source(
    _MODULE,
    '#include "core.h"',
    sources=["cloudsdk/ota/codecs/core.c"],
    depends=["cloudsdk/ota/codecs/core.h"],
    include_dirs=[str(_HERE)],
    extra_compile_args=["-O3", "-std=c11", "-Wall", "-Wextra"],
    optional=True,  # without a compiler the pure twin does the work
)
