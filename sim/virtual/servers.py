"""HTTP of a cloud in memory: honest answers, and those of servers that lie."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cloudsdk.events import HttpRequest
from sim.virtual.faults import Faults, Kind, value_of
from sim.virtual.releases import Release

_RANGE: Final = re.compile(r"bytes=(\d+)-")


@dataclass(frozen=True, slots=True)
class Response:
    """Status, header fields (names in lower case) and body; an endless body goes on with zero bytes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    endless: bool = False

    def piece(self, start: int, size: int) -> bytes:
        """At most `size` bytes of the body from `start` on; none: it is over."""
        found = self.body[start : start + size]
        return found.ljust(size, b"\0") if self.endless else found


def redirected(url: str) -> Response:
    return Response(302, {"location": url})


def serve(release: Release, request: HttpRequest) -> Response:
    """The answer of an honest server: 200, or 206 for a range that If-Range allows."""
    fields = {"etag": release.etag} if release.etag is not None else {}
    headers = dict(request.headers)
    start = asked_offset(request)
    wanted = headers.get("If-Range")
    if start is None or (wanted is not None and wanted != release.etag):
        return Response(200, fields, release.body)
    size = len(release.body)
    if start >= size:
        return Response(416, {"content-range": f"bytes */{size}"})
    return Response(206, fields | _content_range(start, size), release.body[start:])


def asked_offset(request: HttpRequest) -> int | None:
    """Where the range that is asked for begins; None without a range."""
    found = _RANGE.fullmatch(dict(request.headers).get("Range", ""))
    return int(found[1]) if found is not None else None


def _content_range(start: int, size: int) -> dict[str, str]:
    return {"content-range": f"bytes {start}-{size - 1}/{size}"}


def lie(release: Release, other: Release, request: HttpRequest, faults: Faults) -> Response:
    """The answer of a server with these faults. `other` is another build of the same size."""
    start = asked_offset(request) or 0
    honest = serve(release, request)
    for fault in faults:
        match fault.kind:
            case Kind.NOT_FOUND:
                return Response(404)
            case Kind.UNAVAILABLE:
                return Response(503, {"retry-after": "1"})
            case Kind.NOT_SATISFIABLE:
                return Response(416, {"content-range": f"bytes */{len(release.body)}"})
            case Kind.REDIRECT:
                return redirected(request.url)
            case Kind.WHOLE:
                honest = Response(200, honest.headers, release.body)
            case Kind.OTHER_BODY:
                honest = replace(honest, body=other.body[len(other.body) - len(honest.body) :])
            case Kind.CHANGED_ETAG:
                honest = serve(replace(other, etag=f'"{len(other.package)} other"'), request)
            case Kind.NO_ETAG:
                unconditional = replace(
                    request, headers=tuple(each for each in request.headers if each[0] != "If-Range")
                )
                honest = serve(replace(release, etag=None), unconditional)
            case Kind.OTHER_OFFSET | Kind.UNTOLD_OFFSET if honest.status == 206:
                wrong = max(0, start - (fault.value or 16))
                told = wrong if fault.kind is Kind.OTHER_OFFSET else start
                honest = replace(
                    honest,
                    headers={**honest.headers, **_content_range(told, len(release.body))},
                    body=release.body[wrong:],
                )
    if value_of(faults, Kind.ENDLESS) is not None:
        return replace(honest, endless=True)
    if (more := value_of(faults, Kind.LONGER)) is not None:
        return replace(honest, body=honest.body + bytes(more))
    if (less := value_of(faults, Kind.TRUNCATED)) is not None:
        return replace(honest, body=honest.body[: max(0, len(honest.body) - less)])
    return honest
