"""HTTP of one fleet device: exactly the bytes the core asks for, on an event loop."""

import asyncio
import logging
from typing import Final, Protocol, cast
from urllib.parse import quote, urljoin, urlsplit

from cloudsdk import console
from cloudsdk import events as ev
from cloudsdk.errors import CloudSdkError
from cloudsdk.http_transport import DEFAULT_PORTS, REDIRECTS, RedirectError
from cloudsdk.limits import Limits
from cloudsdk.tls_context import tls_failure
from sim.fleet.http_response import End, Head, ResponseError, ResponseReader
from sim.fleet.sockets import Sockets
from sim.fleet.timers import Timer, TimerWheel

_log = logging.getLogger(__name__)

_BUFFER: Final = memoryview(bytearray(256 * 1024))  # of whichever connection reads; nothing stays in it
_TIMEOUT: Final = "http"
_PATH: Final = "!#$%&'()*+,/:;=?@[]~"  # what `requests` leaves as it is


class HttpOwner(Protocol):
    """The device."""

    def http_event(self, exchange: "HttpExchange", event: ev.Event, /) -> None: ...


class HttpExchange(asyncio.BufferedProtocol):
    """One request and its response, redirects included; `owner` hears of it until `cancel`.

    It reads `most` bytes at a time, or as many as there are.
    """

    __slots__ = (
        "_done",
        "_effect",
        "_limits",
        "_most",
        "_owner",
        "_reader",
        "_sockets",
        "_task",
        "_timer",
        "_transport",
        "_wheel",
        "request",
    )

    def __init__(
        self,
        owner: HttpOwner,
        effect: ev.HttpRequest,
        sockets: Sockets,
        wheel: TimerWheel,
        limits: Limits,
        most: int | None = None,
    ) -> None:
        self.request = effect.request
        self._owner: HttpOwner | None = owner
        self._effect = effect
        self._sockets = sockets
        self._wheel = wheel
        self._limits = limits
        self._most = most
        self._reader = ResponseReader()
        self._done: asyncio.Future[str | None]  # of the connection that is open
        self._transport: asyncio.Transport | None = None
        self._timer: Timer
        self._task = asyncio.get_running_loop().create_task(self._run())

    def cancel(self) -> None:
        """Close the connection; no event follows."""
        self._owner = None
        self._task.cancel()

    def break_off(self, cause: str) -> None:
        """Lose the connection, or the attempt at one, as if the network had."""
        owner = self._owner
        self.cancel()
        if owner is not None:
            owner.http_event(self, ev.HttpFailed(self.request, cause))

    async def _run(self) -> None:
        peer = ""
        try:
            async with self._sockets.http:
                url = self._effect.url
                for _ in range(self._limits.redirects + 1):
                    peer = urlsplit(url).netloc.rpartition("@")[2]
                    location = await self._exchange(url)
                    if location is None:
                        break
                    if urlsplit(url).scheme == "https" != urlsplit(location).scheme:
                        raise RedirectError(f"{peer} redirects to what is not https: refused")
                    url = location
                else:
                    raise ConnectionError("too many redirects")
        except (OSError, ValueError, CloudSdkError) as exc:
            self._fail(exc, peer)
        else:
            self._tell(ev.HttpEnded(self.request))

    async def _exchange(self, url: str) -> str | None:
        """Send the request to `url` and hand in the response; a redirect is returned instead."""
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        request = _request_bytes(self._effect, url)
        self._reader = ResponseReader()
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        self._timer = Timer(self, _TIMEOUT)
        try:
            async with asyncio.timeout(self._limits.http_timeout):
                transport = await self._sockets.open(
                    self, host, parts.port or DEFAULT_PORTS.get(parts.scheme, 0), tls=secure
                )
            transport.write(request)
            self._wheel.start(self._timer, self._limits.http_timeout)
            location = await self._done
            return urljoin(url, location) if location is not None else None
        finally:
            self._wheel.stop(self._timer)
            if self._transport is not None:
                self._transport.abort()
                self._transport = None

    # --- the connection -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by inheritance

    def get_buffer(self, _size: int) -> memoryview:
        return _BUFFER if self._most is None else _BUFFER[: self._most]

    def buffer_updated(self, count: int) -> None:
        self._wheel.start(self._timer, self._limits.http_timeout)
        try:
            for part in self._reader.feed(bytes(_BUFFER[:count])):
                if self._owner is None or self._done.done():
                    return
                self._take(part)
        except ResponseError as exc:
            self._close(exc)

    def _take(self, part: Head | bytes | End) -> None:
        match part:
            case bytes():
                self._tell(ev.HttpData(self.request, part))
            case Head(status, headers):
                if status in REDIRECTS and (location := headers.get("location")):
                    self._done.set_result(location)
                else:
                    self._tell(ev.HttpOpened(self.request, status, headers))
            case End():
                self._close(None)

    def eof_received(self) -> None:
        """The transport closes itself."""

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is None:
            return  # closed on purpose, or never open
        if error is None and not self._reader.may_end:
            error = ConnectionError("the connection was closed")
        self._close(error)

    def timer_fired(self, _name: str) -> None:
        self._close(TimeoutError())

    def _close(self, error: Exception | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)

    # --- events -------------------------------------------------------------------------------------

    def _tell(self, event: ev.Event) -> None:
        if self._owner is not None:
            self._owner.http_event(self, event)

    def _fail(self, error: Exception, peer: str) -> None:
        refusal = str(error) if isinstance(error, CloudSdkError) else tls_failure(error, peer)
        if refusal is not None and not isinstance(error, ResponseError):
            self._tell(ev.ConsoleOutput(console.error("tls", refusal)))
        reason = refusal or ("timeout" if isinstance(error, TimeoutError) else "no connection")
        _log.debug("%s: %s", self.request, reason)
        self._tell(ev.HttpFailed(self.request, reason))


def _request_bytes(effect: ev.HttpRequest, url: str) -> bytes:
    """The request as `cloudsdk.http_transport` sends it. Raises `ValueError` for a URL that cannot be."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("no http or https URL")
    target = quote(parts.path or "/", safe=_PATH)
    if parts.query:
        target += "?" + quote(parts.query, safe=_PATH)
    lines = [f"{effect.method} {target} HTTP/1.1"]
    for name, value in effect.headers:
        lines.append(f"{name}: {parts.hostname if name == 'Host' else value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (effect.body or b"")
