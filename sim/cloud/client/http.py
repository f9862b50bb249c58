"""Requests to the API, and its problems as the errors they were."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import requests

from cloudsdk.errors import UsageError
from sim.cloud.errors import CloudError, DevicesRefusedError, UnreachableError, by_code
from sim.cloud.shapes import Page

TIMEOUT: Final = (5.0, 60.0)  # seconds to connect, and between two pieces of an answer
NO_CONTENT: Final = 204

T = TypeVar("T")


class ApiSession:
    """A connection to one cloud. `ca` is the certificate (PEM) to know it by, if it has no public one.

    Raises `UsageError` for a `ca` that cannot be read.
    """

    def __init__(self, url: str, token: str, ca: Path | None = None) -> None:
        self._url = url.rstrip("/")
        self._ca = ca
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc
        if ca is not None:
            if not ca.is_file():
                raise UsageError(f"there is no CA certificate {ca}")
            self._session.verify = str(ca)
        self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        self._session.close()

    def healthy(self, instance: str) -> bool:
        """True if this very run of the server answers, be it that something of it fails."""
        try:
            found = self._session.get(self._url + "/healthz", timeout=TIMEOUT).json()
        except requests.RequestException:
            return False
        return isinstance(found, dict) and found.get("instance") == instance

    def _get(self, path: str, **query: str | int | None) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", "/api/v1" + path, params=params)

    def _post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._call("POST", "/api/v1" + path, json=body)

    def _put(self, path: str, body: dict[str, Any], **query: float | None) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        return self._call("PUT", "/api/v1" + path, params=params, json=body)

    def _patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PATCH", "/api/v1" + path, json=body)

    def _delete(self, path: str, **query: str | int | None) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        return self._call("DELETE", "/api/v1" + path, params=params)

    def _all(self, page: Callable[[int], Page[T]]) -> list[T]:
        """Every item of a list that comes in pages; `page` gets the cursor."""
        items: list[T] = []
        after: int | None = 0
        while after is not None:
            found = page(after)
            items += found["items"]
            after = found["next"]
        return items

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        response = self._request(method, path, **arguments)
        try:
            return None if response.status_code == NO_CONTENT else response.json()
        except requests.JSONDecodeError:
            raise self._no_cloud() from None

    def _request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """An answer that is not a problem."""
        try:
            response = self._session.request(method, self._url + path, timeout=TIMEOUT, **arguments)
            if response.ok:
                return response
            answer = response.json()
        except requests.JSONDecodeError:
            raise self._no_cloud() from None
        except requests.exceptions.SSLError:
            raise UnreachableError(
                f"the cloud at {self._url} is not trusted: give the CA of its certificate with --ca"
            ) from None
        except (requests.RequestException, OSError):
            raise UnreachableError(f"the cloud at {self._url} does not answer: is it running?") from None
        raise error_of(answer, f"HTTP {response.status_code}")

    @contextlib.contextmanager
    def _broken(self) -> Iterator[None]:
        """Around the reading of an answer that comes in pieces."""
        try:
            yield
        except requests.RequestException:
            raise UnreachableError(f"the cloud at {self._url} has broken off: is it running?") from None

    def _no_cloud(self) -> UnreachableError:
        return UnreachableError(f"what answers at {self._url} is not a cloud: check the URL")


def error_of(answer: object, otherwise: str) -> CloudError:
    """The error that a problem stands for; `otherwise` is its message if the answer has none."""
    fields = answer if isinstance(answer, dict) else {}
    error = by_code(str(fields.get("code")))(str(fields.get("detail") or otherwise))
    if isinstance(error, DevicesRefusedError):
        error.rows = tuple(fields.get("rows") or ())
    return error
