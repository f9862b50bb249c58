"""HTTP of a cloud in memory: honest answers, and those of servers that lie."""

import re
from collections.abc import Mapping, Set
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
    kinds = {fault.kind for fault in faults}
    for kind, status in _REFUSALS.items():
        if kind in kinds:
            return Response(status, {"retry-after": "1"} if status == 503 else {})
    if Kind.NOT_SATISFIABLE in kinds:
        return Response(416, {"content-range": f"bytes */{len(release.body)}"})
    if Kind.REDIRECT in kinds:
        return redirected(request.url)
    build = _build(release, other, kinds)
    honest = serve(build, _unconditional(request) if build.etag is None else request)
    if Kind.WHOLE in kinds:
        honest = Response(200, honest.headers, build.body)
    start = asked_offset(request) or 0
    for fault in faults:
        if fault.kind in (Kind.OTHER_OFFSET, Kind.UNTOLD_OFFSET) and honest.status == 206:
            wrong = max(0, start - (fault.value or 16))
            told = wrong if fault.kind is Kind.OTHER_OFFSET else start
            fields = {**honest.headers, **_content_range(told, len(build.body))}
            honest = Response(206, fields, build.body[wrong:])
    if value_of(faults, Kind.ENDLESS) is not None:
        return replace(honest, endless=True)
    if (more := value_of(faults, Kind.LONGER)) is not None:
        return replace(honest, body=honest.body + bytes(more))
    if (less := value_of(faults, Kind.TRUNCATED)) is not None:
        return replace(honest, body=honest.body[: max(0, len(honest.body) - less)])
    return honest


_REFUSALS: Final = {Kind.NOT_FOUND: 404, Kind.UNAVAILABLE: 503}


def _build(release: Release, other: Release, kinds: Set[Kind]) -> Release:
    """Which build a liar serves, and under which entity tag."""
    build = release
    if Kind.OTHER_BODY in kinds:
        build = replace(other, etag=release.etag)
    if Kind.CHANGED_ETAG in kinds:
        build = replace(other, etag='"another"')
    return replace(build, etag=None) if Kind.NO_ETAG in kinds else build


def _unconditional(request: HttpRequest) -> HttpRequest:
    return replace(request, headers=tuple(each for each in request.headers if each[0] != "If-Range"))
