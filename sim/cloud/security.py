"""What every HTTP response says to browsers, and which requests of browsers are taken."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sim.cloud.errors import UnknownHostError
from sim.cloud.responses import problem

#: The API and the device endpoints serve data: nothing may be loaded, run or framed.
API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEVICE_PATHS: Final = ("/devices", "/fw")  # of devices, outside the API
_PLAIN_PORTS: Final = {"http": 80, "https": 443}


def console_policy() -> str:
    """The Content-Security-Policy of the web console.

    NiceGUI's pages start with inline modules and styles, and Vue compiles templates in the browser, hence
    'unsafe-inline' and 'unsafe-eval'. Everything comes from the cloud itself, and nothing is sent elsewhere.
    """
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def is_for_devices(path: str) -> bool:
    """True for endpoints that devices use, which are no browsers (cloudsdk-protocol 1.2, 8)."""
    return any(path == prefix or path.startswith(prefix + "/") for prefix in _DEVICE_PATHS)


def from_another_site(headers: Mapping[str, str]) -> bool:
    """True if a browser says that another site's page made the request. Tools say nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    return _authority(origin) != _authority(f"{origin.partition(':')[0]}://{headers.get('host', '')}")


def _authority(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PLAIN_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def host_name(host: str) -> str:
    """The name in a `Host` header, in lower case and without the port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]


def is_loopback(host: str) -> bool:
    """True for an address to listen on that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(listen: str, public_url: str | None, named: Iterable[str]) -> frozenset[str] | None:
    """The names under which browsers may reach the cloud; None for any.

    Those `named` by the operator; on loopback always the local ones, so that a foreign name that somebody
    points at 127.0.0.1 (DNS rebinding) gets nothing.
    """
    names = {host_name(name) for name in named}
    if not names and not is_loopback(listen):
        return None
    if public_url is not None and (found := urlsplit(public_url).hostname):
        names.add(f"[{found}]" if ":" in found else found)
    return LOCAL_NAMES | names


class Hardened:
    """Adds the headers, and refuses requests under a name that is not the cloud's.

    `hosts` is what `allowed_hosts` gives. `policy` gives the Content-Security-Policy for a path.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, policy: Callable[[str], str]) -> None:
        self._app = app
        self._hosts = hosts
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        added = self._headers(path)

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                more = [(name, value) for name, value in added if name.lower() not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        # Devices send a Host without port, or whatever their firmware has (cloudsdk-protocol 1.2).
        if is_for_devices(path) or self._known(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, hardened)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            error = UnknownHostError("the cloud is not known under this name: allow it with --allowed-host")
            await problem(error.http_status, error.code, str(error))(scope, receive, hardened)

    def _known(self, host: str) -> bool:
        return self._hosts is None or host_name(host) in self._hosts

    def _headers(self, path: str) -> list[tuple[bytes, bytes]]:
        headers = [(b"X-Content-Type-Options", b"nosniff")]
        if is_for_devices(path):
            return headers  # a device has 4096 bytes for a whole answer (cloudsdk-protocol 1.3)
        return [
            *headers,
            (b"Content-Security-Policy", self._policy(path).encode()),
            (b"X-Frame-Options", b"DENY"),
            (b"Referrer-Policy", b"no-referrer"),
            (b"Cross-Origin-Opener-Policy", b"same-origin"),
            (b"Cross-Origin-Resource-Policy", b"same-origin"),
        ]


def api_policy(_path: str) -> str:
    return API_POLICY
