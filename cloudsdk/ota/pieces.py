"""Streams of bytes cut anew."""

from collections.abc import Iterable, Iterator


def regrouped(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size` bytes, the last one shorter."""
    pending = b""
    for piece in pieces:
        data = pending + piece if pending else piece
        whole = len(data) - len(data) % size
        for start in range(0, whole, size):
            yield data[start : start + size]
        pending = data[whole:]
    if pending:
        yield pending
