"""Stored log lines: pages, search, time ranges, downloads, bounds (platform 6.2)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_helpers import online, twin

from cloudsdk.errors import CloudSdkError
from sim.cloud.datadir import DataDir
from sim.cloud.logs import MAX_PAGE, MAX_SEARCH, LogBook, LogFilter, LogLine, as_text
from sim.cloud.notices import News, Notice
from sim.cloud.service import Service
from sim.cloud.shapes import ProductInfo
from sim.cloud.store import Store, sqlite_url

START = 1_539_684_200_000  # milliseconds


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(sqlite_url(DataDir(tmp_path / "cloud").database))
    yield found
    found.close()


@pytest.fixture
def device(service: Service, product: ProductInfo) -> str:
    return service.add_device("lamp", "SN1")["device_id"]


def fill(book: LogBook, device: str, *texts: str) -> list[LogLine]:
    lines = [LogLine(START + 1000 * number, text) for number, text in enumerate(texts)]
    return book.append({device: lines})[device]


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def test_lines_get_ids_in_order_and_belong_to_their_device(service: Service, device: str) -> None:
    other = service.add_device("lamp", "SN2")["device_id"]
    stored = service.logs.append(
        {
            device: [LogLine(START, "one"), LogLine(START, "two")],
            other: [LogLine(START, "three")],
            "gone": [LogLine(START, "four")],
        }
    )
    ids = [line.id for line in stored[device]]
    assert ids == sorted(ids, key=lambda number: number or 0)
    assert None not in ids
    assert set(stored) == {device, other}
    assert service.logs.page(device, newest_first=False).lines == stored[device]
    assert texts(service.logs.page(other).lines) == ["three"]


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_meet_without_gap_or_overlap(service: Service, device: str, newest_first: bool) -> None:
    fill(service.logs, device, *map(str, range(10)))
    found: list[str] = []
    cursor = None
    while True:
        page = service.logs.page(device, cursor=cursor, limit=3, newest_first=newest_first)
        found += texts(page.lines)
        if newest_first:
            fill(service.logs, device, "meanwhile")
        cursor = page.next
        if cursor is None:
            break
    assert found == [str(number) for number in (reversed(range(10)) if newest_first else range(10))]


def test_a_full_last_page_says_that_it_is_the_last(service: Service, device: str) -> None:
    fill(service.logs, device, "a", "b")
    assert service.logs.page(device, limit=2).next is None


def test_a_time_range_includes_its_start_and_not_its_end(service: Service, device: str) -> None:
    fill(service.logs, device, *map(str, range(5)))
    wanted = LogFilter(since_ms=START + 1000, until_ms=START + 3000)
    assert texts(service.logs.page(device, wanted, newest_first=False).lines) == ["1", "2"]


def test_search_is_for_the_text_itself(service: Service, device: str) -> None:
    fill(service.logs, device, "50% done", "500 done", "a_b", "axb", "[I/CLD] up")
    for text, found in (("0%", ["50% done"]), ("a_b", ["a_b"]), ("i/cld", ["[I/CLD] up"]), ("'", [])):
        assert texts(service.logs.page(device, LogFilter(text=text)).lines) == found


def test_hostile_text_is_kept_and_escaped_in_downloads(service: Service, device: str) -> None:
    hostile = "\x1b[31mred\x1b[0m\x1b]0;x\x07<script>\r\n2018 forged\u2028\u202e\ttab ü 中\u3000"
    [line] = fill(service.logs, device, hostile)
    assert service.logs.page(device).lines == [line]
    assert line.text == hostile
    assert "".join(service.logs.export(device)) == (
        "2018-10-16T10:03:20.000Z red\\x1b]0;x\\x07<script>\\r\\n2018 forged\\u2028\\u202e\ttab ü 中\u3000\n"
    )


def test_a_download_is_the_filtered_log_oldest_first(
    service: Service, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim.cloud.logs.EXPORT_PAGE", 3)
    lines = fill(service.logs, device, *map(str, range(10)))
    assert "".join(service.logs.export(device)) == "".join(map(as_text, lines))
    wanted = LogFilter(since_ms=START + 2000)
    assert "".join(service.logs.export(device, wanted)) == "".join(map(as_text, lines[2:]))
    other = service.add_device("lamp", "SN2")["device_id"]
    assert list(service.logs.export(other)) == []


def test_deleting_takes_what_is_before_a_time_or_all(service: Service, device: str) -> None:
    fill(service.logs, device, *map(str, range(5)))
    assert service.logs.clear(device, until_ms=START + 2000) == 2
    assert texts(service.logs.page(device, newest_first=False).lines) == ["2", "3", "4"]
    newest = service.logs.page(device).lines[0].id
    assert service.logs.clear(device) == 3
    assert service.logs.page(device).lines == []
    [line] = fill(service.logs, device, "next")
    assert newest is not None
    assert line.id == newest + 1  # a viewer's cursor stays good


def test_old_lines_are_dropped_also_after_a_restart(service: Service, device: str, store: Store) -> None:
    book = LogBook(store, max_lines=20, prune_every=10)
    for number in range(100):
        fill(book, device, str(number))
        assert len(book.page(device, limit=100).lines) <= 30
    fill(LogBook(store, max_lines=5, prune_every=10), device, "last")
    assert texts(book.page(device, newest_first=False).lines) == ["96", "97", "98", "99", "last"]


def test_what_cannot_be_is_refused(service: Service, device: str) -> None:
    calls = {
        "cloud.unknown-device": lambda: service.logs.page("gone"),
        "cloud.bad-request": lambda: service.logs.page(device, limit=MAX_PAGE + 1),
    }
    for code, call in calls.items():
        with pytest.raises(CloudSdkError) as error:
            call()
        assert error.value.code == code
    with pytest.raises(CloudSdkError):
        LogFilter(text="x" * (MAX_SEARCH + 1))
    with pytest.raises(CloudSdkError):
        service.logs.set_switch("gone", START, on=True)


def test_switches_are_remembered(service: Service, device: str) -> None:
    assert service.logs.switches() == []
    for _ in range(2):
        service.logs.set_switch(device, START, on=True)
    assert [topics.device_id for topics in service.logs.switches()] == [device]
    service.logs.set_switch(device, START, on=False)
    assert service.logs.switches() == []


def test_what_a_device_reports_is_told_once_it_is_stored(service: Service, product: ProductInfo) -> None:
    told: list[tuple[Notice, bool]] = []

    def tell(notice: Notice) -> None:
        told.append((notice, service.show_device("SN1")["online"]))

    device = twin(service, product, "SN1")
    service.tell = tell
    device.send(online(True))
    device.send(b'{"data":[{"DP":1021,"value":true}]}', "log")
    device.send(b'{"data":[{"DP":1021,"value":false},{"DP":1021,"value":7}]}', "log")
    device.send(online(False), stale_will=True)
    service.device_disconnected(device.device_id)
    service.device_disconnected(device.device_id)
    assert told == [
        (Notice(device.device_id, News.ONLINE), True),
        (Notice(device.device_id, News.LOG_ON), True),
        (Notice(device.device_id, News.LOG_OFF), True),
        (Notice(device.device_id, News.OFFLINE), False),
    ]
