"""Memory lent to the C core, kept for the next call: making it anew would cost more than the call."""

from typing import Any, Final

from cloudsdk.ota.codecs._core import ffi

BUFFER_SIZE: Final = 64 * 1024  # bytes

_uninitialised = ffi.new_allocator(should_clear_after_alloc=False)

#: Buffers that nobody uses. `list.pop` and `append` are atomic, so each has one user at a time, even while
#: the core runs without the interpreter's lock; there are never more than there were calls at one time.
free_buffers: Final[list[Any]] = []


def new_buffer(size: int = BUFFER_SIZE) -> Any:
    return _uninitialised("char[]", size)
