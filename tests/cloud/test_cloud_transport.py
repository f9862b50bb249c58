"""Transport encryption and HTTP semantics of firmware, without a network."""

import itertools
from pathlib import Path

import pytest
from cloud_helpers import encrypted

from sim.cloud.errors import StorageError
from sim.cloud.firmware import PIECE, FirmwareRequest, entity_tag, plan_response, ranged_body

KEY = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
ETAG = '"abc"'
SIZE = 1000


def body(path: Path, size: int, start: int, end: int) -> bytes:
    return b"".join(ranged_body(path, size, KEY, start, end))


def test_transport_vector_of_the_protocol(tmp_path: Path) -> None:
    plain = bytes.fromhex("52424c00000102030405060708090a0b0c0d0e0f101112131415161718191a1b")
    path = tmp_path / "blob"
    path.write_bytes(plain)
    expected = "d0b6ef8b5c01ef06b37461b7b4b3d1edabadc4c741277014134b303b14606802"
    assert body(path, len(plain), 0, len(plain)).hex() == expected


@pytest.mark.parametrize("size", [1, 15, 16, 17, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 33])
def test_every_range_is_a_slice_of_the_whole_body(tmp_path: Path, size: int) -> None:
    plain = bytes(index * 7 % 251 for index in range(size))
    path = tmp_path / "blob"
    path.write_bytes(plain)
    whole = encrypted(plain, KEY)
    edges = {0, 1, 15, 16, 17, 1024, PIECE - 1, PIECE, PIECE + 1, len(whole) - 1, len(whole)}
    offsets = sorted(edge for edge in edges if 0 <= edge <= len(whole))
    for start, end in itertools.combinations(offsets, 2):
        assert body(path, size, start, end) == whole[start:end], (start, end)


def test_pieces_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(bytes(3 * PIECE))
    assert max(map(len, ranged_body(path, 3 * PIECE, KEY, 5, 3 * PIECE))) <= PIECE


def test_a_shrunken_file_is_an_error_and_not_a_short_body(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(bytes(100))
    with pytest.raises(StorageError) as error:
        body(path, 200, 0, 208)
    assert error.value.code == "cloud.storage"


@pytest.mark.parametrize(
    ("text", "status", "start", "end"),
    [
        (None, 200, 0, SIZE),
        ("bytes=0-", 206, 0, SIZE),
        ("bytes=4-", 206, 4, SIZE),
        ("BYTES=4-", 206, 4, SIZE),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=10-5000", 206, 10, SIZE),
        ("bytes=999-", 206, 999, SIZE),
        ("bytes=-1", 206, 999, SIZE),
        ("bytes=-5000", 206, 0, SIZE),
        ("bytes=0000000000000000000000000000004-", 206, 4, SIZE),
        ("bytes=1000-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=" + "9" * 4000 + "-", 416, 0, 0),
        # Invalid or not ours to understand: ignored (RFC 9110 14.2).
        ("bytes=", 200, 0, SIZE),
        ("bytes=-", 200, 0, SIZE),
        ("bytes=9-5", 200, 0, SIZE),
        ("bytes=a-b", 200, 0, SIZE),
        ("bytes=+1-", 200, 0, SIZE),
        ("bytes=1.0-", 200, 0, SIZE),
        ("bytes=\u0661-", 200, 0, SIZE),
        ("lines=1-2", 200, 0, SIZE),
        ("bytes=0-1,4-5", 200, 0, SIZE),
    ],
)
def test_range(text: str | None, status: int, start: int, end: int) -> None:
    plan = plan_response(FirmwareRequest("GET", range=text), SIZE, ETAG)
    assert (plan.status, plan.start, plan.end) == (status, start, end)
    headers = dict(plan.headers)
    assert headers["Content-Length"] == str(end - start)
    expected = {206: f"bytes {start}-{end - 1}/{SIZE}", 416: f"bytes */{SIZE}", 200: None}[status]
    assert headers.get("Content-Range") == expected


@pytest.mark.parametrize(
    ("tag", "status"),
    [(ETAG, 206), ('"other"', 200), ('W/"abc"', 200), ("Sun, 22 Nov 2026 16:00:00 GMT", 200), ("abc", 200)],
)
def test_if_range_needs_the_very_tag(tag: str, status: int) -> None:
    request = FirmwareRequest("GET", range="bytes=16-", if_range=tag)
    assert plan_response(request, SIZE, ETAG).status == status


def test_if_range_mismatch_never_answers_416() -> None:
    request = FirmwareRequest("GET", range="bytes=5000-", if_range='"other"')
    assert plan_response(request, SIZE, ETAG).status == 200


@pytest.mark.parametrize(
    ("tags", "status"),
    [("*", 304), (ETAG, 304), ('W/"abc"', 304), ('"x", "abc"', 304), ('"x"', 200), ("", 200)],
)
def test_if_none_match(tags: str, status: int) -> None:
    plan = plan_response(FirmwareRequest("GET", if_none_match=tags), SIZE, ETAG)
    assert plan.status == status
    assert dict(plan.headers)["ETag"] == ETAG


def test_head_has_the_length_of_the_whole_and_no_body() -> None:
    plan = plan_response(FirmwareRequest("HEAD", range="bytes=4-"), SIZE, ETAG)
    assert (plan.status, plan.start, plan.end) == (200, 0, 0)
    assert dict(plan.headers)["Content-Length"] == str(SIZE)


def test_tag_depends_on_content_and_device() -> None:
    one, other = "a" * 64, "b" * 64
    tags = {entity_tag(KEY, one), entity_tag(KEY, other), entity_tag(KEY[::-1], one)}
    assert len(tags) == 3
    assert entity_tag(KEY, one) == entity_tag(KEY, one)
    assert KEY not in entity_tag(KEY, one)
