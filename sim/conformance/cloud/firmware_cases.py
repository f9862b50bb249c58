"""Firmware over HTTP: transport encryption, ranges, validators (cloudsdk-protocol 3.3 to 3.5)."""

from typing import Final

from cloudsdk.ota.transport import cipher, rounded
from sim.conformance.case import Severity, expect, expect_equal
from sim.conformance.cloud.bench import SUITE, CloudBench, Identity, package
from sim.conformance.cloud.http import Response, exchange, get
from sim.conformance.stream import Address

SIZES: Final = (32, 33, 47, 48, 1024, 5001)  # bytes of firmware, most of them no whole cipher blocks
OFFSETS: Final = (16, 1024, 2048, 4096)  # where a device resumes: whole blocks of 1024, and the smallest


def _body(plain: bytes, device_key: str) -> bytes:
    return cipher(device_key).encryptor().update(plain.ljust(rounded(len(plain)), b"\0"))


class _Download:
    """A device with a task of one package, and requests to its URL."""

    def __init__(self, bench: CloudBench, identity: Identity | None = None, size: int = 5000) -> None:
        self.bench = bench
        self.identity = identity or bench.fresh()
        self.plain = package(size=size)
        self.key = ""
        bench.new_task([self.identity], [self.plain])
        self.address = self.asked()

    def asked(self) -> Address:
        """The address that the device is told."""
        credentials = self.bench.activate(self.identity)
        self.key = credentials.device_key
        _, task = self.bench.offered(self.identity, credentials=credentials)
        return Address.of(task.firmware[0].url, self.bench.target.activation.ca)

    @property
    def body(self) -> bytes:
        """What the device has to get, up to the content of the padding."""
        return _body(self.plain, self.key)

    def get(self, *fields: str, method: str = "GET") -> Response:
        request = get(self.address, *fields, method=method)
        return exchange(self.bench.scope, self.address, request, head_only=method == "HEAD")

    def plain_of(self, body: bytes) -> bytes:
        whole = len(body) // 16 * 16
        return cipher(self.key).decryptor().update(body[:whole])[: len(self.plain)]


@SUITE.case(
    "firmware-cipher", "The body is AES-256-CBC by DeviceKey", "cloudsdk-protocol 3.4", needs=["admin"]
)
def transport(bench: CloudBench) -> None:
    """Key = the 32 characters of DeviceKey, IV = the first 16. Anything else fails in the package's check."""
    download = _Download(bench)
    response = download.get()
    expect_equal(response.status, 200, "HTTP status")
    expect(
        download.plain_of(response.body) == download.plain, "the package after decryption", "something else"
    )


@SUITE.case(
    "firmware-length",
    "The body has at least ceil16(file_size) bytes",
    "cloudsdk-protocol 3.4",
    needs=["admin"],
)
def length(bench: CloudBench) -> None:
    """The device reads the rounded size; a body without padding is a short read, retried for ever."""
    for size in SIZES:
        download = _Download(bench, size=size)
        body = download.get().body
        wanted = rounded(len(download.plain))
        expect(
            len(body) >= wanted, f"at least {wanted} bytes for a package of {len(download.plain)}", len(body)
        )
        expect(
            download.plain_of(body) == download.plain,
            f"the package of {len(download.plain)} bytes",
            "another",
        )


@SUITE.case(
    "firmware-header-spelling",
    "Content-Length is there and spelt so",
    "cloudsdk-protocol 1.3, 3.3",
    needs=["admin"],
)
def spelling(bench: CloudBench) -> None:
    """The client searches it case-sensitively, and has never been seen with a chunked body."""
    response = _Download(bench).get()
    expect_equal(response.spelt("Content-Length"), str(len(response.body)), "Content-Length")
    expect(
        response.field("Transfer-Encoding") is None,
        "no Transfer-Encoding",
        response.field("Transfer-Encoding"),
    )


@SUITE.case(
    "firmware-range",
    "A range from an offset is answered 206 with the rest",
    "cloudsdk-protocol 3.3, 3.5",
    needs=["admin"],
)
def ranged(bench: CloudBench) -> None:
    """Anything but 206 sends the device into a loop until it is reset; other bytes splice two images."""
    download = _Download(bench)
    whole = download.get().body
    for offset in OFFSETS:
        response = download.get(f"Range: bytes={offset}-")
        expect_equal(response.status, 206, f"for offset {offset} status")
        expect(
            response.body == whole[offset:],
            f"the body from offset {offset}",
            f"{len(response.body)} other bytes",
        )
        wanted = f"bytes {offset}-{len(whole) - 1}/{len(whole)}"
        expect_equal(response.field("Content-Range"), wanted, "Content-Range")


@SUITE.case(
    "firmware-range-unaligned",
    "A range may begin at any byte",
    "RFC 9110 14",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def unaligned(bench: CloudBench) -> None:
    """Proxies and download tools ask for ranges of their own."""
    download = _Download(bench)
    whole = download.get().body
    for offset in (1, 1023, 1025, len(whole) - 1):
        response = download.get(f"Range: bytes={offset}-")
        expect_equal(response.status, 206, f"for offset {offset} status")
        expect(
            response.body == whole[offset:],
            f"the body from offset {offset}",
            f"{len(response.body)} other bytes",
        )


@SUITE.case(
    "firmware-range-closed",
    "A closed range is answered with just that",
    "RFC 9110 14",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def closed(bench: CloudBench) -> None:
    """A tester fetches one block."""
    download = _Download(bench)
    whole = download.get().body
    response = download.get("Range: bytes=16-31")
    expect_equal((response.status, response.body), (206, whole[16:32]), "status and bytes")


@SUITE.case(
    "firmware-range-suffix",
    "A suffix range is answered with the end",
    "RFC 9110 14.1.2",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def suffix(bench: CloudBench) -> None:
    """`bytes=-16` is not `bytes=0-16`."""
    download = _Download(bench)
    whole = download.get().body
    response = download.get("Range: bytes=-16")
    expect_equal((response.status, response.body), (206, whole[-16:]), "status and bytes")


@SUITE.case(
    "firmware-range-beyond",
    "A range behind the end is answered 416",
    "RFC 9110 15.5.17, threats",
    needs=["admin"],
)
def beyond(bench: CloudBench) -> None:
    """A 200 or 206 there is taken for the rest of the firmware."""
    download = _Download(bench)
    size = len(download.get().body)
    response = download.get(f"Range: bytes={size}-")
    expect_equal(response.status, 416, "HTTP status")
    expect_equal(response.field("Content-Range"), f"bytes */{size}", "Content-Range")


@SUITE.case(
    "firmware-etag",
    "An entity tag is strong and stays",
    "RFC 9110 8.8.3, threats",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def etag(bench: CloudBench) -> None:
    """By it a device knows after a break that the rest belongs to what it has."""
    download = _Download(bench)
    first, second = download.get(), download.get("Range: bytes=1024-")
    tag = first.field("ETag")
    expect(tag is not None and tag.startswith('"'), "a strong ETag", tag)
    expect_equal(second.field("ETag"), tag, "the same ETag with a 206:")


@SUITE.case(
    "firmware-if-range",
    "If-Range with a stale tag gets the whole body",
    "RFC 9110 13.1.5",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def if_range(bench: CloudBench) -> None:
    """Else the head of one firmware is joined to the tail of another."""
    download = _Download(bench)
    first = download.get()
    stale = download.get("Range: bytes=1024-", 'If-Range: "of-another-firmware"')
    expect_equal(
        (stale.status, len(stale.body)), (200, len(first.body)), "with a stale tag status and length"
    )
    if (tag := first.field("ETag")) is not None:
        fresh = download.get("Range: bytes=1024-", f"If-Range: {tag}")
        expect_equal(fresh.status, 206, "with the right tag status")


@SUITE.case(
    "firmware-head",
    "HEAD tells the length and sends no body",
    "RFC 9110 9.3.2",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def head(bench: CloudBench) -> None:
    """Tools look before they fetch."""
    download = _Download(bench)
    wanted = download.get().field("Content-Length")
    response = download.get(method="HEAD")
    expect_equal(
        (response.status, response.field("Content-Length")), (200, wanted), "status and Content-Length"
    )
    expect_equal(response.body, b"", "a body of")


@SUITE.case(
    "firmware-bad-range",
    "A range that is none is no error",
    "RFC 9110 14.2",
    severity=Severity.SHOULD,
    needs=["admin"],
)
def bad_range(bench: CloudBench) -> None:
    """It is ignored, or refused with 416 or 400; the server goes on."""
    download = _Download(bench)
    for text in ("bytes=", "bytes=-", "bytes=9-5", "lines=1-2", "bytes=" + "9" * 3000 + "-", "bytes=0-0,5-5"):
        status = download.get(f"Range: {text}").status
        expect(status in (200, 206, 400, 416), f"200, 206, 400 or 416 for {text[:20]!r}", status)


@SUITE.case(
    "firmware-per-device", "Each device gets a body of its own", "cloudsdk-protocol 3.4", needs=["admin"]
)
def per_device(bench: CloudBench) -> None:
    """The key is the device's, so what one has downloaded is of no use to another."""
    first = bench.fresh()
    other = bench.add_device(first.product)
    bench.new_task([first, other], [package()])
    bodies = []
    for identity in (first, other):
        credentials = bench.activate(identity)
        _, task = bench.offered(identity, credentials=credentials)
        address = Address.of(task.firmware[0].url, bench.target.activation.ca)
        body = exchange(bench.scope, address, get(address)).body
        expect(body.startswith(_body(package(), credentials.device_key)), "its own key", "another one")
        bodies.append(body)
    expect(bodies[0] != bodies[1], "two bodies", "the same twice")


@SUITE.case(
    "firmware-unknown", "A firmware URL that was never issued is not answered 200", "threats", needs=["admin"]
)
def unknown(bench: CloudBench) -> None:
    """A device would store an error page; a stranger would read along."""
    address = _Download(bench).address
    for path in (address.path[:-8] + "x" * 8, "/fw/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"):
        wrong = Address(address.host, address.port, path, address.secure, address.ca)
        status = exchange(bench.scope, wrong, get(wrong)).status
        expect(400 <= status < 500, f"a status from 400 to 499 for {path!r}", status)
