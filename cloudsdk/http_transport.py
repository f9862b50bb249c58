"""HTTP for one device, on requests: exactly the headers the core asks for, nothing added by the library."""

import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import SKIP_HEADER

from cloudsdk import console
from cloudsdk.errors import CloudSdkError
from cloudsdk.events import ConsoleOutput, HttpData, HttpEnded, HttpFailed, HttpOpened, HttpRequest
from cloudsdk.limits import Limits
from cloudsdk.route import Link, Route, direct
from cloudsdk.tls import TlsSettings, TlsUnsupportedError
from cloudsdk.tls_context import client_context, tls_failure

_log = logging.getLogger(__name__)

READ_SIZE: Final = 1024  # bytes per event at most, the original's receive buffer
AHEAD: Final = 64  # events of one request that may wait to be handled
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
REDIRECTS: Final = (301, 302)

HttpEvent = HttpOpened | HttpData | HttpEnded | HttpFailed | ConsoleOutput


class RedirectError(CloudSdkError):
    """A redirect that would give up TLS."""

    code = "tls.redirect"


class _RoutedAdapter(HTTPAdapter):
    """Connects where the route leads; request and headers stay the URL's.

    HTTPS goes by `context`, with the name it checks; requests would add CAs of its own.
    """

    def __init__(self, route: Route, context: ssl.SSLContext | None = None) -> None:
        self._route = route
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        if self._context is not None:
            options["ssl_context"] = self._context
            if not self._context.check_hostname:
                options["assert_hostname"] = False
        super().init_poolmanager(*args, **options)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Everything is in the context."""

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        place, options = super().build_connection_pool_key_attributes(request, verify, cert)
        port = place["port"] or DEFAULT_PORTS[place["scheme"]]
        try:
            place["host"], place["port"] = self._route(Link.HTTP, place["host"], port)
        except OSError as exc:
            raise requests.ConnectionError(exc, request=request) from exc
        return place, options


class HttpExchange(threading.Thread):
    """One request and its response, read no faster than the device handles it.

    Without `tls`, https is refused.
    """

    def __init__(
        self,
        effect: HttpRequest,
        limits: Limits,
        post: Callable[["HttpExchange", HttpEvent], None],
        route: Route = direct,
        tls: TlsSettings | None = None,
    ) -> None:
        super().__init__(name=effect.request, daemon=True)
        self.effect = effect
        self.cancelled = False
        self._limits = limits
        self._post = post
        self._route = route
        self._tls = tls
        self._peer = ""  # host and port that TLS is spoken with
        self._room = threading.Semaphore(AHEAD)

    def handled(self) -> None:
        """The device has taken one event of this exchange."""
        self._room.release()

    def cancel(self) -> None:
        """Nothing more is wanted; the connection closes as soon as the thread notices."""
        self.cancelled = True
        self._room.release()

    def run(self) -> None:
        name = self.effect.request
        try:
            with requests.Session() as session, self._open(session) as response:
                headers = {key.lower(): value for key, value in response.headers.items()}
                self._send(HttpOpened(name, response.status_code, headers))
                raw = response.raw
                raw.enforce_content_length = False  # the core decides what a short body means
                while not self.cancelled and (data := raw.read1(READ_SIZE, decode_content=False)):
                    self._send(HttpData(name, data))
            self._send(HttpEnded(name))
        except CloudSdkError as exc:
            self._refused(str(exc))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as exc:
            if (refusal := tls_failure(exc, self._peer)) is not None:
                self._refused(refusal)
                return
            reason = _reason(exc)
            _log.debug("%s: %s", name, reason)
            self._send(HttpFailed(name, reason))

    def _refused(self, reason: str) -> None:
        """By TLS, which says so on the console, as the library under an SDK would."""
        _log.debug("%s: %s", self.name, reason)
        self._send(ConsoleOutput(console.error("tls", reason)))
        self._send(HttpFailed(self.name, reason))

    def _send(self, event: HttpEvent) -> None:
        if not self.cancelled:
            self._room.acquire()
        if not self.cancelled:  # while it waited
            self._post(self, event)

    def _open(self, session: requests.Session) -> requests.Response:
        url, headers = self.effect.url, dict(self.effect.headers)
        session.trust_env = False  # neither proxies nor .netrc: a board has none
        session.headers.clear()
        session.mount("http://", _RoutedAdapter(self._route))
        for _ in range(self._limits.redirects + 1):
            secure = urlsplit(url).scheme == "https"
            if secure:
                session.mount("https://", _RoutedAdapter(self._route, self._tls_context(url)))
            wanted = {**headers, "Accept-Encoding": SKIP_HEADER}
            prepared = session.prepare_request(
                requests.Request(self.effect.method, url, headers=wanted, data=self.effect.body)
            )
            response = session.send(
                prepared, stream=True, timeout=self._limits.http_timeout, allow_redirects=False
            )
            location = response.headers.get("Location")
            if response.status_code not in REDIRECTS or not location:
                return response
            response.close()
            session.close()  # one connection per request: the server may be closing a kept one right now
            url = urljoin(url, location)
            if secure and urlsplit(url).scheme != "https":
                raise RedirectError(f"{self._peer} redirects to what is not https: refused")
            headers["Host"] = urlsplit(url).hostname or ""
        raise requests.TooManyRedirects(f"more than {self._limits.redirects} redirects")

    def _tls_context(self, url: str) -> ssl.SSLContext:
        parts = urlsplit(url)
        self._peer = parts.netloc.rpartition("@")[2]  # without a user's name and password
        if self._tls is None:
            raise TlsUnsupportedError(f"no TLS with {self._peer}: this firmware has none")
        return client_context(self._tls, parts.hostname or "")


def _reason(exc: Exception) -> str:
    """One line that names the cause, without the library's object addresses."""
    if isinstance(exc, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "timeout"
    if isinstance(exc, requests.ConnectionError):
        return "no connection"
    return type(exc).__name__
