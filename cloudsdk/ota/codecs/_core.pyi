"""What cffi makes of core.h, as far as it is used here."""

from typing import Any, Protocol

class _Ffi(Protocol):
    NULL: Any
    def new(self, ctype: str, init: int = ...) -> Any: ...
    def new_allocator(self, *, should_clear_after_alloc: bool) -> Any: ...
    def buffer(self, cdata: Any, size: int) -> Any: ...
    def from_buffer(self, buffer: bytes | bytearray | memoryview) -> Any: ...

class _Lib(Protocol):
    CORE_E_CAPACITY: int
    CORE_E_HEADER: int
    CORE_E_ENDS: int
    CORE_E_LITERALS: int
    CORE_E_MATCH: int
    CORE_E_SENTINEL: int
    CORE_E_DISTANCE: int
    CORE_E_PAST_END: int
    def core_quicklz_decode(
        self, block: bytes, block_size: int, raw: Any, raw_capacity: int, fault: Any, /
    ) -> int: ...
    def core_fastlz_decode(
        self, block: bytes, block_size: int, raw: Any, raw_capacity: int, fault: Any, /
    ) -> int: ...
    def core_quicklz_bound(self, raw_size: int, /) -> int: ...
    def core_fastlz_bound(self, raw_size: int, /) -> int: ...
    def core_quicklz_encode(
        self, raw: bytes, raw_size: int, block: Any, block_capacity: int, links: Any, link_count: int, /
    ) -> int: ...
    def core_fastlz_encode(
        self, raw: bytes, raw_size: int, block: Any, block_capacity: int, links: Any, link_count: int, /
    ) -> int: ...
    def core_fnv1a32(self, data: Any, size: int, value: int, /) -> int: ...

ffi: _Ffi
lib: _Lib
