"""Upgrades under the names of vendors' qualification suites, and what servers do to them
(cloudsdk-protocol 3, threats)."""

from dataclasses import replace
from typing import Final

from cloudsdk.cjson import Json
from cloudsdk.datapoints import DataPoint
from cloudsdk.mqtt.packets import ReturnCode
from cloudsdk.ota.header import HEADER_SIZE
from cloudsdk.ota.pack import pack
from sim.conformance.case import Severity, expect, expect_equal
from sim.conformance.device.bench import NEW, SIZE, SUITE, TASK, DeviceBench
from sim.conformance.device.scripted_cloud import Answer, Firmware, Lie, Request, cut, status

BLOCK: Final = 1024  # bytes of a download that are one step (3.3)
CUT: Final = 5000  # bytes after which a connection ends
LIES: Final = 5000  # more than any device hears in a case
MANY: Final = 40  # requests in a few seconds that are a storm


@SUITE.case(
    "greater-version", "A newer version is downloaded, installed and reported", "cloudsdk-protocol 3, threats"
)
def greater(bench: DeviceBench) -> None:
    """The main job."""
    bench.cloud.make_task(TASK, bench.firmware())
    bench.online()
    bench.upgraded()


@SUITE.case("download-request", "A fresh download asks for the whole file", "cloudsdk-protocol 3.3")
def request(bench: DeviceBench) -> None:
    """GET of just the URL, no Range."""
    firmware = bench.firmware()
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.wait(lambda: bool(bench.cloud.downloads(firmware)), "a request for the firmware")
    found = bench.cloud.downloads(firmware)[0]
    expect(found.offset in (None, 0), "no Range", found.fields.get("range"))


@SUITE.case("same-version", "What is installed is not downloaded again", "cloudsdk-protocol 3.2, threats")
def same(bench: DeviceBench) -> None:
    """A second task with the same firmware is done at once; its version is reported when asked."""
    firmware = bench.firmware()
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.upgraded()
    before = len(bench.cloud.downloads())
    bench.cloud.make_task("1.2", firmware)
    bench.upgraded("1.2")
    expect_equal(len(bench.cloud.downloads()), before, "downloads")


@SUITE.case(
    "previous-version", "An older version is installed as well", "cloudsdk-protocol 3.2, threats: rollback"
)
def previous(bench: DeviceBench) -> None:
    """Versions have no order; a device that refuses on purpose names this an expected failure."""
    bench.cloud.make_task("0.9", bench.firmware(version="0.9.0"))
    bench.online()
    bench.upgraded("0.9")


@SUITE.case("incorrect-signing", "A package that does not fit its checksums is not installed", "threats")
def incorrect_signing(bench: DeviceBench) -> None:
    """Its body was changed after it was packed."""
    data = bytearray(bench.package())
    data[HEADER_SIZE + 3000] ^= 1
    _not_installed(bench, bytes(data))


@SUITE.case("wrong-transport-key", "A package for another device is not installed", "cloudsdk-protocol 3.4")
def wrong_key(bench: DeviceBench) -> None:
    """After decryption it is noise."""
    _not_installed(bench, bench.package(), key="0" * 32)


@SUITE.case(
    "wrong-partition", "A package for another partition is not installed", "threats: wrong partition name"
)
def wrong_partition(bench: DeviceBench) -> None:
    """The task says app, the package itself something else."""
    raw = bytes(SIZE)
    _not_installed(bench, pack(raw, name="filesystem", version=NEW, timestamp=1))


@SUITE.case(
    "wrong-label", "A package of another version than the task says is not reported", "threats: rollback"
)
def wrong_label(bench: DeviceBench) -> None:
    """An old package under a new label is a rollback that nobody ordered."""
    _not_installed(bench, bench.package(version="0.1.0"))


def _not_installed(bench: DeviceBench, plain: bytes, key: str = "") -> None:
    """The package is offered; the device fetches it, stays alive, and never reports the task's version."""
    firmware = bench.cloud.publish("app", NEW, plain, key=key)
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.wait(lambda: bool(bench.cloud.downloads(firmware)), "a request for the firmware")
    bench.settle(3.0)
    bench.answers()
    expect(TASK not in bench.cloud.versions(), f"no report of {TASK}", bench.cloud.versions())


@SUITE.case("back-to-back", "One task after the other is carried out", "threats")
def back_to_back(bench: DeviceBench) -> None:
    """The second one comes while the first is hardly done."""
    bench.cloud.make_task(TASK, bench.firmware())
    bench.online()
    bench.upgraded()
    bench.cloud.make_task("1.2", bench.firmware(version="2.0.1"))
    bench.upgraded("1.2")


@SUITE.case("cancel-then-update", "After a withdrawn firmware the next one is installed", "threats")
def cancel_then_update(bench: DeviceBench) -> None:
    """The URL of the first answers 404 from now on."""
    bad = bench.firmware()
    bad.gone = True
    bench.cloud.make_task(TASK, bad)
    bench.online()
    bench.wait(lambda: bool(bench.cloud.downloads(bad)), "a request for the firmware")
    bench.cloud.make_task("1.2", bench.firmware(version="2.0.1"))
    bench.upgraded("1.2")


@SUITE.case(
    "disconnect-and-resume",
    "A broken download goes on at the last whole block",
    "cloudsdk-protocol 3.5, threats",
)
def resume(bench: DeviceBench) -> None:
    """Bytes are money on a mobile line; 5000 bytes came, so it goes on at 4096."""
    firmware = bench.firmware(cut(CUT))
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.upgraded()
    offsets = [request.offset for request in bench.cloud.downloads(firmware)]
    expect(CUT // BLOCK * BLOCK in offsets, f"a range from {CUT // BLOCK * BLOCK}", offsets)


@SUITE.case("resume-after-power-loss", "A download goes on after a loss of power", "platform 9.6")
def resume_after_power_loss(bench: DeviceBench) -> None:
    """The manual promises it; CloudSDK 2.0.0 starts over."""
    firmware = bench.firmware(cut(CUT), *[status(503)] * 3)
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.wait(lambda: len(bench.cloud.downloads(firmware)) > 1, "a second attempt")
    before = len(bench.cloud.downloads(firmware))
    bench.power_cycle()
    bench.upgraded()
    offsets = [request.offset or 0 for request in bench.cloud.downloads(firmware)[before:]]
    expect(offsets and offsets[0] > 0, "a range at the first request after the loss", offsets)


@SUITE.case(
    "disconnect-and-cancel", "A download whose firmware is gone leaves the device as it was", "threats"
)
def disconnect_and_cancel(bench: DeviceBench) -> None:
    """Its connection broke, and when it comes back the task has been cancelled."""
    firmware = bench.firmware(cut(CUT))
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.wait(lambda: bool(bench.cloud.downloads(firmware)), "a request for the firmware")
    firmware.gone, bench.cloud.task = True, None
    bench.wait(lambda: len(bench.cloud.downloads(firmware)) > 1, "a second attempt")
    bench.cloud.drop()
    bench.settle()
    bench.wait(lambda: len(bench.cloud.connects) > 1, "another CONNECT")
    bench.answers("0.0")


@SUITE.case(
    "two-updates-cancel-first",
    "The second of two updates is installed when the first is cancelled",
    "threats",
)
def two_updates(bench: DeviceBench) -> None:
    """The first is under way when the second comes."""
    first = bench.firmware(cut(CUT))
    bench.cloud.make_task(TASK, first)
    bench.online()
    bench.wait(lambda: bool(bench.cloud.downloads(first)), "a request for the first firmware")
    first.gone = True
    bench.cloud.make_task("1.2", bench.firmware(version="2.0.1"))
    bench.upgraded("1.2")


@SUITE.case(
    "image-crashed", "A firmware that does not start is rolled back", "threats", severity=Severity.SHOULD
)
def image_crashed(bench: DeviceBench) -> None:
    """The device comes back with the old one. A bootloader with one slot cannot."""
    raw = bytes(4) + bench.package()[HEADER_SIZE + 4 :]  # no stack
    firmware = bench.cloud.publish("app", NEW, pack(raw, name="app", version=NEW, timestamp=1))
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.wait(lambda: bool(bench.cloud.downloads(firmware)), "a request for the firmware")
    connects = len(bench.cloud.connects)
    bench.wait(lambda: len(bench.cloud.connects) > connects, "the device online again")


@SUITE.case(
    "rollback-if-it-cannot-connect",
    "A firmware that reaches no cloud is rolled back",
    "threats",
    severity=Severity.SHOULD,
)
def cannot_connect(bench: DeviceBench) -> None:
    """Here the new firmware is refused by the broker, and only the old one would be let in."""

    def lie(_request: Request, honest: Answer) -> Answer:
        bench.cloud.admits += [ReturnCode.NOT_AUTHORIZED] * 8
        return honest

    firmware = bench.firmware(lie)
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.wait(lambda: bool(bench.cloud.downloads(firmware)), "a request for the firmware")
    bench.wait(lambda: not bench.cloud.admits, "connections after the upgrade", 3 * bench.target.patience)
    bench.cloud.task = None
    reports = len(bench.cloud.versions())
    bench.wait(lambda: len(bench.cloud.versions()) > reports, "a report")
    expect_equal(bench.cloud.versions()[-1], "0.0", "the version after the rollback")


@SUITE.case(
    "set-in-order",
    "A set is installed in its order, its version reported at the end",
    "cloudsdk-protocol 3.2, threats: mix-and-match",
)
def in_order(bench: DeviceBench) -> None:
    """A new application over an old file system is a device that does not work."""
    app, files = bench.firmware(), bench.firmware(name="filesystem", version="1.0.0")
    bench.cloud.make_task(TASK, app, files)
    bench.online()
    bench.upgraded()
    paths = [request.path for request in bench.cloud.downloads()]
    expect(bool(bench.cloud.downloads(files)), "both firmwares downloaded", paths)
    first_files = paths.index(bench.cloud.downloads(files)[0].path)
    expect(first_files >= len(bench.cloud.downloads(app)), "the application first", paths)


# What servers do


def _recovers(bench: DeviceBench, *lies: Lie) -> None:
    """After the lies the server is honest: the device asks again and ends up with the firmware."""
    firmware = bench.firmware(*lies)
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.upgraded()
    _asked_again(bench, firmware, len(lies))


def _asked_again(bench: DeviceBench, firmware: Firmware, lies: int) -> None:
    """Who was told nothing but lies cannot have the firmware."""
    seen = len(bench.cloud.downloads(firmware))
    expect(seen > lies, f"more than {lies} requests", seen)


@SUITE.case("lie-other-offset", "A 206 from another offset is never spliced in", "threats: lying Range")
def other_offset(bench: DeviceBench) -> None:
    """The image would be right in length and wrong in the middle."""

    def lie(_request: Request, honest: Answer) -> Answer:
        return replace(
            honest, body=honest.body[16:] + bytes(16), fields=(("Content-Range", "bytes 16-99/100"),)
        )

    _recovers(bench, cut(CUT), lie)


@SUITE.case("lie-200-for-206", "A 200 in answer to a range is not appended", "threats: lying Range")
def whole_for_range(bench: DeviceBench) -> None:
    """The server does not know ranges."""

    firmware = bench.firmware(cut(CUT))
    firmware.lies.append(lambda _request, _honest: Answer(200, firmware.body))
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.upgraded()


@SUITE.case("lie-200-for-ever", "A server without ranges is no dead end", "threats: lying Range")
def never_ranges(bench: DeviceBench) -> None:
    """CloudSDK 2.0.0 asks it for ever."""
    firmware = bench.firmware()

    def lie(_request: Request, _honest: Answer) -> Answer:
        return Answer(200, firmware.body)

    firmware.lies.extend([cut(CUT), *[lie] * LIES])
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.upgraded()


@SUITE.case("lie-416", "A 416 on resume is no dead end", "threats: lying Range")
def not_satisfiable(bench: DeviceBench) -> None:
    """The file on the server was replaced by a shorter one, or a proxy is confused."""
    _recovers(bench, cut(CUT), status(416))


@SUITE.case(
    "lie-changed-file", "A file that changed on the server is not spliced in", "threats: changed ETag"
)
def changed(bench: DeviceBench) -> None:
    """The head of one firmware with the tail of another."""
    firmware = bench.firmware(cut(CUT))

    def other(request: Request, honest: Answer) -> Answer:
        return replace(honest, body=bytes(len(honest.body)), fields=(("ETag", '"other"'), *honest.fields[1:]))

    firmware.lies.append(other)
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.upgraded()
    _asked_again(bench, firmware, 2)


@SUITE.case("server-errors", "404 and 503 are tried again", "cloudsdk-protocol 3.6, threats")
def errors(bench: DeviceBench) -> None:
    """The firmware may come to the server after the task."""
    _recovers(bench, status(404), status(503))


@SUITE.case("redirect-loop", "A redirect loop is no storm of requests", "threats: redirect loop")
def redirect_loop(bench: DeviceBench) -> None:
    """The number of redirects for one request is bounded, and there is a pause before the next."""
    firmware = bench.firmware()
    firmware.lies.extend([status(302, [("Location", firmware.url)])] * LIES)
    bench.cloud.make_task(TASK, firmware)
    bench.online()
    bench.wait(lambda: bool(bench.cloud.downloads(firmware)), "a request for the firmware")
    bench.settle(2.0)
    expect(
        len(bench.cloud.downloads(firmware)) <= MANY,
        f"at most {MANY} requests in 2 s",
        len(bench.cloud.downloads(firmware)),
    )
    bench.answers("0.0")


@SUITE.case(
    "endless-body",
    "Bytes behind the declared size are ignored",
    "cloudsdk-protocol 3.4, threats: endless body",
)
def endless(bench: DeviceBench) -> None:
    """The device stops at the size that the task names."""

    def lie(_request: Request, honest: Answer) -> Answer:
        return replace(honest, body=honest.body + bytes(200_000))

    bench.cloud.make_task(TASK, bench.firmware(lie))
    bench.online()
    bench.upgraded()


@SUITE.case("short-body", "A body that ends early is no firmware", "threats: truncated body")
def short(bench: DeviceBench) -> None:
    """Its Content-Length says that this was all."""

    def lie(_request: Request, honest: Answer) -> Answer:
        return replace(honest, body=honest.body[:CUT], declared=CUT)

    _recovers(bench, lie)


@SUITE.case(
    "oversized-task", "A firmware beyond the partition is not downloaded", "threats: longer than declared"
)
def oversized(bench: DeviceBench) -> None:
    """Flash behind the partition belongs to something else."""
    bench.online()
    firmware = bench.firmware()
    bench.cloud.asks = False
    item: dict[str, Json] = {
        "type": "app",
        "file_version": NEW,
        "file_url": firmware.url,
        "upgrade_mode": 1,
        "file_size": 1 << 30,
        "index": 1,
    }
    bench.cloud.say(DataPoint.OTA_TASK, {"createdTime": 1, "version": TASK, "firmwares": [item]})
    bench.settle()
    bench.answers()
    expect(TASK not in bench.cloud.versions(), f"no report of {TASK}", bench.cloud.versions())
