"""One page in one browser: who looks at it, how they like it, and what it may call."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, TypeVar

from starlette.requests import Request

from sim.cloud.errors import UnauthorizedError
from sim.cloud.gateways.consoles import Consoles
from sim.cloud.logs import LogBook
from sim.cloud.model.sessions import csrf_token
from sim.cloud.model.work import Caller, Scope
from sim.cloud.operations import Operations
from sim.cloud.service import Service
from sim.cloud.sessions import Sessions
from sim.cloud.web.formats import moment
from sim.cloud.web.i18n import Translator
from sim.cloud.web.preferences import Preferences
from sim.cloud.worker import Worker

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where devices find this cloud; `cloudsim device run` takes the first and the last."""

    activation_url: str
    http_url: str
    mqtt_url: str


@dataclass(frozen=True, slots=True)
class Cloud:
    """What pages know of the server they run in."""

    service: Service
    worker: Worker
    sessions: Sessions
    consoles: Consoles
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class Visit:
    """`cookie` is the session's value, empty on a public page."""

    cloud: Cloud
    caller: Caller
    preferences: Preferences
    request: Request
    t: Translator
    cookie: str = field(default="", repr=False)

    async def run(
        self, operation: Callable[Concatenate[Operations, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Carry out `operation`, a method of `Operations`, as who looks at the page.

        Raises `UnauthorizedError` once the session has ended: a page may stay open for days.
        """
        caller = await self.present()
        operations = self.cloud.service.acting_as(caller)
        return await self.cloud.worker.run(operation, operations, *args, **kwargs)

    async def present(self) -> Caller:
        """Who looks at the page now. Raises `UnauthorizedError`."""
        caller = await self.cloud.sessions.caller_of(self.cookie, self.caller.address)
        if caller is None:
            raise UnauthorizedError("the session has ended: log in again")
        return caller

    async def console_of(self, device_id: str) -> Consoles:
        """Shell and log, for a device of the caller's. Raises `UnknownDeviceError` and `ForbiddenError`."""
        (await self.present()).require(Scope.CONSOLE)
        await self.run(Operations.show_device, device_id)
        return self.cloud.consoles

    async def logs_of(self, device_id: str, call: Callable[[LogBook], R]) -> R:
        """`call` with the stored logs, for a device of the caller's. Raises as `console_of`."""
        await self.console_of(device_id)
        return await self.cloud.worker.run(call, self.cloud.service.logs)

    async def change_password(self, old: str, new: str) -> None:
        await self.cloud.sessions.change_password(await self.present(), old, new)

    def csrf_token(self) -> str:
        """What the API wants of this session's uploads (`X-CSRF-Token`)."""
        return csrf_token(self.cookie)

    def parameter(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def moment(self, seconds: int | None) -> str:
        """A time of the cloud as the reader's clock shows it."""
        return moment(seconds, self.preferences.zone)
