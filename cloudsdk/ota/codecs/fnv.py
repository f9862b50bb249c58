"""FNV-1a, 32 bits: the hash that official packages keep of the raw firmware (rbl-format 1)."""

from cloudsdk.ota.codecs import implementation
from cloudsdk.ota.codecs.pure.fnv import FNV_PRIME, FNV_SEED

if implementation() == "c":
    from cloudsdk.ota.codecs.native.fnv import fnv1a32
else:
    from cloudsdk.ota.codecs.pure.fnv import fnv1a32

__all__ = ["FNV_PRIME", "FNV_SEED", "fnv1a32"]
