"""Addresses the cloud names, led to another place: firmware URLs, shell and log servers, redirects. Pure."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from cloudsdk.mqtt.packets import Packet, Publish, encode
from cloudsdk.route import Address, Link
from cloudsdk.shell.remote import Server
from sim.traffic.events import MAX_PORT
from sim.traffic.http1 import Head, make_head
from sim.traffic.identifiers import Kind, visit_fields, visit_payload

MAX_URL: Final = 255  # characters of a firmware URL (cloudsdk-protocol 3.1)
MAX_TO_DEVICE: Final = 2047  # bytes of a packet: the original's buffer has no check (cloudsdk-protocol 2.1)
_HTTP_PORT: Final = 80
_SERVERS: Final = {Kind.SHELL_SERVER: Link.SHELL, Kind.LOG_SERVER: Link.LOG}

#: Where connections to an address are to go; None where they cannot be led elsewhere.
Lead = Callable[[Link, str, int], Address | None]


def lead_packet(packet: Packet, lead: Lead) -> Packet:
    """A packet to the device with its addresses led; the same one if that were too long for the device."""
    if not isinstance(packet, Publish):
        return packet
    led = replace(packet, payload=visit_payload(packet.payload, _visitor(lead)))
    too_long = len(encode(led)) > MAX_TO_DEVICE >= len(encode(packet))
    return packet if too_long else led


def lead_response(head: Head, lead: Lead) -> bytes:
    """The head of a response, with its redirect led."""
    fields = visit_fields(head.fields, _visitor(lead))
    return head.raw if fields == head.fields else make_head(head.start, fields)


def lead_request(head: Head, upstream: Address) -> bytes:
    """The head of a request with `upstream` as its `Host`, with a port if it had one."""
    host, port = upstream

    def visit(kind: Kind, text: str) -> str:
        if kind is not Kind.HOST:
            return text
        return f"{host}:{port}" if ":" in text else host

    fields = visit_fields(head.fields, visit)
    return head.raw if fields == head.fields else make_head(head.start, fields)


def _visitor(lead: Lead) -> Callable[[Kind, str], str]:
    def visit(kind: Kind, text: str) -> str:
        if kind is Kind.URL:
            return _lead_url(text, lead)
        if kind in _SERVERS:
            host, _, port = text.rpartition(":")
            # The device asks no DNS: what is no address leads nowhere, and shall go on doing so.
            reachable = Server(host, int(port)).is_reachable and 0 < int(port) <= MAX_PORT
            led = lead(_SERVERS[kind], host, int(port)) if reachable else None
            return f"{led[0]}:{led[1]}" if led is not None else text
        return text

    return visit


def _lead_url(url: str, lead: Lead) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _HTTP_PORT
    except ValueError:
        return url
    if parts.scheme != "http" or not host:
        return url
    led = lead(Link.HTTP, host, port)
    if led is None:
        return url
    new = parts._replace(netloc=f"{led[0]}:{led[1]}").geturl()
    return url if len(new) > MAX_URL >= len(url) else new
