"""One download: requests, statuses, cuts, resumption, lies, failing flash (cloudsdk-protocol 3.3 to 3.6)."""

from collections.abc import Callable

import pytest
from device_rig import DEVICE_KEY, IOT_BOARD, PIECE, Bench, Package, application, bench, package, task

from cloudsdk import events as ev
from cloudsdk.errors import FlashError, UsageError
from cloudsdk.limits import Limits
from cloudsdk.ota.header import HEADER_SIZE
from cloudsdk.ota.transport import cipher, rounded
from cloudsdk.profile import MANUAL, V2_0_0, Profile
from sim.flash.power import CutMoment, FlashOperation, PowerCut

APP = package("app", "2.0.0", application("2.0.0"))
BODY = APP.body
TOTAL = len(BODY)
RETRY = "[E/cld.ota] Open URL or receive data error, wait to connect again !"
FAILED = "[E/cld.ota] Firmware download failed! "
ETAG = {"etag": '"abc"'}
BOTH = pytest.mark.parametrize("profile", [MANUAL, V2_0_0], ids=lambda profile: profile.name)
ENDS: dict[str, Callable[[str], ev.Event]] = {
    "ended": ev.HttpEnded,
    "failed": lambda request: ev.HttpFailed(request, "timeout"),
}


class Fetch:
    """A device with a download under way."""

    def __init__(
        self,
        profile: Profile = MANUAL,
        device: Bench | None = None,
        wanted: Package = APP,
        size: int | None = None,
    ) -> None:
        self.device = device or bench(profile=profile)
        self.driver = self.device.driver
        self.wanted = wanted
        self.body = wanted.body
        self.driver.online()
        size = len(wanted.data) if size is None else size
        self.driver.message(task(wanted.element(file_size=size)))
        self._take_request()

    def _take_request(self) -> None:
        if self.driver.has(ev.HttpRequest):
            self.request = self.driver.request

    def rebooted(self, profile: Profile = MANUAL, wanted: Package | None = None) -> "Fetch":
        """The same board after a reset, with the same task."""
        self.device.board.power.disarm()
        return Fetch(device=bench(profile=profile, board=self.device.board), wanted=wanted or self.wanted)

    @property
    def start(self) -> int:
        """Where the open request begins."""
        value = dict(self.request.headers).get("Range", "bytes=0-")
        return int(value.removeprefix("bytes=").removesuffix("-"))

    def opened(self, status: int | None = None, headers: dict[str, str] | None = None) -> None:
        """The honest answer's head, or the given one."""
        honest = {**ETAG, "content-range": f"bytes {self.start}-{len(self.body) - 1}/{len(self.body)}"}
        default = 206 if self.start else 200
        self.driver.handle(
            ev.HttpOpened(self.request.request, status or default, honest if headers is None else headers)
        )

    def data(self, start: int, end: int | None = None) -> None:
        for offset in range(start, len(self.body) if end is None else end, PIECE):
            piece = self.body[offset : min(offset + PIECE, len(self.body) if end is None else end)]
            self.driver.handle(ev.HttpData(self.request.request, piece))

    def cut(self, end: str = "ended") -> None:
        self.driver.handle(ENDS[end](self.request.request))

    def retry(self) -> None:
        self.driver.fire("download-retry")
        self._take_request()

    def finish(self) -> None:
        """Answer honestly to the end."""
        self.opened()
        self.data(self.start)

    @property
    def done(self) -> bool:
        on_flash = self.device.board.partition("download").read(0, len(self.wanted.data))
        return isinstance(self.driver.effects[-1], ev.Reset) and on_flash == self.wanted.data


# --- requests -------------------------------------------------------------------------------------------


@BOTH
def test_fresh_request(profile: Profile) -> None:
    request = Fetch(profile).request
    assert (request.method, request.url, request.body) == ("GET", APP.url, None)
    assert request.headers == (("Host", "10.0.0.5"), ("User-Agent", "RT-Thread HTTP Agent"))


@BOTH
def test_resume_request(profile: Profile) -> None:
    fetch = Fetch(profile)
    fetch.opened()
    fetch.data(0, 5000)
    fetch.cut()
    fetch.retry()
    validator = (("If-Range", '"abc"'),) if profile is MANUAL else ()
    assert fetch.request.headers == (
        ("Range", "bytes=4096-"),
        *validator,
        ("Host", "10.0.0.5"),
        ("User-Agent", "RT-Thread HTTP Agent"),
        ("Accept", "*/*"),
    )


@pytest.mark.parametrize("etag", [None, 'W/"abc"', "abc", '"a\nb"', '"a"b"', ""])
def test_only_a_strong_entity_tag_goes_into_if_range(etag: str | None) -> None:
    fetch = Fetch()
    fetch.opened(200, {} if etag is None else {"etag": etag})
    fetch.data(0, 2048)
    again = fetch.rebooted()
    assert again.start == 2048
    assert "If-Range" not in dict(again.request.headers)


@pytest.mark.parametrize(
    "url", ["http://[", "http://[::1", "http:///", "ftp://x/", "//", "http://a b/", "http://x:99999/"]
)
def test_unusable_url_is_left_to_the_transport(url: str) -> None:
    device = bench()
    device.driver.online()
    device.driver.message(task(APP.element(file_url=url)))
    assert device.driver.request.url == url


# --- cuts -----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 4096, 5000, TOTAL - 16, TOTAL - 1])
def test_cut_body_is_resumed_at_the_last_whole_block(profile: Profile, end: str, count: int) -> None:
    fetch = Fetch(profile)
    fetch.opened()
    fetch.data(0, count)
    fetch.driver.lines()
    fetch.cut(end)
    code, block = (0 if end == "ended" else -1), count // 1024 * 1024
    assert fetch.driver.lines() == [
        f"[E/web] receive data error({code}).",
        f"[E/web] receive data error({code}).",
        f"{FAILED}Http get error: {code}, content_pos: {block}, page_pos: {count - block} .",
        RETRY,
    ]
    assert fetch.driver.timers["download-retry"] == 10.0
    fetch.retry()
    assert fetch.start == block
    fetch.finish()
    assert fetch.done
    assert fetch.device.port.hooks == ["start", "end 0"]


@pytest.mark.parametrize(("profile", "start"), [(MANUAL, 4096), (V2_0_0, 0)], ids=["manual", "v2.0.0"])
def test_break_point_survives_a_reset_only_as_the_manual_promises(profile: Profile, start: int) -> None:
    fetch = Fetch(profile)
    fetch.opened()
    fetch.data(0, 5000)
    again = fetch.rebooted(profile)
    assert again.start == start
    again.finish()
    assert again.done


def test_no_connection_keeps_the_break_point() -> None:
    fetch = Fetch()
    fetch.cut("failed")
    assert fetch.driver.lines()[-2:] == [f"{FAILED}Open url : {APP.url} failed!", RETRY]
    fetch.retry()
    fetch.opened()
    fetch.data(0, 2048)
    fetch.cut()
    fetch.retry()
    fetch.cut("failed")
    assert fetch.driver.lines()[-2:] == [f"{FAILED}Open retry failed, response(-1) error.", RETRY]
    fetch.retry()
    assert fetch.start == 2048


def test_events_of_an_attempt_that_is_over_change_nothing() -> None:
    fetch = Fetch()
    old = fetch.request.request
    fetch.opened()
    fetch.data(0, 2048)
    fetch.cut()
    assert fetch.driver.handle(ev.HttpData(old, BODY[2048:4096])) == []
    fetch.retry()
    assert fetch.driver.handle(ev.HttpEnded(old)) == []
    assert fetch.start == 2048
    fetch.finish()
    assert fetch.done


@BOTH
def test_bytes_behind_the_package_are_ignored(profile: Profile) -> None:
    fetch = Fetch(profile)
    fetch.opened()
    fetch.data(0, TOTAL - 100)
    fetch.driver.handle(ev.HttpData(fetch.request.request, BODY[TOTAL - 100 :] + bytes(5000)))
    assert fetch.driver.has(ev.HttpCancel)
    assert fetch.done
    following = fetch.device.board.partition("download").read(TOTAL, 64)
    assert following == b"\xff" * 64


def test_body_in_pieces_of_any_size() -> None:
    for size in (1, 7, 1500, TOTAL):
        fetch = Fetch()
        fetch.opened()
        for offset in range(0, TOTAL, size):
            fetch.driver.handle(ev.HttpData(fetch.request.request, BODY[offset : offset + size]))
        assert fetch.done


def test_dribbling_body_is_given_up_and_resumed() -> None:
    fetch = Fetch()
    assert fetch.driver.timers["download-stall"] == 60.0
    fetch.opened()
    fetch.data(0, 1030)
    fetch.driver.fire("download-stall")
    assert not fetch.driver.has(ev.HttpCancel)
    fetch.data(1030, 1500)
    fetch.driver.fire("download-stall")
    assert fetch.driver.has(ev.HttpCancel)
    assert "download-stall" not in fetch.driver.timers
    fetch.retry()
    assert fetch.start == 1024
    fetch.finish()
    assert fetch.done
    assert "download-stall" not in fetch.driver.timers
    assert "download-stall" not in Fetch(V2_0_0).driver.timers


# --- statuses and lies ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("status", [206, 204, 302, 404, 416, 503])
def test_fresh_download_needs_status_200(profile: Profile, status: int) -> None:
    fetch = Fetch(profile)
    for _ in range(2):
        erased = fetch.device.board.power.operations
        fetch.opened(status)
        assert fetch.driver.has(ev.HttpCancel)
        assert fetch.driver.lines()[-2:] == [f"{FAILED}Open url : {APP.url} failed!", RETRY]
        fetch.retry()
        assert fetch.start == 0
        assert fetch.device.board.power.operations > erased  # every attempt erases (3.6)
    fetch.finish()
    assert fetch.done


def stopped_at_4096(profile: Profile = MANUAL) -> Fetch:
    fetch = Fetch(profile)
    fetch.opened()
    fetch.data(0, 4096)
    fetch.cut()
    fetch.retry()
    assert fetch.start == 4096
    fetch.driver.lines()
    return fetch


@BOTH
@pytest.mark.parametrize("status", [204, 404, 500, 503])
def test_unwilling_server_is_asked_again_for_the_same_range(profile: Profile, status: int) -> None:
    fetch = stopped_at_4096(profile)
    for _ in range(3):
        fetch.opened(status)
        assert fetch.driver.lines()[-2:] == [f"{FAILED}Open retry failed, response({status}) error.", RETRY]
        fetch.retry()
        assert fetch.start == 4096


def test_changed_body_starts_over_on_the_same_connection() -> None:
    fetch = stopped_at_4096()
    newer = package("app", "2.0.0", application("other", 7000))
    assert len(newer.body) == TOTAL
    fetch.wanted, fetch.body = newer, newer.body
    fetch.opened(200, {"etag": '"new"'})
    fetch.data(0)
    assert fetch.done


def test_v2_0_0_never_leaves_a_server_without_ranges() -> None:
    fetch = stopped_at_4096(V2_0_0)
    for _ in range(3):
        fetch.opened(200)
        assert fetch.driver.has(ev.HttpCancel)
        fetch.retry()
        assert fetch.start == 4096


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-range": f"bytes 0-{TOTAL - 1}/{TOTAL}"},
        {"content-range": f"bytes 5120-{TOTAL - 1}/{TOTAL}"},
        {"content-range": "bytes 4096"},
        {"content-range": f"bytes 4096-{TOTAL - 1}/{TOTAL}", "etag": '"new"'},
    ],
    ids=["no range", "from the start", "further on", "no sense", "other body"],
)
def test_lying_206_leads_to_a_fresh_download(headers: dict[str, str]) -> None:
    fetch = stopped_at_4096()
    fetch.opened(206, headers)
    assert fetch.driver.has(ev.HttpCancel)
    assert fetch.driver.lines()[-2:] == [f"{FAILED}Open retry failed, response(206) error.", RETRY]
    rebooted = fetch.rebooted()
    assert rebooted.start == 0
    rebooted.finish()
    assert rebooted.done


def test_v2_0_0_takes_any_206_and_finds_the_damage_in_the_end() -> None:
    fetch = stopped_at_4096(V2_0_0)
    fetch.opened(206, {})
    fetch.data(0)
    assert fetch.device.port.hooks == ["start", "end 1"]
    assert fetch.driver.lines()[-1] == f"{FAILED}Partition (download) header and body verify failed!"


def test_416_leads_to_a_fresh_download() -> None:
    fetch = stopped_at_4096()
    fetch.opened(416, {"content-range": f"bytes */{TOTAL}"})
    fetch.retry()
    assert fetch.start == 0
    fetch.finish()
    assert fetch.done


def test_body_changed_while_the_device_was_off_is_noticed_without_if_range_too() -> None:
    """A server that ignores If-Range and answers 206 from another body."""
    fetch = Fetch()
    fetch.opened()
    fetch.data(0, 4096)
    again = fetch.rebooted()
    assert dict(again.request.headers)["If-Range"] == '"abc"'
    again.opened(206, {"content-range": f"bytes 4096-{TOTAL - 1}/{TOTAL}", "etag": '"new"'})
    again.retry()
    assert again.start == 0


def test_tag_too_long_for_the_record_is_of_use_until_the_reset() -> None:
    fetch = Fetch()
    tag = f'"{"x" * 200}"'
    fetch.opened(200, {"etag": tag})
    fetch.data(0, 4096)
    fetch.cut()
    fetch.retry()
    assert dict(fetch.request.headers)["If-Range"] == tag
    assert fetch.rebooted().start == 0


# --- what a break point belongs to ----------------------------------------------------------------------


def interrupted(wanted: Package, count: int = 4096) -> Fetch:
    fetch = Fetch(wanted=wanted)
    fetch.opened()
    fetch.data(0, count)
    return fetch


@pytest.mark.parametrize(
    "other",
    [
        package("app", "2.0.1", application("2.0.1")),
        package("filesystem", "2.0.0", application("2.0.0")),
        package("app", "2.0.0", application("2.0.0", 7100)),
    ],
    ids=["version", "partition", "size"],
)
def test_break_point_of_another_package_is_not_used(other: Package) -> None:
    fetch = interrupted(APP).rebooted(wanted=other)
    assert fetch.start == 0
    fetch.finish()
    assert fetch.done


def test_another_device_key_resumes_with_its_own_cipher() -> None:
    """Activated anew in between: what is on flash is plain, so the chain is made with the new key."""
    fetch = interrupted(APP)
    fetch.device.board.power.disarm()
    device = bench(board=fetch.device.board)
    key = DEVICE_KEY[::-1]
    device.env.values["cld_dkey"] = key
    again = Fetch(device=device)
    again.body = cipher(key).encryptor().update(APP.data.ljust(rounded(len(APP.data)), b"\0"))
    assert again.start == 4096
    again.finish()
    assert again.done


@pytest.mark.parametrize("moment", list(CutMoment))
def test_cut_while_another_download_begins_leaves_no_half_of_the_older_break_point(moment: CutMoment) -> None:
    other = package("app", "2.0.1", application("2.0.1"))
    undisturbed = interrupted(APP, 6144)
    with undisturbed.device.board.power.recording() as operations:
        undisturbed.rebooted(wanted=other)
    assert len(operations) == 3
    for index in range(len(operations)):
        fetch = interrupted(APP, 6144)
        board = fetch.device.board
        board.power.arm(lambda at, _each, index=index: moment if at == index else None)  # type: ignore[misc]
        device = bench(board=board)
        with pytest.raises(PowerCut):
            Fetch(device=device, wanted=other)
        board.power.restore()
        again = fetch.rebooted()
        again.finish()
        assert again.done


def test_download_without_room_for_a_journal_ends_the_older_break_point() -> None:
    area = IOT_BOARD.partitions[3].length
    large = package("filesystem", "1.0.0", bytes(area - 4096 - HEADER_SIZE))
    older = interrupted(APP)
    fetch = older.rebooted(wanted=large)
    assert fetch.start == 0
    fetch.opened()
    fetch.data(0, 8192)
    fetch.cut()
    fetch.retry()
    assert fetch.start == 8192  # in RAM it goes on as ever
    assert fetch.rebooted(wanted=APP).start == 0


def test_refused_package_is_not_resumed() -> None:
    fetch = Fetch()
    fetch.body = bytes(TOTAL)
    fetch.opened()
    fetch.data(0)
    assert fetch.device.port.hooks == ["start", "end 1"]
    assert fetch.rebooted().start == 0


def test_handed_over_package_is_not_resumed() -> None:
    fetch = Fetch()
    fetch.finish()
    assert fetch.done
    assert fetch.rebooted().start == 0


# --- sizes ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("size", [0, 1, 16, 95, 96, 127])
def test_size_below_any_package_is_refused(profile: Profile, size: int) -> None:
    fetch = Fetch(profile, size=size)
    if fetch.driver.has(ev.HttpRequest):
        fetch.opened()
        fetch.data(0, 1024)
    assert fetch.device.port.hooks == ["start", "end 1"]
    assert fetch.driver.lines()[-1] == f"{FAILED}Partition (download) header and body verify failed!"


@BOTH
@pytest.mark.parametrize("beyond", [1, 4096, 1 << 31])
def test_package_larger_than_the_partition_is_refused_before_any_request(
    profile: Profile, beyond: int
) -> None:
    fetch = Fetch(profile, size=IOT_BOARD.partitions[3].length + beyond)
    assert not fetch.driver.has(ev.HttpRequest)
    assert fetch.device.port.hooks == ["start", "end 1"]
    assert fetch.driver.lines()[-1] == f"{FAILED}Partition (download) erase error!"


@pytest.mark.parametrize("block", [16, 512, 4096])
def test_other_block_sizes(block: int) -> None:
    device = bench(limits=Limits(download_block=block))
    fetch = Fetch(device=device)
    fetch.opened()
    fetch.data(0, 6100)
    again = fetch.rebooted()
    assert again.start == 6100 // block * block // 1024 * 1024
    again.finish()
    assert again.done


@pytest.mark.parametrize("block", [0, -16, 8, 1000, 3072, 8192])
def test_block_that_breaks_cipher_or_journal_is_refused(block: int) -> None:
    with pytest.raises(UsageError):
        Limits(download_block=block)


# --- failing flash --------------------------------------------------------------------------------------


def fail(device: Bench, op: str, offset: int) -> None:
    """Every such operation at `offset` of `download` fails from now on."""
    base = device.board.partition("download").offset

    def trigger(_index: int, operation: FlashOperation) -> CutMoment | None:
        if (operation.op, operation.offset) == (op, base + offset):
            raise FlashError("worn out")
        return None

    device.board.power.arm(trigger)


RECORD = IOT_BOARD.partitions[3].length - 4096
STAGING, CONSUMED = RECORD - 4096, RECORD + 192
WRITE_ERROR = f"{FAILED}Partition (download) write data error!"
ERASE_ERROR = f"{FAILED}Partition (download) erase error!"


@pytest.mark.parametrize(
    ("op", "offset", "line"),
    [
        ("write", RECORD, WRITE_ERROR),
        ("write", STAGING, WRITE_ERROR),
        ("write", 5120, WRITE_ERROR),
        ("write", CONSUMED + 1, WRITE_ERROR),
        ("write", 0, WRITE_ERROR),
    ],
    ids=["record", "staged bytes", "data", "checkpoint", "first block"],
)
def test_failing_write_ends_the_download(op: str, offset: int, line: str) -> None:
    fetch = Fetch()
    fail(fetch.device, op, offset)
    fetch.opened()
    fetch.data(0)
    assert line in fetch.driver.lines()
    assert fetch.device.port.hooks == ["start", "end 1"]
    again = fetch.rebooted()
    assert again.start == 0
    again.finish()
    assert again.done


@pytest.mark.parametrize("offset", [0, RECORD, STAGING])
def test_failing_erase_ends_the_download(offset: int) -> None:
    device = bench()
    fail(device, "erase", offset)
    fetch = Fetch(device=device)
    assert not fetch.driver.has(ev.HttpRequest)
    assert fetch.driver.lines()[-1] == ERASE_ERROR
    assert device.port.hooks == ["start", "end 1"]


@pytest.mark.parametrize(("status", "line"), [(416, WRITE_ERROR), (206, WRITE_ERROR), (200, ERASE_ERROR)])
def test_journal_that_cannot_be_ended_ends_the_download(status: int, line: str) -> None:
    fetch = stopped_at_4096()
    fail(fetch.device, "write", CONSUMED)
    fetch.opened(status, {})
    assert fetch.driver.lines()[-1] == line
    assert fetch.device.port.hooks == ["start", "end 1"]


def test_mark_that_cannot_be_set_does_not_spoil_a_finished_download() -> None:
    fetch = Fetch()
    fail(fetch.device, "write", CONSUMED)
    fetch.finish()
    assert fetch.done
    assert fetch.device.port.hooks == ["start", "end 0"]
