"""The cloud over HTTP: activation, firmware, and the admin API (`/api/v1`), as an ASGI application."""

import asyncio
import hmac
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cloudsdk.errors import CloudSdkError
from cloudsdk.ota.task import UpgradeMode
from sim.cloud.errors import BadRequestError, CloudError, TooLargeError, UnauthorizedError
from sim.cloud.firmware import FirmwareRequest
from sim.cloud.library import inspect_package
from sim.cloud.links import DeviceBroker
from sim.cloud.responses import FirmwareResponse, TitleCaseHeaders, json_response, problem
from sim.cloud.service import Service
from sim.cloud.shapes import DEFAULT_DEVICE_LIMIT
from sim.cloud.worker import Worker

ACTIVATION_PATH: Final = "/devices/active"
MAX_ACTIVATION: Final = 4096  # bytes of an activation request; the original sends about 100
MAX_FIELD: Final = 64  # characters of its strings
MAX_ADMIN_JSON: Final = 1024 * 1024  # bytes; a task may list thousands of devices
MAX_DRAINED: Final = 1024 * 1024  # bytes of an oversized body that are read to answer it in good order
OWN_FAILURE: Final = 500  # HTTP status from which the cloud itself is at fault
BODY_TIMEOUT: Final = 30.0  # seconds to receive the next piece of a request body

_MODES: Final = {mode.name.lower(): mode for mode in UpgradeMode}

T = TypeVar("T")

_log = logging.getLogger(__name__)


class CloudApp:
    """The endpoints. `instance` identifies this run of the server to local tools."""

    def __init__(
        self, service: Service, worker: Worker, broker: DeviceBroker, *, admin_token: str, instance: str
    ) -> None:
        self._service = service
        self._worker = worker
        self._broker = broker
        self._instance = instance
        api = [
            Route("/accounts", self._create_account, methods=["POST"]),
            Route("/products", self._list_products, methods=["GET"]),
            Route("/products", self._create_product, methods=["POST"]),
            Route("/product", self._show_product, methods=["GET"]),
            Route("/devices", self._list_devices, methods=["GET"]),
            Route("/devices", self._add_device, methods=["POST"]),
            Route("/device", self._show_device, methods=["GET"]),
            Route("/firmware", self._list_firmware, methods=["GET"]),
            Route("/firmware", self._upload_firmware, methods=["POST"]),
            Route("/tasks", self._list_tasks, methods=["GET"]),
            Route("/tasks", self._create_task, methods=["POST"]),
            Route("/tasks/{task:int}", self._show_task, methods=["GET"]),
            Route("/tasks/{task:int}/cancel", self._cancel_task, methods=["POST"]),
            Route("/transfers", self._transfers, methods=["GET"]),
        ]
        guard = Middleware(_BearerToken, token=admin_token)
        starlette = Starlette(
            routes=[
                Route(ACTIVATION_PATH, self._activate, methods=["POST"]),
                Route("/fw/{token}/{file}", self._firmware, methods=["GET"]),  # Starlette adds HEAD
                Route("/healthz", self._health, methods=["GET"]),
                Mount("/api/v1", routes=api, middleware=[guard]),
            ],
            exception_handlers={
                CloudSdkError: _refused,
                ClientDisconnect: _gone,
                HTTPException: _http_error,
                Exception: _own_failure,
            },
        )
        # A redirect would be built from the Host header, which lacks the port (cloudsdk-protocol 1.2).
        starlette.router.redirect_slashes = False
        self.asgi: ASGIApp = TitleCaseHeaders(starlette)

    async def _health(self, _request: Request) -> Response:
        return json_response({"status": "ok", "instance": self._instance})

    # Devices

    async def _activate(self, request: Request) -> Response:
        # The content type says form, the body is JSON (cloudsdk-protocol 1.2).
        sn = "?"
        try:
            fields = await _json_object(request, MAX_ACTIVATION)
            sn = _field(fields, "SN")
            product_id, signature = _field(fields, "ProductId"), _field(fields, "Sign")
            credentials = await self._worker.run(self._service.activate, product_id, sn, signature)
        except CloudError as exc:
            _log.warning("activation refused [%s]", exc.code)
            if exc.http_status >= OWN_FAILURE:
                raise
            await self._worker.run(self._service.audit_refusal, "device.refused", sn, exc.code)
            # 1.3: a client takes any 200 for success, and the manuals speak of 400.
            return problem(400, exc.code, str(exc))
        await self._broker.logins_changed()
        return json_response({"DeviceId": credentials.device_id, "DeviceKey": credentials.device_key})

    async def _firmware(self, request: Request) -> Response | FirmwareResponse:
        fields = request.headers
        wanted = FirmwareRequest(
            method=request.method,
            range=", ".join(fields.getlist("range")) or None,
            if_range=fields.get("if-range"),
            if_none_match=", ".join(fields.getlist("if-none-match")) or None,
        )
        download = await self._worker.run(self._service.open_download, request.path_params["token"], wanted)
        return FirmwareResponse(download, self._service, self._worker)

    # Admin API

    async def _create_account(self, request: Request) -> Response:
        body = await _json_object(request, MAX_ADMIN_JSON)
        return await self._made(self._service.create_account, **_strings(body, "name", "password"))

    async def _list_products(self, _request: Request) -> Response:
        return await self._answer(self._service.list_products)

    async def _create_product(self, request: Request) -> Response:
        body = await _json_object(request, MAX_ADMIN_JSON)
        limit = body.pop("device_limit", DEFAULT_DEVICE_LIMIT)
        fields = _strings(body, "name", optional=("account", "kind", "model", "connection", "description"))
        return await self._made(self._service.create_product, **fields, device_limit=limit)

    async def _show_product(self, request: Request) -> Response:
        product, keys = _query(request, "product"), request.query_params.get("keys") == "1"
        return await self._answer(self._service.show_product, product, keys=keys)

    async def _list_devices(self, request: Request) -> Response:
        return await self._answer(self._service.list_devices, request.query_params.get("product"))

    async def _add_device(self, request: Request) -> Response:
        body = await _json_object(request, MAX_ADMIN_JSON)
        fields = _strings(body, "product", "sn", optional=("name", "mac", "description"))
        return await self._made(self._service.add_device, **fields)

    async def _show_device(self, request: Request) -> Response:
        return await self._answer(
            self._service.show_device,
            _query(request, "sn"),
            product=request.query_params.get("product"),
            keys=request.query_params.get("keys") == "1",
        )

    async def _list_firmware(self, request: Request) -> Response:
        return await self._answer(self._service.list_firmware, request.query_params.get("product"))

    async def _upload_firmware(self, request: Request) -> Response:
        product = _query(request, "product")
        await self._worker.run(self._service.show_product, product)
        with self._service.blobs.receive() as upload:
            stream = request.stream().__aiter__()
            while (piece := await _next_piece(stream)) is not None:
                await asyncio.to_thread(upload.write, piece)
            await asyncio.to_thread(upload.flush)
            facts = await asyncio.to_thread(inspect_package, upload.path)
            return await self._made(self._service.add_firmware, upload, facts, product)

    async def _list_tasks(self, request: Request) -> Response:
        return await self._answer(self._service.list_tasks, request.query_params.get("product"))

    async def _create_task(self, request: Request) -> Response:
        body = await _json_object(request, MAX_ADMIN_JSON)
        firmware_ids, sns = _list_of(int, body, "firmware_ids"), _list_of(str, body, "sns")
        fields = _strings(body, "product", optional=("version", "mode"))
        mode = _MODES.get(fields.get("mode", "forced"))
        if mode is None:
            raise BadRequestError(f"mode must be one of {', '.join(_MODES)}")
        task = await self._worker.run(
            self._service.create_task, fields["product"], fields.get("version"), firmware_ids, sns, mode
        )
        for query in await self._worker.run(self._service.queries_for_task, task["id"]):
            await self._broker.publish(query)
        return json_response(task, 201)

    async def _show_task(self, request: Request) -> Response:
        return await self._answer(self._service.show_task, request.path_params["task"])

    async def _cancel_task(self, request: Request) -> Response:
        return await self._answer(self._service.cancel_task, request.path_params["task"])

    async def _transfers(self, request: Request) -> Response:
        product = request.query_params.get("product")
        return await self._answer(self._service.transfers, _query(request, "sn"), product=product)

    async def _answer(self, call: Callable[..., object], *args: object, **kwargs: object) -> Response:
        return json_response(await self._worker.run(call, *args, **kwargs))

    async def _made(self, call: Callable[..., object], *args: object, **kwargs: object) -> Response:
        return json_response(await self._worker.run(call, *args, **kwargs), 201)


class _BearerToken:
    """Lets a request through that carries the admin token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(given, self._expected):
            await self._app(scope, receive, send)
            return
        error = UnauthorizedError("the admin token is missing or wrong")
        response = problem(error.http_status, error.code, str(error))
        response.headers["WWW-Authenticate"] = "Bearer"
        await response(scope, receive, send)


async def _next_piece(stream: Any) -> bytes | None:
    """The next piece of a request body, None at its end."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            piece: bytes | None = await anext(stream, None)
            return piece
    except TimeoutError:
        raise BadRequestError("the request body does not arrive") from None


async def _json_object(request: Request, limit: int) -> dict[str, Any]:
    """The body as a JSON object. What is beyond `limit` bytes is read, within bounds, but not kept."""
    body = bytearray()
    received = 0
    stream = request.stream().__aiter__()
    while (piece := await _next_piece(stream)) is not None and received <= MAX_DRAINED:
        received += len(piece)
        body += piece[: limit + 1 - len(body)]
    if received > limit:
        raise TooLargeError(f"the request body is larger than {limit} bytes")
    try:
        value = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise BadRequestError("the request body is not JSON") from None
    if not isinstance(value, dict):
        raise BadRequestError("the request body is not a JSON object")
    return value


def _field(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.isascii() or not 0 < len(value) <= MAX_FIELD:
        raise BadRequestError(f"{name} is missing or not a string of 1 to {MAX_FIELD} ASCII characters")
    return value


def _strings(body: dict[str, Any], *required: str, optional: Sequence[str] = ()) -> dict[str, str]:
    """`body` if it consists of these members, all of them strings."""
    for name in required:
        if name not in body:
            raise BadRequestError(f"{name} is missing")
    for name, value in body.items():
        if name not in (*required, *optional):
            raise BadRequestError(f"unknown member {name[:MAX_FIELD]!r}")
        if not isinstance(value, str):
            raise BadRequestError(f"{name} must be a string")
    return body


def _list_of(kind: type[T], body: dict[str, Any], name: str) -> list[T]:
    """Take the list `name` out of `body`."""
    values = body.pop(name, None)
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise BadRequestError(f"{name} must be a list of {'numbers' if kind is int else 'strings'}")
    return values


def _query(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise BadRequestError(f"the query parameter {name} is missing")
    return value


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.http_status if isinstance(error, CloudError) else 400
    code = error.code if isinstance(error, CloudSdkError) else CloudError.code
    return problem(status, code, str(error))


async def _gone(_request: Request, _error: Exception) -> Response:
    return problem(400, BadRequestError.code, "the client went away")


async def _http_error(_request: Request, error: Exception) -> Response:
    status, headers = 500, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    response = problem(
        status, BadRequestError.code, "there is nothing here" if status == 404 else "not allowed"
    )
    response.headers.update(headers or {})
    return response


async def _own_failure(_request: Request, error: Exception) -> Response:
    _log.error("a request failed: %s", type(error).__name__)
    return problem(500, CloudError.code, "the cloud failed; its log says more")
