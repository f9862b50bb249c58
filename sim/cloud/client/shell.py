"""The other end of a Web Shell (`api.shells`), for one thread that reads and one that types."""

import contextlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from sim.cloud.client.http import error_of
from sim.cloud.errors import ShellEndedError, UnreachableError

CONNECT_TIMEOUT: Final = 5.0  # seconds
OPEN_TIMEOUT: Final = 60.0  # seconds until the device must have connected; the cloud gives up before
MAX_MESSAGE: Final = 1024 * 1024  # bytes that the cloud may send at once


class ShellClient:
    """An open shell: iterate over what the device prints, `send` what is typed.

    `url` is the HTTP URL of the cloud, `ca` the certificate (PEM) to know it by. Opening raises the
    `CloudError` that the cloud answers with, or `UnreachableError`.
    """

    def __init__(self, url: str, token: str, device_id: str, ca: Path | None = None) -> None:
        parts = urlsplit(url)
        is_secure = parts.scheme == "https"
        address = f"{'wss' if is_secure else 'ws'}://{parts.netloc}{parts.path}"
        self._url = url
        self._stack = contextlib.ExitStack()
        self._connection = self._connect(
            f"{address}/api/v1/devices/{quote(device_id, safe='')}/shell",
            ssl=ssl.create_default_context(cafile=ca) if is_secure else None,
            additional_headers={"Authorization": f"Bearer {token}"},
        )
        #: Why the shell is over, None while it is not or where the cloud does not say.
        self.end: str | None = None
        try:
            self._wait_open()
        except BaseException:
            self.close()
            raise

    def _connect(self, address: str, **options: Any) -> ClientConnection:
        limits: dict[str, Any] = {"open_timeout": CONNECT_TIMEOUT, "max_size": MAX_MESSAGE}
        try:
            opening = connect(address, proxy=None, compression=None, **limits, **options)
            connection: ClientConnection = self._stack.enter_context(opening)
        except InvalidStatus as exc:
            try:
                answer = json.loads(exc.response.body or b"")
            except ValueError:
                answer = None
            raise error_of(answer, f"HTTP {exc.response.status_code}") from None
        except ssl.SSLError:
            raise UnreachableError(
                f"the cloud at {self._url} is not trusted: give the CA of its certificate with --ca"
            ) from None
        except (InvalidHandshake, OSError, TimeoutError):
            raise UnreachableError(f"the cloud at {self._url} does not answer: is it running?") from None
        return connection

    def _wait_open(self) -> None:
        try:
            message = self._connection.recv(OPEN_TIMEOUT)
        except (TimeoutError, ConnectionClosed):
            raise UnreachableError(f"the cloud at {self._url} does not open the shell") from None
        if isinstance(message, str):
            self._hear(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """What the device prints, as it comes (CR LF, ANSI sequences). Raises a `CloudError` that ends it."""
        while True:
            try:
                message = self._connection.recv()
            except ConnectionClosed:
                return
            if isinstance(message, bytes):
                yield message
            else:
                self._hear(message)

    def send(self, data: bytes) -> None:
        """Type `data`; each CR and each LF ends a command. Raises `ShellEndedError`."""
        try:
            self._connection.send(data)
        except ConnectionClosed:
            raise ShellEndedError("the shell has ended: open another one") from None

    def close(self) -> None:
        """End the shell; from any thread."""
        self._stack.close()

    def _hear(self, message: str) -> None:
        try:
            told = json.loads(message)
        except ValueError:
            told = None
        kind = told.get("type") if isinstance(told, dict) else None
        if kind == "error":
            raise error_of(told, "the cloud ended the shell")
        if kind == "end":
            self.end = str(told.get("reason"))
