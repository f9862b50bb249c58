"""Activation (cloudsdk-protocol 1)."""

import json
from dataclasses import replace
from typing import Any, Final

from cloudsdk.activation import DEVICE_ID_LENGTH, DEVICE_KEY_LENGTH, sign
from cloudsdk.cjson import JsonError, member, parse
from sim.conformance.case import Severity, expect, expect_equal, violated
from sim.conformance.cloud.bench import SUITE, CloudBench, Identity
from sim.conformance.cloud.http import exchange, get, post_head

MAX_ANSWER: Final = 4096  # bytes of head and of body that the original reads (1.3)
FLOOD: Final = 30  # wrong activations in a row
_MALFORMED: Final = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 2000,
    b"SN=1&Sign=2&ProductId=3",
    b'{"Sign":1,"SN":2,"ProductId":3}',
    b'{"Sign":null,"SN":null,"ProductId":null}',
    b'{"Sign":"","SN":"","ProductId":""}',
)


def _refused(bench: CloudBench, identity: Identity, **changed: Any) -> None:
    body = json.dumps({**json.loads(identity.request), **changed}).encode()
    status = bench.post(body).status
    expect(400 <= status < 500, "HTTP status 400", status)


@SUITE.case(
    "activation-right", "A right activation answers 200 with the device's ids", "cloudsdk-protocol 1.2, 1.3"
)
def right(bench: CloudBench) -> None:
    """Without DeviceId and DeviceKey as strings a device of CloudSDK 2.0.0 stores what lies at address 0."""
    response = bench.post(bench.identity().request)
    expect_equal(response.status, 200, "HTTP status")
    try:
        found = parse(response.body)
    except JsonError:
        violated("a JSON object", f"{len(response.body)} other bytes")
    for name in ("DeviceId", "DeviceKey"):
        expect(isinstance(member(found, name), str), f"{name} as a string", sorted(_names(found)))


def _names(value: object) -> list[str]:
    return list(value) if isinstance(value, dict) else []


@SUITE.case("activation-id-lengths", "DeviceId has 16 characters, DeviceKey 32", "cloudsdk-protocol 1.3")
def lengths(bench: CloudBench) -> None:
    """The device copies exactly so many; shorter ones pick up what lies beside them."""
    found = parse(bench.post(bench.identity().request).body)
    for name, length in (("DeviceId", DEVICE_ID_LENGTH), ("DeviceKey", DEVICE_KEY_LENGTH)):
        value = member(found, name)
        expect_equal(len(value) if isinstance(value, str) else None, length, f"characters of {name}:")


@SUITE.case("activation-header-spelling", "Content-Length is spelt exactly so", "cloudsdk-protocol 1.3")
def spelling(bench: CloudBench) -> None:
    """The original searches the field case-sensitively; without it, it reads until the connection ends."""
    response = bench.post(bench.identity().request)
    length = response.spelt("Content-Length")
    expect(length is not None, "a field spelt Content-Length", [name for name, _ in response.fields])
    expect_equal(length, str(len(response.body)), "Content-Length")
    expect(
        response.field("Transfer-Encoding") is None,
        "no Transfer-Encoding",
        response.field("Transfer-Encoding"),
    )


@SUITE.case(
    "activation-answer-fits", "Head and body take at most 4096 bytes each", "cloudsdk-protocol 1.3, 7"
)
def fits(bench: CloudBench) -> None:
    """The device reads the answer once into buffers of this size."""
    response = bench.post(bench.identity().request)
    head = sum(len(name) + len(value) + 4 for name, value in response.fields) + 64
    expect(head <= MAX_ANSWER, f"a head of at most {MAX_ANSWER} bytes", head)
    expect(len(response.body) <= MAX_ANSWER, f"a body of at most {MAX_ANSWER} bytes", len(response.body))


@SUITE.case("activation-repeated", "A repeated activation yields the same ids", "cloudsdk-protocol 9")
def repeated(bench: CloudBench) -> None:
    """A device activates again after every failure to store the answer; new ids would orphan its history."""
    identity = bench.identity()
    first, second = bench.activate(identity), bench.activate(identity)
    expect_equal(second.device_id, first.device_id, "again DeviceId")
    expect(second.device_key == first.device_key, "the same DeviceKey again", "another one")


@SUITE.case("activation-one-segment", "The request may come in one segment", "cloudsdk-protocol 1.2")
def one_segment(bench: CloudBench) -> None:
    """How a request is cut into segments is up to the network."""
    body = bench.identity().request
    address = bench.target.activation
    response = exchange(bench.scope, address, post_head(address, len(body)) + body)
    expect_equal(response.status, 200, "HTTP status")


@SUITE.case("activation-wrong-sign", "A wrong Sign is refused", "cloudsdk-protocol 1.2, 9")
def wrong_sign(bench: CloudBench) -> None:
    """The Sign proves that the device holds the ProductKey."""
    _refused(bench, bench.identity(), Sign="0" * 32)


@SUITE.case(
    "activation-sign-of-another-sn", "The Sign of another SN is refused", "cloudsdk-protocol 1.2, threats"
)
def foreign_sign(bench: CloudBench) -> None:
    """Else one recorded activation would do for every device of the product."""
    identity = bench.identity()
    _refused(bench, identity, Sign=sign(identity.product.product_key, identity.sn + "X"))


@SUITE.case("activation-unknown-sn", "An SN that the cloud does not know is refused", "platform 4.2")
def unknown_sn(bench: CloudBench) -> None:
    """The manual promises error 400 for a wrong SN."""
    identity = bench.identity()
    unknown = replace(identity, sn=bench.new_name("NO"))
    expect_equal(bench.post(unknown.request).status, 400, "HTTP status")


@SUITE.case(
    "activation-unknown-product", "A ProductId that does not exist is refused", "cloudsdk-protocol 1.3"
)
def unknown_product(bench: CloudBench) -> None:
    """A device flashed with the port of another account must notice."""
    _refused(bench, bench.identity(), ProductId="0" * 16)


@SUITE.case(
    "activation-of-another-product", "An SN counts within its product", "cloudsdk-protocol 9", needs=["admin"]
)
def other_product(bench: CloudBench) -> None:
    """The ProductKey of one product opens no device of another."""
    identity = bench.identity()
    foreign = Identity(bench.new_product(), identity.sn)
    status = bench.post(foreign.request).status
    expect(400 <= status < 500, "HTTP status 400", status)


@SUITE.case("activation-errors-never-200", "No malformed request is answered 200", "cloudsdk-protocol 1.3")
def never_200(bench: CloudBench) -> None:
    """The original takes every 200 for success and stores rubbish as an activated device."""
    for body in _MALFORMED:
        status = bench.post(body).status
        expect(status != 200, f"a status other than 200 for the body {body[:40]!r}", status)


@SUITE.case("activation-get", "GET is not an activation", "cloudsdk-protocol 1.2", severity=Severity.SHOULD)
def only_post(bench: CloudBench) -> None:
    """Crawlers and browsers follow links."""
    address = bench.target.activation
    status = exchange(bench.scope, address, get(address)).status
    expect(status != 200, "a status other than 200", status)


@SUITE.case("activation-oversized", "A body beyond any device's is refused", "threats")
def oversized(bench: CloudBench) -> None:
    """What one stranger sends must not fill the memory of the cloud."""
    identity = bench.identity()
    status = bench.post(identity.request + b" " * 300_000).status
    expect(400 <= status < 500, "HTTP status 400 or 413", status)
    bench.activate(identity)


@SUITE.case("activation-flood", "A flood of wrong activations locks no right one out", "threats")
def flood(bench: CloudBench) -> None:
    """A rate limit counts per device, or slows down; a device tries again every ten seconds for ever."""
    identity = bench.identity()
    for _ in range(FLOOD):
        status = bench.post(identity.request.replace(b'"Sign":"', b'"Sign":"x', 1)).status
        expect(400 <= status < 500, "a status from 400 to 499", status)
    bench.activate(bench.identity() if bench.target.hook is not None else identity)
