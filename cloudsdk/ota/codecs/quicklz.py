"""QuickLZ 1.5.0, level 3, no streaming buffer: one block at a time (rbl-format 2.2)."""

from cloudsdk.ota.codecs import implementation
from cloudsdk.ota.codecs.quicklz_header import LEVEL, SHORT_RAW_LIMIT, BlockHeader, block_sizes, read_header

if implementation() == "c":
    from cloudsdk.ota.codecs.native.quicklz import compress, compress_framed, decompress, decompress_front
else:
    from cloudsdk.ota.codecs.pure.quicklz import compress, compress_framed, decompress, decompress_front

__all__ = [
    "LEVEL",
    "SHORT_RAW_LIMIT",
    "BlockHeader",
    "block_sizes",
    "compress",
    "compress_framed",
    "decompress",
    "decompress_front",
    "read_header",
]
