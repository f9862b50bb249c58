"""Input of strangers: one connection may end, the cloud may not (threats)."""

import contextlib
from typing import Final

from sim.conformance.case import Severity, expect
from sim.conformance.cloud.bench import SUITE, CloudBench
from sim.conformance.cloud.http import ANSWER_TIMEOUT, exchange, get, post_head
from sim.conformance.stream import Address, Stream

CONNECTIONS: Final = 50  # that say nothing
_RUBBISH: Final = (
    b"\0" * 1000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the beginning of TLS
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /devices/active HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /devices/active HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
)


@SUITE.case("hostile-http", "What is no HTTP ends that connection only", "threats")
def http(bench: CloudBench) -> None:
    """Every open port meets scanners within minutes."""
    for data in _RUBBISH:
        stream = Stream(bench.scope, bench.target.activation)
        answer = b""
        with contextlib.suppress(ConnectionError):
            stream.send(data)
            answer = stream.receive(ANSWER_TIMEOUT) or b""
        expect(b" 200 " not in answer[:20], f"no success for {data[:30]!r}", answer[:80])
        stream.close()
    bench.activate(bench.identity())


@SUITE.case("hostile-short-body", "A body that does not come holds nobody up", "threats")
def short_body(bench: CloudBench) -> None:
    """A declared length is a promise of a stranger."""
    address = bench.target.activation
    for length in (100, 10**9, 10**15):
        Stream(bench.scope, address).send(post_head(address, length) + b"{")
    bench.activate(bench.identity())


@SUITE.case("hostile-silent-connections", "Connections that say nothing hold nobody up", "threats")
def silent(bench: CloudBench) -> None:
    """Half-open connections are what a bad radio leaves behind."""
    for _ in range(CONNECTIONS):
        Stream(bench.scope, bench.target.activation)
        Stream(bench.scope, bench.target.mqtt)
    bench.serving(bench.identity())


@SUITE.case("hostile-path", "Paths outside the API are not found", "threats", severity=Severity.SHOULD)
def path(bench: CloudBench) -> None:
    """Traversal and double slashes lead nowhere."""
    given = bench.target.activation
    for wrong in ("/../../etc/passwd", "/%2e%2e%2f%2e%2e%2fetc/passwd", "//devices//active", "/fw/%ff/%00"):
        address = Address(given.host, given.port, wrong, given.secure, given.ca)
        status = exchange(bench.scope, address, get(address)).status
        expect(300 <= status < 500, f"a status from 300 to 499 for {wrong!r}", status)
