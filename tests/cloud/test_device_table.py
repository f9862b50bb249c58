"""CSV tables of devices, hostile ones among them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsdk.errors import CloudSdkError
from sim.cloud.device_table import MAX_ROWS, MAX_TABLE, DeviceRow, read_devices


def code_of(table: bytes) -> str:
    with pytest.raises(CloudSdkError) as error:
        read_devices(table)
    assert "\n" not in str(error.value)
    return error.value.code


def test_columns_come_in_any_order_and_case() -> None:
    assert read_devices(b"Tags,SN,description\nx y,A,d\n") == [
        DeviceRow(2, sn="A", description="d", tags=("x", "y"))
    ]


@pytest.mark.parametrize(
    "table", [b"sn\nA", b"sn\r\nA\r\n", b'"sn"\n"A"\n', b"\xef\xbb\xbfsn\nA\n", b"sn;name\nA;\n"]
)
def test_forms_of_one_table(table: bytes) -> None:
    assert read_devices(table) == [DeviceRow(2, sn="A")]


def test_semicolons_separate_where_the_header_has_them() -> None:
    assert read_devices(b"sn;name\nA;x,y\n") == [DeviceRow(2, sn="A", name="x,y")]


def test_blank_lines_count_but_are_no_devices() -> None:
    assert [row.row for row in read_devices(b"sn,name\n\nA,\n,\nB,\n\n")] == [3, 5]


def test_short_rows_leave_the_rest_empty_and_long_ones_are_a_problem() -> None:
    short, long = read_devices(b"sn,name\nA\nB,x,y\n")
    assert short == DeviceRow(2, sn="A")
    assert "3 cells" in long.problem


def test_tags_are_separated_by_blanks_or_commas() -> None:
    [row] = read_devices(b'sn,tags\nA," a,b  c,"\n')
    assert row.tags == ("a", "b", "c")


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"\n\n",
        b"sn\n",
        b"name,mac\nx,y\n",
        b"sn,sn\nA,B\n",
        b"sn,password\nA,B\n",
        b"A1\nA2\n",
        b"sn\n\xff\xfe\n",
        "sn\nA\n".encode("utf-16"),
        b'sn\n"A\n',
        b'sn\n"A"x\n',
        b"sn,name\nA," + b"x" * 200_000 + b"\n",
        b"PK\3\4" + bytes(100),
    ],
)
def test_what_is_no_table_of_devices_is_refused(table: bytes) -> None:
    assert code_of(table) == "cloud.bad-request"


def test_nul_is_left_to_the_check_of_the_text() -> None:
    assert read_devices(b"sn\nA\0B\n") == [DeviceRow(2, sn="A\0B")]


def test_size_is_bounded() -> None:
    assert code_of(b"sn\n" + b"x" * MAX_TABLE) == "cloud.too-large"


def test_rows_are_bounded_and_a_million_are_refused_early() -> None:
    rows = b"".join(b"%d\n" % number for number in range(MAX_ROWS))
    assert len(read_devices(b"sn\n" + rows)) == MAX_ROWS
    assert code_of(b"sn\n" + rows + b"x\n") == "cloud.too-large"
    assert code_of(b"sn\nA\n" + b"\n" * MAX_ROWS) == "cloud.too-large"
    began = time.perf_counter()
    assert code_of(b"sn\n" + b"1\n" * 1_000_000) == "cloud.too-large"
    assert time.perf_counter() - began < 1.0


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"sn,tags\n{text}".encode()))
def test_any_bytes_are_rows_or_a_coded_error(table: bytes) -> None:
    try:
        rows = read_devices(table)
    except CloudSdkError:
        return
    assert rows
    assert all(row.row >= 2 for row in rows)
