from types import ModuleType

from hypothesis import given
from hypothesis import strategies as st
from rbl_vectors import VECTORS

from cloudsdk.ota.codecs.pure.fnv import FNV_SEED


def test_nothing_hashes_to_the_seed(fnv: ModuleType) -> None:
    assert fnv.fnv1a32(b"") == FNV_SEED == 0x811C9DC5


def test_published_values(fnv: ModuleType) -> None:
    assert fnv.fnv1a32(b"a") == 0xE40C292C
    assert fnv.fnv1a32(b"foobar") == 0xBF9CF968


def test_agrees_with_the_official_packer(fnv: ModuleType) -> None:
    for vector in VECTORS:
        if vector.official:
            assert fnv.fnv1a32(vector.raw) == int(vector.facts["raw_fnv1a"], 16), vector.id


@given(st.binary(max_size=40), st.integers(0, 40))
def test_pieces_hash_like_the_whole(fnv: ModuleType, data: bytes, cut: int) -> None:
    assert fnv.fnv1a32(memoryview(data)[cut:], fnv.fnv1a32(data[:cut])) == fnv.fnv1a32(data)
