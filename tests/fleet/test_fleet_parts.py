"""Ramps, identities, histograms, responses, timers and limits of a fleet."""

import asyncio
import itertools
import resource
from pathlib import Path

import pytest

from cloudsdk.errors import CloudSdkError
from sim.fleet.errors import FileLimitError
from sim.fleet.fleet import FleetConfig
from sim.fleet.histogram import Histogram
from sim.fleet.http_response import MAX_HEAD, End, Head, ResponseError, ResponseReader
from sim.fleet.identities import Population, numbered, read_identities
from sim.fleet.ramps import parse_ramp
from sim.fleet.sockets import http_connections
from sim.fleet.timers import Timer, TimerWheel


def arrivals(text: str, count: int) -> list[float]:
    return list(itertools.islice(parse_ramp(text).arrivals(), count))


def test_ramps_are_functions_of_time() -> None:
    assert arrivals("linear:100/s", 3) == [0.0, 0.01, 0.02]
    assert arrivals("step:2/10s", 5) == [0.0, 0.0, 10.0, 10.0, 20.0]
    assert arrivals("spike", 2) == [0.0, 0.0]
    assert arrivals("spike:2.5s", 2) == [2.5, 2.5]
    poisson = arrivals("poisson:100/s:7", 5000)
    assert poisson == arrivals("poisson:100/s:7", 5000)
    assert poisson != arrivals("poisson:100/s:8", 5000)
    assert poisson == sorted(poisson)
    assert 45 < poisson[-1] < 55  # 5000 at 100/s, three standard deviations are 2.1
    gaps = [after - before for before, after in itertools.pairwise(poisson)]
    assert 0.009**2 < sum((gap - 0.01) ** 2 for gap in gaps) / len(gaps) < 0.011**2  # as wide as its mean


@pytest.mark.parametrize(
    "text", ["", "linear", "linear:0/s", "linear:1", "step:0/1s", "spike:", "poisson:x/s", "linear:1e9/s"]
)
def test_other_ramps_are_refused(text: str) -> None:
    with pytest.raises(CloudSdkError) as error:
        parse_ramp(text)
    assert error.value.code == "fleet.ramp"


def test_identities_come_from_a_column_or_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "sns.csv"
    path.write_text('\ufeffname,SN\r\n"a, b",S1\r\n\r\nc,S2\r\n')
    assert read_identities(path) == ("S1", "S2")
    assert read_identities(path, count=1) == ("S1",)
    path.write_text("S1\nS2,x\n")
    assert read_identities(path) == ("S1", "S2")
    assert numbered("A##Z", 2, first=9) == ("A09Z", "A10Z")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "holds no serial numbers"),
        (b"sn\n", "holds no serial numbers"),
        (b"S1\nS1\n", "comes twice"),
        (b"S" * 33 + b"\n", "serial number 1 is not"),
        (b"S1\n\xff\n", "not a CSV file in UTF-8"),
        (b"name,sn\nx\n", "row 2 has no column 2"),
        (b'"S1', "not a CSV file"),
        (b"S1\n", "holds 1 serial numbers, 2 are wanted"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "sns.csv"
    path.write_bytes(content)
    with pytest.raises(CloudSdkError, match=reason) as error:
        read_identities(path, count=2)
    assert error.value.code == "fleet.identities"
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("pattern", "count"), [("A", 1), ("#A#", 1), ("A#", 10), ("A#", 0), ("#" * 33, 1)])
def test_other_patterns_are_refused(pattern: str, count: int) -> None:
    with pytest.raises(CloudSdkError) as error:
        numbered(pattern, count)
    assert error.value.code == "fleet.identities"


def test_a_histogram_is_at_most_three_per_cent_off() -> None:
    histogram = Histogram()
    durations = [1.01**number * 1e-4 for number in range(1500)]
    for seconds in durations:
        histogram.add(seconds)
    for share in (0.01, 0.5, 0.9, 0.99):
        exact = durations[int(share * len(durations)) - 1]
        assert exact * 0.97 <= histogram.percentile(share) <= exact * 1.04
    assert histogram.percentile(1.0) == histogram.longest == durations[-1]
    assert Histogram().summary()["p50"] == 0.0


def parts(data: bytes, step: int) -> list[Head | bytes | End]:
    """The response in pieces of `step` bytes; consecutive pieces of the body are joined."""
    reader = ResponseReader()
    found: list[Head | bytes | End] = []
    for start in range(0, len(data), step):
        for part in reader.feed(data[start : start + step]):
            if isinstance(part, bytes) and found and isinstance(found[-1], bytes):
                found[-1] += part
            else:
                found.append(part)
    return found


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_responses_are_read_in_pieces_of_any_size(step: int) -> None:
    counted = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nContent-Length: 3\r\n\r\nabcX"
    assert parts(counted, step) == [Head(200, {"a": "1, 2", "content-length": "3"}), b"abc", End.END]
    chunked = b"HTTP/1.1 206 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"2;x=y\r\nab\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"
    assert parts(chunked, step) == [Head(206, {"transfer-encoding": "chunked"}), b"ab0123456789", End.END]
    assert parts(b"HTTP/1.0 200\r\n\r\nabc", step) == [Head(200, {}), b"abc"]
    assert parts(b"HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\nabc", step)[1:] == [End.END]
    assert parts(b"HTTP/1.1 400 N\r\nContent-Length: 0\r\n\r\n", step)[1:] == [End.END]


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A" * (MAX_HEAD + 1),
    ],
)
def test_other_responses_are_refused(data: bytes) -> None:
    for step in (1, 5000):
        with pytest.raises(ResponseError):
            parts(data, step)


class Owner:
    def __init__(self, enough: int) -> None:
        self.fired: list[str] = []
        self.done = asyncio.Event()
        self._enough = enough

    def timer_fired(self, name: str) -> None:
        self.fired.append(name)
        if len(self.fired) == self._enough:
            self.done.set()


def test_timers_fire_in_order_when_last_set_and_once() -> None:
    async def run() -> list[str]:
        wheel = TimerWheel(asyncio.get_running_loop())
        owner = Owner(4)
        names = ("later", "earlier", "stopped", "plain", "last")
        timers = {name: Timer(owner, name) for name in names}
        for seconds, name in (
            (0.02, "later"),
            (0.5, "earlier"),
            (0.03, "stopped"),
            (0.04, "plain"),
            (0.12, "last"),
        ):
            wheel.start(timers[name], seconds)
        wheel.start(timers["later"], 0.08)
        wheel.start(timers["earlier"], 0.02)
        wheel.stop(timers["stopped"])
        await asyncio.wait_for(owner.done.wait(), 5)
        wheel.close()
        return owner.fired

    assert asyncio.run(run()) == ["earlier", "plain", "later", "last"]


def test_more_devices_than_files_are_refused() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert http_connections(10) >= 64
    with pytest.raises(FileLimitError, match="run at most") as error:
        http_connections(hard)
    assert error.value.code == "fleet.file-limit"
    most = int(str(error.value).partition("at most ")[2].partition(",")[0])
    assert http_connections(most) == 64


@pytest.mark.parametrize(
    ("populations", "keys"), [([], {}), ([Population("p", ())], {"p": "k"}), ([Population("p", ("S",))], {})]
)
def test_a_fleet_that_cannot_be_is_refused(populations: list[Population], keys: dict[str, str]) -> None:
    with pytest.raises(CloudSdkError) as error:
        FleetConfig(populations, keys, "http://127.0.0.1:1", "mqtt://127.0.0.1:1")
    assert error.value.code == "fleet.config"
