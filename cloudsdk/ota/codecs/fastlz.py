"""FastLZ 0.1.0: decoder for levels 1 and 2, encoder for level 1 (rbl-format 2.3)."""

from cloudsdk.ota.codecs import implementation

if implementation() == "c":
    from cloudsdk.ota.codecs.native.fastlz import compress, compress_framed, decompress, decompress_front
else:
    from cloudsdk.ota.codecs.pure.fastlz import compress, compress_framed, decompress, decompress_front

__all__ = ["compress", "compress_framed", "decompress", "decompress_front"]
