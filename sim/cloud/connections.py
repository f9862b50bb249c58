"""Bounds of HTTP connections: how many there are, and how long one may take to ask for something.

Uvicorn has neither, so whoever only connects would take every file that the process may open, the brokers'
included.
"""

import asyncio
import logging
import resource
from dataclasses import dataclass
from typing import ClassVar, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT: Final = 20.0  # seconds from the connection, or the first byte of a request, to its last header
MAX_HTTP: Final = 8192  # HTTP connections at a time
MAX_MQTT: Final = 20_000  # connections of devices at a time
_OWN_FILES: Final = 128  # database, packages, listeners, consoles
_HTTP_SHARE: Final = 4  # of the files that are left, HTTP gets one in so many

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections there may be at a time."""

    http: int
    mqtt: int


def connection_limits() -> ConnectionLimits:
    """What fits the files that this process may open; raises its soft limit as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return shared(None if hard == resource.RLIM_INFINITY else hard)


def shared(files: int | None) -> ConnectionLimits:
    """The shares of so many open files; None is any number."""
    if files is None:
        return ConnectionLimits(MAX_HTTP, MAX_MQTT)
    left = max(files - _OWN_FILES, 2 * _HTTP_SHARE)
    http = min(left // _HTTP_SHARE, MAX_HTTP)
    return ConnectionLimits(http, min(left - http, MAX_MQTT))


class _Bounded(H11Protocol):
    """One HTTP connection. Beyond `most` it is closed at once."""

    most: ClassVar[int]
    _warned: ClassVar[bool] = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) <= self.most:
            self._await_head()
            return
        if not self._warned:
            type(self)._warned = True
            _log.warning("limit of %d HTTP connections reached: refusing more", self.most)
        transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE or self._is_answered_early():
            self._await_head()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_answered_early():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_answered_early(self) -> bool:
        """The rest of the body is still to come; it is dropped."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def http_protocol(limit: int) -> type[asyncio.Protocol]:
    """The protocol of a uvicorn server with at most `limit` connections."""
    return type("Bounded", (_Bounded,), {"most": limit})
