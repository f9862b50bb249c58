"""The cloud over HTTP as an ASGI application: what devices use, and everything else mounted beside it."""

import logging
import time
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from sim.cloud.api import make_api
from sim.cloud.api.context import ApiContext
from sim.cloud.bodies import json_object
from sim.cloud.errors import BadRequestError, CloudError, TooManyRequestsError
from sim.cloud.firmware import FirmwareRequest
from sim.cloud.gateways.consoles import Consoles
from sim.cloud.links import DeviceBroker
from sim.cloud.monitoring import Monitoring
from sim.cloud.rate import RateLimit
from sim.cloud.responses import (
    FirmwareResponse,
    TitleCaseHeaders,
    exception_handlers,
    json_response,
    problem,
)
from sim.cloud.security import Hardened, api_policy, console_policy
from sim.cloud.service import Service
from sim.cloud.sessions import Sessions
from sim.cloud.worker import Worker

ACTIVATION_PATH: Final = "/devices/active"
BINDING_PATH: Final = "/devices"
API_PATH: Final = "/api/v1"
BINDING_BURST: Final = 60  # questions that an address may have saved up
BINDING_RATE: Final = 2.0  # questions a second from one address; ten devices behind it ask so often
MAX_ACTIVATION: Final = 4096  # bytes of an activation request; the original sends about 100
MAX_FIELD: Final = 64  # characters of its strings
OWN_FAILURE: Final = 500  # HTTP status from which the cloud itself is at fault

_log = logging.getLogger(__name__)


class CloudApp:
    """The endpoints. `instance` identifies this run of the server to local tools, `console` gets the rest.

    `hosts` are the names that browsers may use (`security.allowed_hosts`), `secure` says that there is TLS.
    """

    def __init__(
        self,
        service: Service,
        worker: Worker,
        broker: DeviceBroker,
        sessions: Sessions,
        consoles: Consoles,
        *,
        admin_token: str,
        instance: str,
        hosts: frozenset[str] | None = None,
        secure: bool = False,
        console: ASGIApp | None = None,
    ) -> None:
        self._service = service
        self._worker = worker
        self._broker = broker
        self.monitoring = Monitoring(service, worker, broker, instance)
        context = ApiContext(service, worker, broker, sessions, consoles, admin_token, secure)
        self._bindings = RateLimit(BINDING_BURST, BINDING_RATE)
        starlette = Starlette(
            routes=[
                Route(ACTIVATION_PATH, self._activate, methods=["POST"]),
                Route(BINDING_PATH, self._bind, methods=["GET"]),
                Route("/fw/{token}/{file}", self._firmware, methods=["GET"]),  # Starlette adds HEAD
                *self.monitoring.routes(),
                Mount(API_PATH, make_api(context)),
                *([] if console is None else [Mount("/", console)]),
            ],
            exception_handlers=exception_handlers(),
        )
        # A redirect would be built from the Host header, which lacks the port (cloudsdk-protocol 1.2).
        starlette.router.redirect_slashes = False
        policy = api_policy if console is None else console_or_api_policy
        self.asgi: ASGIApp = TitleCaseHeaders(Hardened(starlette, hosts, policy))

    async def _activate(self, request: Request) -> Response:
        # The content type says form, the body is JSON (cloudsdk-protocol 1.2).
        sn = "?"
        try:
            fields = await json_object(request, MAX_ACTIVATION)
            sn = _field(fields, "SN")
            product_id, signature = _field(fields, "ProductId"), _field(fields, "Sign")
            credentials = await self._worker.event(
                self._service.activate, product_id, sn, signature, _address(request)
            )
        except CloudError as exc:
            self._service.metrics.activations.labels("refused").inc()
            _log.warning("activation refused [%s]", exc.code)
            if exc.http_status >= OWN_FAILURE:
                raise
            await self._worker.event(self._service.audit_refusal, "device.refused", sn, exc.code)
            # 1.3: a client takes any 200 for success, and the manuals speak of 400.
            return problem(400, exc.code, str(exc))
        self._service.metrics.activations.labels("accepted").inc()
        await self._broker.logins_changed()
        return json_response({"DeviceId": credentials.device_id, "DeviceKey": credentials.device_key})

    async def _bind(self, request: Request) -> Response:
        """A device asks for its identity by its SN (cloudsdk-protocol 8). Every refusal has a body, since the
        original takes Content-Length: 0 for success."""
        if request.method != "GET":  # Starlette adds HEAD
            raise HTTPException(405, headers={"Allow": "GET"})
        address = _address(request)
        if not self._bindings.allow(address, time.monotonic()):
            raise TooManyRequestsError("this address asks too often: devices ask every 5 s")
        sn = _field(dict(request.query_params), "sn")
        product_id, credentials = await self._worker.run(self._service.hand_out, sn, address)
        await self._broker.logins_changed()
        return json_response(
            {
                "ProductId": product_id,
                "DeviceId": credentials.device_id,
                "DeviceKey": credentials.device_key,
            }
        )

    async def _firmware(self, request: Request) -> Response | FirmwareResponse:
        fields = request.headers
        wanted = FirmwareRequest(
            method=request.method,
            range=", ".join(fields.getlist("range")) or None,
            if_range=fields.get("if-range"),
            if_none_match=", ".join(fields.getlist("if-none-match")) or None,
        )
        download = await self._worker.event(self._service.open_download, request.path_params["token"], wanted)
        return FirmwareResponse(download, self._service, self._worker)


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def console_or_api_policy(path: str) -> str:
    """The Content-Security-Policy of a cloud with a console: pages load scripts, data loads nothing."""
    return api_policy(path) if path.startswith(API_PATH + "/") else console_policy()


def _field(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.isascii() or not 0 < len(value) <= MAX_FIELD:
        raise BadRequestError(f"{name} is missing or not a string of 1 to {MAX_FIELD} ASCII characters")
    return value
