"""Memory lent to the C core, kept for the next call: making it anew would cost more than the call."""

from typing import Any, Final

from cloudsdk.ota.codecs._core import ffi

BUFFER_SIZE: Final = 64 * 1024  # bytes
LINK_COUNT: Final = 16 * 1024  # links of four bytes, one for each raw byte to encode

_uninitialised = ffi.new_allocator(should_clear_after_alloc=False)

#: Buffers that nobody uses. `list.pop` and `append` are atomic, so that each has one user at a time even while
#: the core runs without the interpreter's lock; there are never more than calls at the same time.
free_buffers: Final[list[Any]] = []
free_links: Final[list[Any]] = []


def new_buffer(size: int = BUFFER_SIZE) -> Any:
    return _uninitialised("uint8_t[]", size)


def new_links(count: int = LINK_COUNT) -> Any:
    return _uninitialised("uint32_t[]", count)
